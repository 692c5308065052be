"""Bringing a process with a 512 MiB heap back: from its kill to its first tick, against `docker kill` and
`docker start --checkpoint` where the engine can restore at all, and against a bare `runc restore` from tmpfs."""

import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from bench.ticker import SOURCE, Ticker
from bench.tools import LAB, Repository, docker, median, recycle_memory, row, run, say, timed

LABS = ("forky", "trixie")
ROUNDS = 5
HEAP = 512


def measure():
    with tempfile.TemporaryDirectory(prefix="bench-rewind-", dir="/var/tmp") as scratch:
        down, reported, wall, bare = measure_cprewind(Repository(scratch))
    # Docker 28's own restore is broken (lab/README.md), so there is no peer.
    peer = measure_docker() if LAB == "trixie" else None
    yield row("rewind.down", down, "s", peer="docker kill, start --checkpoint" if peer else None, peer_figure=peer,
              limit_ratio=0.125 if peer else None)
    yield row("rewind.down-runc", down, "s", peer="kill, runc restore from tmpfs", peer_figure=bare, limit_ratio=1.3)
    # What Docker itself takes to stop and start any container, beyond what runc takes for the same: no rewind through
    # Docker can be down for less than a bare restore and this.
    through_docker, by_runc = measure_starts()
    yield row("rewind.down-floor", bare + through_docker - by_runc, "s", peer="kill, runc restore from tmpfs", peer_figure=bare)
    yield row("rewind.docker-start", through_docker, "s", peer="runc run of the same", peer_figure=by_runc)
    yield row("rewind.down-reported", reported, "s")
    yield row("rewind.wall", wall, "s")


def measure_cprewind(repository):
    downs, reported, walls, bare_downs = [], [], [], []
    with Ticker("bench-rewind", HEAP, "cprewind") as ticker, BareTicker("bench-bare", HEAP, "") as bare:
        target = repository.json("snap", ticker.name)["snapshots"][0]["id"]
        for number in range(ROUNDS):
            time.sleep(0.5)
            recycle_memory()
            took = timed(repository.command("rewind", ticker.name, "--to", target, "--json"))
            result = json.loads(took.out)
            # The safety snapshot froze the process some time before, and it ran on in nobody's eyes: the kill counts.
            killed = kill_time(ticker, took)
            downs.append((first_tick_after(ticker, killed) - killed) / 1e9)
            reported.append(result["down_ms"] / 1e3)
            walls.append(took.wall)
            run(repository.command("rm", result["safety"]["id"]))
            recycle_memory()
            bare_downs.append(bare.rewind())
            say(f"rewind {number + 1}/{ROUNDS} cprewind: down {downs[-1]:.3f} s, wall {took.wall:.3f} s; "
                f"bare runc {bare_downs[-1]:.3f} s")
    return median(downs), median(reported), median(walls), median(bare_downs)


class BareTicker(Ticker):
    """The same process under runc alone, its images on a tmpfs: what no rewind of a container can beat."""

    def __enter__(self):
        docker("run", "--rm", "-v", f"{SOURCE.parent}:/source:ro", "-v", f"{self.directory}:/bench", "work",
               "gcc", "-O2", "-static", "-o", "/bench/ticker", "/source/ticker.c")
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="bench-bare-", dir="/run"))
        self.runc = ["runc", "--root", self.scratch / "state"]
        self.bundle, self.images = self.scratch / "bundle", self.scratch / "images"
        (self.bundle / "rootfs/bench").mkdir(parents=True)
        run(["runc", "spec"], cwd=self.bundle)
        config = json.loads((self.bundle / "config.json").read_text())
        config["root"]["readonly"] = False  # CRIU makes a directory in it
        config["process"].update(terminal=False, args=["/bench/ticker", "/bench/ring", str(self.mebibytes)])
        config["mounts"].append({"destination": "/bench", "type": "bind", "source": str(self.directory), "options": ["rbind", "rw"]})
        (self.bundle / "config.json").write_text(json.dumps(config))
        self.quietly("run", "--detach", "--bundle", self.bundle, self.name)
        self.map_ring()
        self.quietly("checkpoint", "--leave-running", "--image-path", self.images, self.name)
        return self

    def __exit__(self, *_):
        self.quietly("delete", "--force", self.name)
        shutil.rmtree(self.scratch)
        shutil.rmtree(self.directory)

    def rewind(self):
        """From its kill to its first tick, s."""
        return self.again("restore", "--detach", "--bundle", self.bundle, "--image-path", self.images, self.name)

    def start(self):
        """Likewise, from its beginning."""
        return self.again("run", "--detach", "--bundle", self.bundle, self.name)

    def again(self, *words):
        pid = json.loads(run([*self.runc, "state", self.name]))["pid"]
        began = time.time_ns()
        os.kill(pid, signal.SIGKILL)
        while pathlib.Path(f"/proc/{pid}/root/bench").exists():
            time.sleep(0.001)
        dead = time.time_ns()
        self.quietly("delete", "--force", self.name)
        self.quietly(*words)
        return (first_tick_after(self, dead) - began) / 1e9

    def quietly(self, *words):
        # What runs on afterwards would hold a pipe open for ever.
        subprocess.run([*map(str, self.runc), *map(str, words)], check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)


def measure_starts():
    """From kill to first tick of a program with nothing in its memory, started again: by Docker's API, as `rewind` calls
    it, and by runc alone."""
    through_docker, by_runc = [], []
    with Ticker("bench-empty", 1, "runc") as ticker, BareTicker("bench-bare-empty", 1, "") as bare:
        for _ in range(ROUNDS):
            began = time.time_ns()
            call_docker("POST", f"/containers/{ticker.id}/stop?t=0&signal=SIGKILL")
            stopped = time.time_ns()
            call_docker("POST", f"/containers/{ticker.id}/start")
            through_docker.append((first_tick_after(ticker, stopped) - began) / 1e9)
            by_runc.append(bare.start())
    return median(through_docker), median(by_runc)


def call_docker(method, path):
    connection = http.client.HTTPConnection("docker")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect("/var/run/docker.sock")
    connection.request(method, path)
    answer = connection.getresponse()
    if answer.status >= 400:
        raise RuntimeError(f"{method} {path}: {answer.read().decode()}")
    connection.close()


def measure_docker():
    downs = []
    with Ticker("bench-classic", HEAP, "runc") as ticker:
        docker("checkpoint", "create", "--leave-running", ticker.name, "bench")
        for number in range(ROUNDS):
            time.sleep(0.5)
            recycle_memory()
            kill = timed(["docker", "kill", ticker.name])
            start = start_from_checkpoint(ticker)
            # A start that failed is Docker's own trouble with its store (moby#42900) and not counted.
            kill_part = kill.ended - kill_time(ticker, kill)
            downs.append((kill_part + first_tick_after(ticker, start.began) - start.began) / 1e9)
            say(f"rewind {number + 1}/{ROUNDS} docker: down {downs[-1]:.3f} s")
    return median(downs)


def start_from_checkpoint(ticker):
    deadline = time.monotonic() + 120
    while True:
        try:
            return timed(["docker", "start", "--checkpoint", "bench", ticker.name])
        except RuntimeError as error:
            if "already exists" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(1)


def kill_time(ticker, took):
    """When Docker sent the kill (the first one: a paused container gets a second)."""
    times = docker("events", "--since", seconds(took.began), "--until", seconds(took.ended), "--filter",
                   f"container={ticker.id}", "--filter", "event=kill", "--format", "{{.TimeNano}}").split()
    if not times:
        raise RuntimeError(f"Docker tells of no kill of {ticker.name}")
    return int(times[0])


def seconds(nanoseconds):
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09}"


def first_tick_after(ticker, moment):
    return next(tick for tick in ticker.times(moment, moment) if tick > moment)
