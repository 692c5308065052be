"""Comparing two snapshots of a process of 1 GiB of which 1 % of the pages changed, against cmp over the raw pages."""

import json
import pathlib
import shutil
import subprocess
import tempfile

from bench.tools import QUICK, Repository, docker, median, recycle_memory, row, run, timed, wait_until

LABS = ("forky",)  # no engine takes part in what is measured
MEBIBYTES = 128 if QUICK else 1024
PAGES = MEBIBYTES * 256
CHANGED = PAGES // 100
ROUNDS = 1 if QUICK else 9
NAME = "bench-diff"

# Fills its memory with what no two pages share, then changes every hundredth page at each line it is sent.
PROGRAM = f"""
import mmap, os, sys
memory = mmap.mmap(-1, {PAGES} * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, len(memory), 1 << 20):
    memory[at:at + (1 << 20)] = os.urandom(1 << 20)
os.mkfifo("/go")
print("ready", flush=True)
go = os.open("/go", os.O_RDWR)
while os.read(go, 1):
    for page in range(0, {PAGES}, 100):
        memory[page * 4096:page * 4096 + 4096] = os.urandom(4096)
    print("changed", flush=True)
"""


def measure():
    with tempfile.TemporaryDirectory(prefix="bench-diff-", dir="/var/tmp") as scratch:
        repository = Repository(scratch)
        try:
            docker("run", "--detach", "--name", NAME, "work", "python3", "-c", PROGRAM)
            wait_until(lambda: "ready" in docker("logs", NAME), "the process fills its memory", 120)
            run(repository.command("snap", NAME))
            docker("exec", NAME, "sh", "-c", "printf x >/go")
            wait_until(lambda: "changed" in docker("logs", NAME), "the process changes its memory", 120)
            run(repository.command("snap", NAME))
        finally:
            docker("rm", "--force", NAME, status=None)
        yield from compare(repository, pathlib.Path(scratch))


def compare(repository, scratch):
    sides = [raw_pages(repository, f"{NAME}@{number}", scratch / str(number)) for number in (1, 2)]
    words = ("diff", f"{NAME}@1", f"{NAME}@2", "mem")
    changed = json.loads(run(repository.command(*words, "--json"), status=1))["memory"]["pages"]["changed"]
    assert CHANGED <= changed <= CHANGED + 300, f"{changed} pages changed, not {CHANGED} and a few"
    recycle_memory()
    ours, with_bytes, theirs = [], [], []
    for _ in range(ROUNDS):
        ours.append(timed(repository.command(*words), statuses=(1,)).wall)
        with_bytes.append(timed(repository.command(*words, "--bytes"), statuses=(1,)).wall)
        theirs.append(timed(["cmp", "-l", *sides], statuses=(0, 1)).wall)  # diffutils 3.12 says 0
    yield row("diff.memory", median(ours) * 1e3, "ms", peer="cmp -l of the pages files",
              peer_figure=median(theirs) * 1e3, limit_ratio=1 / 20)
    yield row("diff.memory-wall", median(ours) * 1e3, "ms", limit=150)
    yield row("diff.memory-bytes", median(with_bytes), "s", limit=1)


def raw_pages(repository, snapshot, directory):
    """The pages file of the one process, as CRIU wrote it."""
    directory.mkdir()
    export = subprocess.Popen(repository.command("export", snapshot, "--output", "-"), stdout=subprocess.PIPE)
    subprocess.run(["tar", "--zstd", "-x", "-C", directory, "images"], stdin=export.stdout, check=True)
    export.wait()
    pages = max(directory.glob("images/pages-*.img"), key=lambda path: path.stat().st_size)
    kept = directory.with_suffix(".img")
    shutil.move(pages, kept)
    shutil.rmtree(directory)
    return kept
