"""What cprewind-runtime adds to a container that nobody rewinds, against plain runc."""

import json
import pathlib
import tempfile

from bench.tools import RUNTIME, docker, median, row, run, timed

LABS = ("forky", "trixie")
STARTS = 100
DOCKER_RUNS = 30
EXECS = 200


def measure():
    with tempfile.TemporaryDirectory(prefix="bench-runtime-", dir="/run") as scratch:
        bundle = make_bundle(pathlib.Path(scratch))
        plain, added = paired(STARTS, oci_calls("runc", bundle), oci_calls(RUNTIME, bundle))
        yield row("runtime.start-added", added * 1e3, "ms", peer="runc create, start, delete", peer_figure=plain * 1e3,
                  limit=5)
    plain, added = paired(EXECS, [["runc", "--version"]], [[RUNTIME, "--version"]])
    yield row("runtime.exec-added", added * 1e3, "ms", peer="runc --version", peer_figure=plain * 1e3)
    # A whole `docker run` varies by tens of milliseconds; runc against itself shows what such a difference is worth.
    _, noise = paired(DOCKER_RUNS, docker_run("runc"), docker_run("runc"))
    _, added = paired(DOCKER_RUNS, docker_run("runc"), docker_run("cprewind"))
    yield row("runtime.docker-run-added", added * 1e3, "ms")
    yield row("runtime.docker-run-noise", noise * 1e3, "ms")


def make_bundle(directory):
    """What a runtime needs to run `true` in the busybox image."""
    rootfs = directory / "rootfs"
    rootfs.mkdir()
    ident = docker("create", "busybox", "true")
    run(["sh", "-c", f"docker export {ident} | tar -x -C {rootfs}"])
    docker("rm", ident)
    run(["runc", "spec"], cwd=directory)
    config = json.loads((directory / "config.json").read_text())
    config["process"].update(terminal=False, args=["true"])
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def oci_calls(runtime, bundle):
    """The calls that containerd's shim makes for a container's life."""
    common = [runtime, "--root", bundle / "state", "--log", bundle / "log.json", "--log-format", "json"]
    return [[*common, "create", "--bundle", bundle, "--pid-file", bundle / "pid", "bench"], [*common, "start", "bench"],
            [*common, "delete", "--force", "bench"]]


def docker_run(runtime):
    return [["docker", "run", "--rm", "--runtime", runtime, "--network", "none", "busybox", "true"]]


def paired(rounds, theirs, ours):
    """The median of theirs, and the median of what ours took longer than the theirs beside it: a difference of a few
    milliseconds drowns in what the engine's own times vary over a minute, but less in what they vary over a second."""
    times, differences = [], []
    for number in range(rounds + 2):
        took = {}
        for who in ((0, 1) if number % 2 else (1, 0)):
            took[who] = sum(timed(command).wall for command in (theirs, ours)[who])
        if number >= 2:  # the first ones warm the caches
            times.append(took[0])
            differences.append(took[1] - took[0])
    return median(times), median(differences)
