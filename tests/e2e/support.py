"""What the tests talk to: cprewind, Docker and containers, as a person at a shell would, and how to wait for them."""

import json
import os
import pathlib
import re
import subprocess
import time

CPREWIND = str(pathlib.Path(os.environ.get("CPREWIND_BIN", "")) / "cprewind")
RUNTIME_STATE = pathlib.Path("/run/cprewind/runtime")  # runtime/plan.h
STAGING_PLACES = [pathlib.Path(p) for p in ("/run", "/dev/shm", "/tmp")]  # engine/staging.cpp
PATIENCE = 120  # seconds after which anything at all hangs


class Result:
    """What a finished command left."""

    def __init__(self, command, process):
        self.command = " ".join(map(str, command))
        self.status = process.returncode
        self.out = process.stdout
        self.err = process.stderr

    @property
    def json(self):
        root = json.loads(self.out)
        assert isinstance(root, dict), f"the root of the JSON of `{self.command}` is a {type(root).__name__}"
        return root

    def __repr__(self):
        return f"`{self.command}` ended with {self.status}\nstdout: {self.out}\nstderr: {self.err}"


def run(command, *, status=0, env=None, prefix=(), **options):
    """Runs a command to its end; `status` is what is expected, None: anything."""
    command = [*prefix, *map(str, command)]
    options.setdefault("stdin", subprocess.DEVNULL)
    process = subprocess.run(command, env={**os.environ, **(env or {})}, capture_output=True, text=True,
                             errors="surrogateescape", timeout=PATIENCE, check=False, **options)
    result = Result(command, process)
    assert status is None or result.status == status, f"expected status {status}: {result!r}"
    return result


def docker(*words, status=0):
    return run(["docker", *words], status=status).out.strip()


def engine_version():
    """The major version of the Docker Engine."""
    return int(docker("version", "--format", "{{.Server.Version}}").split(".")[0])


def wait_until(condition, what, seconds=10.0):
    """The first true answer of `condition`; fails after `seconds` with `what` was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.02)


class Repository:
    """cprewind with a repository of its own."""

    def __init__(self, path):
        self.path = path

    def __call__(self, *words, status=0, env=None, **options):
        return run([CPREWIND, *words], status=status, env={"CPREWIND_REPO": str(self.path), **(env or {})}, **options)

    def start(self, *words):
        """In the background, its output thrown away."""
        return subprocess.Popen([CPREWIND, *map(str, words)], env={**os.environ, "CPREWIND_REPO": str(self.path)},
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def snap(self, container, *words):
        return self("snap", container, "--json", *words).json["snapshots"][0]

    def rewind(self, container, to, *words):
        return self("rewind", container, "--to", to, "--json", *words).json

    def names(self):
        return [s["name"] for s in self("log", "--json").json["snapshots"]]

    def pack_of(self, name):
        ids = {s["name"]: s["id"] for s in self("log", "--json").json["snapshots"]}
        return self.path / "packs" / f"{ids[name]}.pack"

    def disk_bytes(self):
        """What the packs take on the disk; holes take nothing."""
        return sum(pack.stat().st_blocks * 512 for pack in (self.path / "packs").iterdir())

    def assert_clean(self):
        """Nothing damaged, nothing half-written."""
        result = self("verify", "--json", status=None)
        assert result.status == 0 and result.json["faults"] == [], repr(result)


class Container:
    def __init__(self, name, ident):
        self.name = name
        self.id = ident

    def __str__(self):
        return self.name

    def inspect(self, template):
        return docker("inspect", "--format", template, self.id)

    @property
    def state(self):
        return self.inspect("{{.State.Status}}")

    @property
    def pid(self):
        return int(self.inspect("{{.State.Pid}}"))

    @property
    def address(self):
        return self.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")

    def exec(self, *words, status=0):
        return run(["docker", "exec", self.id, *words], status=status).out

    def log_lines(self):
        """The complete lines of the container's log."""
        text = run(["docker", "logs", self.id]).out
        return [line.rstrip("\r") for line in text[: text.rfind("\n") + 1].splitlines()]

    def ticks(self):
        """The counter's log as numbers."""
        return [int(line) for line in self.log_lines()]

    def jumps(self):
        """Where the counter did not go up by one: a rewind is one step back."""
        ticks = self.ticks()
        return [(a, b) for a, b in zip(ticks, ticks[1:]) if b != a + 1]

    def last_tick(self):
        return wait_until(self.ticks, f"{self.name} prints its first number")[-1]

    def wait_for_tick(self, number):
        wait_until(lambda: self.last_tick() >= number, f"{self.name} counts to {number}")

    def assert_counts_on(self, seconds=5):
        seen = len(self.log_lines())
        wait_until(lambda: len(self.log_lines()) > seen, f"{self.name} prints one more line", seconds)

    def events(self, since):
        """What Docker did to the container, without what merely looks at it."""
        text = docker("events", "--since", f"{since:.6f}", "--until", f"{time.time():.6f}", "--filter",
                      f"container={self.id}", "--format", "{{.Action}}")
        return [e for e in text.split("\n") if e and not e.startswith(("exec_", "top"))]


class Untouched:
    """A stretch in which nothing may happen to a container: not even a pause."""

    def __init__(self, container):
        self.container = container

    def __enter__(self):
        self.since = time.time()
        self.before = self.look()

    def __exit__(self, kind, *_):
        if kind is None:
            assert self.container.events(self.since) == []
            assert self.look() == self.before

    def look(self):
        return self.container.inspect("{{.State.Status}} {{.State.Pid}} {{.State.StartedAt}} {{.RestartCount}}")


def staging_directories(repository=None):
    places = STAGING_PLACES + ([repository.path / "staging"] if repository else [])
    return [str(found) for place in places for found in place.glob("cprewind-staging-*")]


def plans():
    """What rewinds left for the runtime: nothing, when they are over."""
    return [str(found) for part in ("pending", "taken") for found in RUNTIME_STATE.glob(f"{part}/*")]


def assert_refused(result, *words):
    """A message of one or two lines on stderr that holds all `words`, and nothing on stdout."""
    assert result.out == "", f"something on stdout: {result!r}"
    lines = result.err.strip().splitlines()
    assert 1 <= len(lines) <= 2 and all(line.startswith("cprewind: ") for line in lines), repr(result)
    for word in words:
        assert re.search(word, result.err), f"'{word}' is missing: {result!r}"
