"""Reading a checkpoint and a snapshot of a process with a 512 MiB heap, against crit."""

import pathlib
import tempfile

from bench.snap import Runc
from bench.ticker import Ticker
from bench.tools import Repository, median, recycle_memory, row, run, timed

LABS = ("forky",)  # no engine takes part in it
ROUNDS = 9
HEAP = 512
IMAGES = 300  # of the fixtures
FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "fixtures"
RAW = ("pages-", "tmpfs-", "iptables", "ip6tables", "nftables", "route", "rule-", "ifaddr-", "netns-")


def measure():
    with tempfile.TemporaryDirectory(prefix="bench-inspect-", dir="/var/tmp") as scratch:
        repository = Repository(scratch)
        with Ticker("bench-inspect", HEAP, "runc") as ticker:
            runc = Runc(ticker)
            run(runc.command())
            for _ in range(2):
                run(repository.command("snap", ticker.name))
        recycle_memory()
        ours, theirs = alternate(repository.command("inspect", runc.directory, "ps"),
                                 ["crit", "x", runc.directory, "ps"])
        yield row("inspect.directory-ps", ours * 1e3, "ms", peer="crit x DIR ps", peer_figure=theirs * 1e3,
                  limit_ratio=0.05)
        yield decode_directory(repository)
        runc.clean(None)
        yield row("inspect.snapshot", timing(repository.command("inspect", "bench-inspect@1")) * 1e3, "ms")
        for view in ("ps", "sockets", "threads", "mem"):
            yield row(f"inspect.view-{view}", timing(repository.command("inspect", "bench-inspect@1", view)) * 1e3, "ms")
        yield row("inspect.diff", timing(repository.command("diff", "bench-inspect@1", "bench-inspect@2")) * 1e3, "ms")


def decode_directory(repository):
    """A process for each image, as both tools are used; once each, because crit needs half a minute for it."""
    images = [p for p in sorted(FIXTURES.rglob("*.img")) if not p.name.startswith(RAW)][:IMAGES]
    ours = sum(timed(repository.command("decode", image), statuses=(0, 3)).wall for image in images)
    theirs = sum(timed(["crit", "decode", "-i", image]).wall for image in images)
    return row("inspect.decode-300-images", ours, "s", peer="crit decode", peer_figure=theirs, limit_ratio=0.05)


def timing(command):
    return median([timed(command, statuses=(0, 1, 3)).wall for _ in range(ROUNDS)])  # 1: they differ, 3: findings


def alternate(ours, theirs):
    pairs = [(timed(ours, statuses=(0, 3)).wall, timed(theirs).wall) for _ in range(ROUNDS)]
    return median([pair[0] for pair in pairs]), median([pair[1] for pair in pairs])
