"""Taking a snapshot of a process with a 512 MiB heap: wall time, stall, memory, size, against Docker's checkpoint and
against runc's own, the least that a checkpoint can cost."""

import json
import pathlib
import shutil
import tempfile
import threading

from bench.tools import CPREWIND, Repository, docker, median, recycle_memory, row, run, say, timed
from bench.ticker import Ticker

LABS = ("forky", "trixie")
ROUNDS = 5
HEAP = 512


def measure():
    with tempfile.TemporaryDirectory(prefix="bench-snap-", dir="/var/tmp") as scratch:
        with Ticker("bench-snap", HEAP, "runc") as ticker:
            yield from contest(ticker, Repository(scratch))
            yield from cost(ticker, Repository(scratch))


def contest(ticker, repository):
    """All contenders in turn, round by round, so that whatever the machine does hits all alike."""
    contenders = {"cprewind": Cprewind(ticker, repository), "docker": Docker(ticker), "runc": Runc(ticker)}
    walls = {name: [] for name in contenders}
    stalls = {name: [] for name in contenders}
    for number in range(ROUNDS):
        for name, contender in contenders.items():
            recycle_memory()
            took = timed(contender.command())
            walls[name].append(took.wall)
            stalls[name].append(ticker.stall(took.began, took.ended))
            contender.clean(took)
            say(f"snap {number + 1}/{ROUNDS} {name}: wall {took.wall:.3f} s, stall {stalls[name][-1]:.3f} s")
    wall = {name: median(values) for name, values in walls.items()}
    stall = {name: median(values) for name, values in stalls.items()}
    yield row("snap.wall", wall["cprewind"], "s", peer=Docker.title, peer_figure=wall["docker"], limit_ratio=0.2)
    yield row("snap.wall-runc", wall["cprewind"], "s", peer=Runc.title, peer_figure=wall["runc"])
    yield row("snap.stall", stall["cprewind"], "s", peer=Runc.title, peer_figure=stall["runc"], limit_ratio=1.3)
    yield row("snap.stall-docker", stall["cprewind"], "s", peer=Docker.title, peer_figure=stall["docker"])


def cost(ticker, repository):
    """What is not time: measured in a run of its own, since watching costs time."""
    watch = PeakWatch(CPREWIND)
    took = timed(repository.command("snap", ticker.name, "--json"))
    watch.stop()
    record = json.loads(took.out)["snapshots"][0]
    yield row("snap.peak-memory", watch.main / 2**20, "MiB", limit=200)
    yield row("snap.peak-memory-helpers", watch.helpers / 2**20, "MiB")

    runc = Runc(ticker)
    run(runc.command())
    packed = run(["sh", "-c", f"tar -C {runc.directory} -cf - . | zstd -q -1 | wc -c"])
    runc.clean(None)
    yield row("snap.stored", record["stored_bytes"] / 2**20, "MiB", peer="tar | zstd -1",
              peer_figure=int(packed) / 2**20)


class Cprewind:
    def __init__(self, ticker, repository):
        self.ticker = ticker
        self.repository = repository

    def command(self):
        return self.repository.command("snap", self.ticker.name, "--json")

    def clean(self, took):
        # A second snapshot would store only what changed since the first: a feature, but not what is measured.
        record = json.loads(took.out)["snapshots"][0]
        run(self.repository.command("rm", record["id"]))


class Docker:
    title = "docker checkpoint create"

    def __init__(self, ticker):
        self.ticker = ticker

    def command(self):
        return ["docker", "checkpoint", "create", "--leave-running", self.ticker.name, "bench"]

    def clean(self, _):
        docker("checkpoint", "rm", self.ticker.name, "bench")


class Runc:
    title = "runc checkpoint to tmpfs"

    def __init__(self, ticker):
        self.ticker = ticker
        self.root = next(pathlib.Path("/run/docker").glob(f"*/moby/{ticker.id}")).parent
        self.directory = pathlib.Path("/dev/shm/bench-runc")

    def command(self):
        self.directory.mkdir()
        return ["runc", "--root", self.root, "checkpoint", "--leave-running", "--image-path", self.directory,
                "--work-path", self.directory, self.ticker.id]

    def clean(self, _):
        shutil.rmtree(self.directory)


class PeakWatch:
    """Samples the peak resident set of every process that runs `program`: the first one, and its forks (the guards)."""

    def __init__(self, program):
        self.program = program
        self.peaks = {}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while not self.over.wait(0.005):
            for directory in pathlib.Path("/proc").glob("[0-9]*"):
                try:
                    if str((directory / "exe").readlink()) != self.program:
                        continue
                    status = (directory / "status").read_text()
                except OSError:
                    continue  # ended meanwhile
                for line in status.splitlines():
                    if line.startswith("VmHWM:"):
                        self.peaks[int(directory.name)] = int(line.split()[1]) * 1024

    def stop(self):
        self.over.set()
        self.thread.join()
        processes = sorted(self.peaks)
        self.main = self.peaks[processes[0]]
        self.helpers = max([self.peaks[pid] for pid in processes[1:]], default=0)
