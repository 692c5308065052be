"""What cprewind-runtime adds to a container that nobody rewinds, against plain runc."""

from bench.tools import RUNTIME, median, row, timed

LABS = ("forky", "trixie")
STARTS = 60
EXECS = 200


def measure():
    plain, added = paired(STARTS, docker_run("runc"), docker_run("cprewind"))
    yield row("runtime.run-added", added * 1e3, "ms", peer="docker run --rm, all of it", peer_figure=plain * 1e3,
              limit=5)
    plain, added = paired(EXECS, ["runc", "--version"], [RUNTIME, "--version"])
    yield row("runtime.exec-added", added * 1e3, "ms", peer="runc --version", peer_figure=plain * 1e3)


def docker_run(runtime):
    return ["docker", "run", "--rm", "--runtime", runtime, "--network", "none", "busybox", "true"]


def paired(rounds, theirs, ours):
    """The median of theirs, and the median of what ours took longer than the theirs beside it: a difference of a few
    milliseconds drowns in what the engine's own times vary over a minute, but not in what they vary over a second."""
    times, differences = [], []
    for number in range(rounds + 2):
        order = (theirs, ours) if number % 2 else (ours, theirs)
        took = {id(command): timed(command).wall for command in order}
        if number >= 2:  # the first ones warm the caches
            times.append(took[id(theirs)])
            differences.append(took[id(ours)] - took[id(theirs)])
    return median(times), median(differences)
