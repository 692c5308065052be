"""Checkpoints of podman, under Docker."""

import pathlib
import subprocess
import tarfile

import pytest

from support import RUNTIME_STATE, docker, run, wait_until

ARCHIVES = pathlib.Path(__file__).parents[2] / "fixtures/archives"


@pytest.mark.parametrize("name", ["podman.tar.zst", "podman.tar.gz", "podman.tar"])
def test_podman(cell, directory, name):
    """`podman container checkpoint --export` ({name}): imported, exported, restored by our runtime"""
    if cell.by.name != "cprewind":
        pytest.fail("Docker has no way to take in what podman wrote")
    snapshot = cell.by.repo("import", ARCHIVES / name, "--json", status=None).json["snapshot"]["name"]
    if cell.lab == "trixie":
        pytest.skip("podman's containers ran forky's busybox, and the image here has another")
    cell.by.repo("export", snapshot, "-o", directory / "out.tar.zst")
    run(["tar", "--zstd", "-xf", directory / "out.tar.zst", "-C", directory])
    images = next(directory.glob("**/inventory.img")).parent

    # What podman mounts and Docker does not, or not so; CRIU asks for each of them by name.
    (directory / "containerenv").touch()
    made = cell.create(["sh"], "--ipc", "shareable", "--volume", f"{directory}/containerenv:/run/.containerenv",
                       "--volume", "/data", "--network", "none", image="busybox")
    run(["tar", "-xf", ARCHIVES / name, "-C", directory, "rootfs-diff.tar"])
    with open(directory / "rootfs-diff.tar", "rb") as diff:
        subprocess.run(["docker", "cp", "-", f"{made.id}:/"], stdin=diff, check=True)
    with tarfile.open(directory / "rootfs-diff.tar") as diff:
        changed = [member.name for member in diff if member.isfile()]

    plan = RUNTIME_STATE / "pending" / made.id
    for path in (RUNTIME_STATE / "pending", RUNTIME_STATE / "taken", plan):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    (plan / "plan").write_text(f"version=1\nimages={images}\noption=--file-locks\n")
    (plan / "plan").chmod(0o600)
    docker("start", made.id)
    wait_until(lambda: len(made.log_lines()) >= 3, "it counts")
    numbers = [int(line) for line in made.log_lines()]
    assert numbers[0] > 1 and numbers == list(range(numbers[0], numbers[0] + len(numbers))), "on from where podman left it"
    for path in changed:
        made.exec("test", "-e", f"/{path}")
    cell.note("into a container made for it: `--ipc shareable`, a file at `/run/.containerenv`, the volumes it had; "
              "the files it changed put back from the archive")
