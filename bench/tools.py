"""What every topic needs inside the lab: commands timed fairly, medians, rows of the table."""

import collections
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

BIN = pathlib.Path(os.environ["BENCH_BIN"])
CPREWIND = str(BIN / "cprewind")
RUNTIME = str(BIN / "cprewind-runtime")
LAB = os.environ["BENCH_LAB"]  # which engine: part of each row's name
QUICK = bool(os.environ.get("BENCH_QUICK"))  # little memory, one round: to see a benchmark work
PATIENCE = 300  # seconds after which anything at all hangs

Timed = collections.namedtuple("Timed", "wall began ended out peak")


def run(command, *, status=0, send=None, **options):
    """Runs a command to its end and returns its output; `status` is what is expected, None: anything. `send` is its
    input."""
    command = list(map(str, command))
    options |= {"stdin": subprocess.DEVNULL} if send is None else {"input": send}
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE,
                          check=False, **options)
    if status is not None and done.returncode != status:
        raise RuntimeError(f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout.strip()


def docker(*words, status=0):
    return run(["docker", *words], status=status)


def wait_until(condition, what, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {seconds} s in vain: {what}")
        time.sleep(0.001)


def recycle_memory(gibibytes=3):
    """Touches and frees memory. What a virtual machine never touched costs a fault in its host, ten times the price of
    recycled memory: without this, who comes second wins."""
    code = ("import mmap; mmap.mmap(-1, %d << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)"
            % gibibytes)
    run([sys.executable, "-c", code])


def timed(command, *, statuses=(0,)):
    """Runs a command. Its peak is the resident set (bytes) of the largest of it and the children it waited for."""
    command = list(map(str, command))
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.time_ns()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        ended = time.time_ns()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode not in statuses:
            raise RuntimeError(f"`{' '.join(command)}` ended with {process.returncode}: {err.read().decode()}")
        return Timed((ended - began) / 1e9, began, ended, out.read().decode(errors="replace"), usage.ru_maxrss * 1024)


def median(values):
    return statistics.median(values)


def row(name, figure, unit, *, peer=None, peer_figure=None, limit=None, limit_ratio=None):
    """One line of the table and of bench.json. `limit` bounds the figure, `limit_ratio` figure : peer_figure."""
    ratio = figure / peer_figure if peer_figure else None
    goal = met = None
    if limit is not None:
        goal, met = f"figure <= {limit:g} {unit}", figure <= limit
    elif limit_ratio is not None:
        goal, met = f"ratio <= {limit_ratio:g}", ratio is not None and ratio <= limit_ratio
    return {"name": f"{name}@{LAB}", "figure": figure, "unit": unit, "peer": peer, "peer_figure": peer_figure,
            "ratio": ratio, "goal": goal, "met": met}


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Repository:
    """cprewind with a repository of its own, on a disk."""

    def __init__(self, directory):
        self.path = pathlib.Path(directory) / "repository"

    def command(self, *words):
        return [CPREWIND, *map(str, words), "--repo", str(self.path)]

    def json(self, *words):
        return json.loads(run(self.command(*words, "--json")))
