"""The page store: five generations of two real programs' memory, kept by cprewind and by its peers; memory of other
shapes; and a repository that grows to a thousand snapshots.

Dumps and growth are made inside the lab; the contest is outside, on the host, where Debian's peers are.
"""

import json
import os
import pathlib
import shutil
import sys
import tempfile

from bench.heaps import GENERATIONS, HEAPS, ODD_HEAPS, dump_generations
from bench.keepers import KEEPERS, check_equal, install_peers
from bench.ticker import Ticker
from bench.tools import QUICK, Repository, median, recycle_memory, row, run, say, timed

LABS = ("forky",)  # no engine takes part in it
DUMPS = pathlib.Path(__file__).resolve().parents[1] / f"build/bench-store{'-quick' if QUICK else ''}"  # seen inside and outside of the lab
KEEP = bool(os.environ.get("BENCH_KEEP"))  # the dumps, for the next run
SCALE = 1 / 8 if QUICK else 1  # of the heaps
RESTORED = 3  # the generation that is restored
GROWTH = (10,) if QUICK else (10, 100, 1000)
GROWTH_HEAP = 64

METRICS = {"save-first": "s", "save-next": "s", "bytes-first": "MiB", "bytes-next": "MiB", "restore": "s"}
LIMITS = {"save-first": 1.4, "save-next": 0.35, "bytes-first": 282, "bytes-next": 6, "restore": 0.6}  # on redis
RATIOS = {("save-first", "tar"): 1, ("bytes-first", "tar"): 1, ("restore", "tar"): 1.1,
          ("save-next", "restic"): 1 / 10, ("save-next", "borg"): 1 / 10,
          ("bytes-next", "restic"): 1 / 40, ("bytes-next", "borg"): 1 / 40}
ODD_RATIOS = {("save-first", "tar"): 1, ("save-next", "tar"): 1, ("bytes-first", "tar"): 1.05, ("bytes-next", "tar"): 1.05,
              ("restore", "tar"): 1.1}


def measure():
    for name in HEAPS | ODD_HEAPS:
        dump_generations(name, DUMPS, SCALE)
    with tempfile.TemporaryDirectory(prefix="bench-store-", dir="/var/tmp") as scratch:
        with Ticker("bench-growth", GROWTH_HEAP, "runc") as ticker:
            yield from growth(ticker, Repository(scratch))


def measure_outside():
    install_peers()
    try:
        for name in HEAPS:
            found = contest(name, KEEPERS)
            yield from contest_rows(name, found, RATIOS, LIMITS if name == "redis" else {})
        for name in ODD_HEAPS:
            found = contest(name, {key: KEEPERS[key] for key in ("cprewind", "tar")})
            yield from contest_rows(name, found, ODD_RATIOS, {})
    finally:
        if not KEEP:
            shutil.rmtree(DUMPS)


# --- the contest -------------------------------------------------------------------------------------

def contest(name, keepers):
    """Medians of every metric of every contender. They take turns, round by round."""
    samples = {key: {metric: [] for metric in (*METRICS, "peak")} for key in keepers}
    rounds = {key: 1 if QUICK else keeper.rounds for key, keeper in keepers.items()}
    for number in range(1, max(rounds.values()) + 1):
        for key, keeper in keepers.items():
            if number <= rounds[key]:
                # Later generations cost like the second: one round of all of them is enough.
                one_round(keeper, DUMPS / name, GENERATIONS if number == 1 else RESTORED, samples[key])
                last = {metric: f"{values[-1]:.2f}" for metric, values in samples[key].items()}
                say(f"store {name} {number}/{rounds[key]} {key}: {last}")
    found = {key: {metric: median(values) for metric, values in metrics.items()} for key, metrics in samples.items()}
    print_contest(name, keepers, found)
    return found


def one_round(keeper, dumps, generations, samples):
    with tempfile.TemporaryDirectory(prefix="round-", dir=DUMPS) as scratch:
        own = pathlib.Path(scratch) / "own"
        own.mkdir()
        contender = keeper(own)
        kept, peaks = [], []
        for number in range(1, generations + 1):
            contender.prepare(dumps / str(number), number)
            took = fairly_timed(contender.save(dumps / str(number), number), dumps / str(number))
            samples["save-first" if number == 1 else "save-next"].append(took.wall)
            peaks.append(took.peak / 2**20)
            kept.append(contender.kept() / 2**20)
        samples["bytes-first"].append(kept[0])
        samples["bytes-next"].append((kept[-1] - kept[0]) / (len(kept) - 1))
        target = pathlib.Path(scratch) / "restored"
        took = fairly_timed(contender.restore(RESTORED, target), own)
        samples["restore"].append(took.wall)
        samples["peak"].append(max(*peaks, took.peak / 2**20))
        check_equal(dumps / str(RESTORED), target)


def fairly_timed(command, source):
    """What earlier commands left to write is written, what this one reads is in memory."""
    os.sync()
    recycle_memory()
    run(["sh", "-c", f"find {source} -type f -exec cat {{}} + >/dev/null"])
    return timed(["sh", "-c", command])


def print_contest(name, keepers, found):
    lines = [f"{name:10}{'':24}  save 1st  save next  1st MiB  next MiB  restore gen {RESTORED}  peak MiB"]
    for key, keeper in keepers.items():
        one = found[key]
        lines.append(f"{keeper.title:34}  {one['save-first']:6.2f} s  {one['save-next']:7.2f} s  "
                     f"{one['bytes-first']:7.0f}  {one['bytes-next']:8.1f}  {one['restore']:11.2f} s  {one['peak']:8.0f}")
    print("\n".join(["", *lines, ""]), file=sys.stderr, flush=True)


def contest_rows(name, found, ratios, limits):
    for metric, unit in METRICS.items():
        ours = found["cprewind"][metric]
        if metric in limits:
            yield row(f"store.{name}.{metric}", ours, unit, limit=limits[metric])
        for key, theirs in found.items():
            if key != "cprewind":
                yield row(f"store.{name}.{metric}.{key}", ours, unit, peer=KEEPERS[key].title,
                          peer_figure=theirs[metric], limit_ratio=ratios.get((metric, key)))
    yield row(f"store.{name}.peak-memory", found["cprewind"]["peak"], "MiB", limit=200)


# --- growth ------------------------------------------------------------------------------------------

def growth(ticker, repository):
    """A container snapped again and again: what the commands take, and what is kept, at 10, 100 and 1,000 snapshots."""
    taken, first = 0, None
    for count in GROWTH:
        while taken < count - 5:
            run(repository.command("snap", ticker.name))
            taken += 1
        figures = {"snap": five_times(repository.command("snap", ticker.name))}
        taken = count
        for key, words in {"log": ["log"], "inspect": ["inspect", f"{ticker.name}@latest"], "verify": ["verify"],
                           "verify-data": ["verify", "--data"]}.items():
            figures[key] = five_times(repository.command(*words))
        first = first or figures
        for key, figure in figures.items():
            flat = 1.5 if key in ("snap", "inspect") else None
            peer = {} if figures is first else {"peer": f"at {GROWTH[0]}", "peer_figure": first[key] * 1e3,
                                                "limit_ratio": flat}
            yield row(f"store.growth-{count}.{key}", figure * 1e3, "ms", **peer)
        size = sum(file.stat().st_size for file in repository.path.rglob("*") if file.is_file())
        yield row(f"store.growth-{count}.repository", size / 2**20, "MiB")
        say(f"store growth {count}: {json.dumps(figures)}, {size / 2**20:.0f} MiB")


def five_times(command):
    walls = []
    for _ in range(5):
        recycle_memory()
        walls.append(timed(command, statuses=(0, 3)).wall)  # 3: findings
    return median(walls)
