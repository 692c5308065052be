"""An ELF core of a process with a 512 MiB heap: of a directory of images and of a stored snapshot, against gdb's gcore."""

import os
import pathlib
import tempfile

from bench.snap import Runc
from bench.ticker import Ticker
from bench.tools import Repository, docker, median, recycle_memory, row, run, timed

LABS = ("forky",)  # no engine takes part in it
ROUNDS = 5
HEAP = 512


def measure():
    with tempfile.TemporaryDirectory(prefix="bench-core-", dir="/var/tmp") as scratch:
        repository = Repository(scratch)
        with Ticker("bench-core", HEAP, "runc") as ticker:
            runc = Runc(ticker)
            run(runc.command())
            run(repository.command("snap", ticker.name))
            pid = docker("inspect", "--format", "{{.State.Pid}}", ticker.id)
            core = pathlib.Path(scratch) / "core"
            recycle_memory()
            contenders = {
                "directory": repository.command("core", runc.directory, "--pid", "1", "-o", core),
                "snapshot": repository.command("core", "bench-core@1", "--pid", "1", "-o", core),
                "gcore": ["gcore", "-o", core, pid],
                "floor": ["cp", "--sparse=never", "--reflink=never", runc.directory / "pages-1.img", core],
            }
            times, peaks = {name: [] for name in contenders}, []
            for _ in range(ROUNDS):
                for name, command in contenders.items():
                    done = timed(command, statuses=(0, 3))
                    times[name].append(done.wall)
                    if name in ("directory", "snapshot"):
                        peaks.append(done.peak)
                    os.unlink(core if name != "gcore" else f"{core}.{pid}")
            stacks = median([timed(repository.command("inspect", "bench-core@1", "threads", "--stacks"),
                                   statuses=(0, 3)).wall for _ in range(ROUNDS)])
            runc.clean(None)
        peer = median(times["gcore"])
        for name in ("directory", "snapshot"):
            yield row(f"core.{name}", median(times[name]), "s", peer="gcore", peer_figure=peer, limit_ratio=0.1)
        # Its pages have to be written, whoever writes them.
        yield row("core.floor", median(times["floor"]), "s", peer="gcore", peer_figure=peer)
        yield row("core.peak-memory", max(peaks) / 2**20, "MiB", limit=200)
        yield row("core.stacks", stacks * 1e3, "ms")
