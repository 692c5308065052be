"""The overview of an archive as podman exports it, with 1 GiB of pages, against checkpointctl: plain, gzip, zstd. Podman is
not in the lab, so the members are put together from its order and the small ones of a real export."""

import pathlib
import subprocess
import tarfile
import tempfile

from bench.snap import Runc
from bench.ticker import Ticker
from bench.tools import QUICK, Repository, median, row, run, say, timed

LABS = ("forky",)  # no engine takes part in it
ROUNDS = 1 if QUICK else 3
HEAP = 64 if QUICK else 1024
EXPORT = pathlib.Path(__file__).resolve().parents[1] / "fixtures/archives/podman.tar"
PACKERS = {"plain": None, "gzip": ["gzip", "-6"], "zstd": ["zstd", "-q", "-3"]}
PEAK_LIMIT = 128  # MiB


def measure():
    with tempfile.TemporaryDirectory(prefix="bench-archives-", dir="/var/tmp") as scratch:
        repository = Repository(scratch)
        plain = pathlib.Path(scratch) / "plain.tar"
        with Ticker("bench-archives", HEAP, "runc") as ticker:
            runc = Runc(ticker)
            run(runc.command())
            write_archive(plain, runc.directory)
            runc.clean(None)
        for name, packer in PACKERS.items():
            archive = pack(plain, name, packer)
            ours, theirs = [], []
            for number in range(ROUNDS):
                ours.append(timed(repository.command("inspect", archive), statuses=(0, 3)))
                theirs.append(timed(["checkpointctl", "inspect", archive]))
                say(f"archives {name} {number + 1}/{ROUNDS}: {ours[-1].wall:.3f} s, "
                    f"checkpointctl {theirs[-1].wall:.3f} s")
            yield row(f"archives.{name}", median([t.wall for t in ours]), "s", peer="checkpointctl inspect",
                      peer_figure=median([t.wall for t in theirs]), limit_ratio=0.1)
            yield row(f"archives.{name}-peak-memory", max(t.peak for t in ours) / 2**20, "MiB",
                      peer="checkpointctl inspect", peer_figure=max(t.peak for t in theirs) / 2**20, limit=PEAK_LIMIT)
            if packer:
                whole = timed(["sh", "-c", f"{packer[0]} --decompress --stdout {archive} >/dev/null"])
                yield row(f"archives.{name}-decode", whole.wall, "s", peer=f"(that is {packer[0]} -d alone)")
                archive.unlink()


def write_archive(path, images):
    """In podman's order: what describes the container, the images by name, its files."""
    with tarfile.open(EXPORT) as real, tarfile.open(path, "w") as archive:
        members = real.getmembers()
        first = next(i for i, m in enumerate(members) if m.name == "checkpoint")
        after = next(i for i, m in enumerate(members) if i > first and not m.name.startswith("checkpoint/"))
        for member in members[: first + 1]:
            archive.addfile(member, real.extractfile(member) if member.isreg() else None)
        for image in sorted(images.iterdir()):
            if image.suffix == ".img" or image.name == "descriptors.json":
                archive.add(image, f"checkpoint/{image.name}")
        for member in members[after:]:
            archive.addfile(member, real.extractfile(member) if member.isreg() else None)


def pack(plain, name, packer):
    if packer is None:
        return plain
    archive = plain.with_name(f"{name}.tar")
    with plain.open("rb") as source, archive.open("wb") as target:
        subprocess.run([*packer, "--stdout"], stdin=source, stdout=target, check=True)
    return archive
