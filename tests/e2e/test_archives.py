"""Checkpoints of other tools: looked at in place, and imported."""

import gzip
import pathlib
import tarfile

import pytest

from support import assert_refused, docker, run

ARCHIVES = pathlib.Path(__file__).parents[2] / "fixtures/archives"
FIRST, LATER = ARCHIVES / "podman-files.tar.zst", ARCHIVES / "podman-files-later.tar.gz"
CTR = ARCHIVES / "ctr.tar"


def test_an_archive_tells_where_it_is_from_and_what_is_in_it(repo):
    origin = repo("inspect", FIRST, "--json").json["origin"]
    assert (origin["engine"], origin["container_name"], origin["runtime"]) == ("podman", "web", "runc")
    assert {part["what"] for part in origin["parts"]} >= {"volume", "/dev/shm", "container log"}
    answer = repo("inspect", LATER, "files", "--json", status=3).json
    files = {file["path"]: file for file in answer["files"]}
    assert files["/etc/passwd"]["type"] == "whiteout" and files["/newfile"]["sha256"]
    assert [tree["name"] for tree in answer["trees"]] == ["devshm-checkpoint.tar", "volumes/vol1.tar"]
    assert "+more" in repo("diff", FIRST, LATER, "files", status=1).out


def test_imported_archives_are_snapshots_like_any_other(repo):
    first = repo("import", FIRST, "--json").json
    assert first["snapshot"]["name"] == "web@1" and first["snapshot"]["engine"] == "podman"
    assert first["snapshot"]["parent"] is None and first["verified_bytes"] > 0
    repo("import", LATER, status=3)
    assert repo.names() == ["web@1", "web@2"]
    repo.assert_clean()
    for view in ("ps", "fds", "mem", "files"):
        from_archive = repo("inspect", FIRST, view, "--json").json
        stored = repo("inspect", "web@1", view, "--json").json
        for answer in (from_archive, stored):
            for key in ("subject", "trees", "findings"):
                answer.pop(key, None)
        assert from_archive == stored, view
    assert repo("diff", FIRST, "web@1").status == 0
    assert repo("inspect", "web@1", "--json").json["origin"]["container_image"] == "docker.io/library/busybox:latest"
    assert repo("import", FIRST, "--name", "a/b", "--json").json["snapshot"]["name"] == "a_b@1"


@pytest.fixture(params=["archive", "compressed", "directory"])
def layout(request, directory):
    """What `ctr images export` wrote, in each of the forms in which it may lie around."""
    if request.param == "archive":
        return CTR
    if request.param == "compressed":
        (directory / "ctr.tar.gz").write_bytes(gzip.compress(CTR.read_bytes()))
        return directory / "ctr.tar.gz"
    with tarfile.open(CTR) as archive:
        archive.extractall(directory / "layout")
    return directory / "layout"


def test_an_oci_layout_of_ctr_is_looked_at_decoded_imported_and_compared(repo, layout):
    origin = repo("inspect", layout, "--json").json["origin"]
    assert (origin["engine"], origin["container_name"]) == ("containerd", "web")
    processes = repo("inspect", layout, "ps", "--json").json["processes"]
    assert processes[0]["arguments"][:2] == ["sh", "-c"]
    files = {file["path"]: file["type"] for file in repo("inspect", layout, "files", "--json").json["files"]}
    assert files["/etc/passwd"] == "whiteout" and files["/newfile"] == "file"
    assert repo("decode", layout, "pstree.img").json["entries"][0]["pid"] == processes[0]["pid"]

    assert repo("import", layout, "--json").json["snapshot"]["name"] == "web@1"
    repo.assert_clean()
    assert repo("inspect", "web@1", "ps", "--json").json["processes"] == processes
    assert repo("decode", "web@1", "pstree.img").json == repo("decode", layout, "pstree.img").json
    for part in ("ps", "fds", "mem", "files"):
        assert repo("diff", layout, "web@1", part).status == 0, part
    assert repo("diff", FIRST, layout, "ps", status=1).out


def test_a_checkpoint_image_that_docker_saved_is_read_and_imported(repo, directory):
    # One layer with the members of an archive at its root: what podman --create-image and checkpointctl build make.
    docker("import", ARCHIVES / "podman.tar", "checkpoint-image")
    try:
        docker("save", "--output", directory / "saved.tar", "checkpoint-image")
    finally:
        docker("rmi", "checkpoint-image")
    assert repo("inspect", directory / "saved.tar", "--json").json["origin"]["engine"] == "podman"
    for view in ("ps", "fds", "mem"):
        image = repo("inspect", directory / "saved.tar", view, "--json").json
        archive = repo("inspect", ARCHIVES / "podman.tar", view, "--json").json
        del image["subject"], archive["subject"]
        assert image == archive, view
    name = repo("import", directory / "saved.tar", "--json").json["snapshot"]["name"]
    assert repo("diff", ARCHIVES / "podman.tar", name).status == 0


def test_what_is_no_checkpoint_is_not_imported(repo, directory):
    assert_refused(repo("import", directory, status=1), str(directory), "no checkpoint")
    assert_refused(repo("import", __file__, status=1), "no tar archive")
