"""A redis with 100 MiB of data ready to answer: forked from a snapshot, against started anew and loaded with the same data,
as values of 100 bytes and of 1 KiB: what loading costs depends on how many there are, what a fork costs does not.
"""

import itertools
import json
import socket
import tempfile
import time

from bench.tools import QUICK, Repository, docker, median, recycle_memory, row, run, say, wait_until

LABS = ("forky",)
ROUNDS = 1 if QUICK else 5
BYTES = (12 if QUICK else 100) << 20
VALUES = (100, 1024)  # bytes of one
COMMAND = ["redis-server", "--save", "", "--protected-mode", "no"]
numbers = itertools.count(1)


def measure():
    for value in VALUES:
        with tempfile.TemporaryDirectory(prefix="bench-fork-", dir="/var/tmp") as scratch:
            yield from measure_with(Repository(scratch), value)


def measure_with(repository, value):
    origin, _ = start_and_load(value)
    try:
        target = repository.json("snap", origin)["snapshots"][0]["id"]
        started, forked, eight = [], [], []
        for number in range(ROUNDS):
            recycle_memory(1)
            name, took = start_and_load(value)
            docker("rm", "--force", name)
            started.append(took)
            recycle_memory(1)
            forked.append(fork(repository, target, 1, value))
            eight.append(fork(repository, target, 8, value))
            say(f"fork, values of {value} bytes, {number + 1}/{ROUNDS}: start and load {started[-1]:.3f} s, "
                f"fork {forked[-1]:.3f} s, eight forks {eight[-1]:.3f} s")
    finally:
        docker("rm", "--force", origin)
    yield row(f"fork.ready-{value}", median(forked), "s", peer="docker run, load the data", peer_figure=median(started),
              limit_ratio=0.2)
    yield row(f"fork.eight-ready-{value}", median(eight), "s", peer="one fork", peer_figure=median(forked))


def start_and_load(value):
    """A fresh redis and how long it took until it had all data."""
    name = f"bench-redis-{next(numbers)}"
    began = time.monotonic()
    docker("run", "--detach", "--name", name, "--runtime", "cprewind", "work", *COMMAND)
    load(address_of(name), value)
    return name, time.monotonic() - began


def fork(repository, target, count, value):
    """How long until the last of so many forks has answered for a key that only the snapshot has."""
    name = f"bench-fork-{next(numbers)}"
    began = time.monotonic()
    document = json.loads(run(repository.command("fork", target, "--name", name, "--count", count, "--json")))
    for one in document["forks"]:
        wait_until(lambda: ask(one["ip_address"], f"key:{BYTES // value - 1}") == value, "it has the last key")
    took = time.monotonic() - began
    docker("rm", "--force", *(one["id"] for one in document["forks"]))
    return took


def address_of(name):
    address = docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name)
    wait_until(lambda: ask(address, "none") == -1, "redis answers")
    return address


def load(address, size):
    """All keys, in one pipeline as fast as redis takes them; no client does it faster."""
    value, count = b"v" * size, BYTES // size
    with socket.create_connection((address, 6379)) as connection:
        answers = connection.makefile("rb")
        for first in range(0, count, 1000):
            keys = [b"key:%d" % number for number in range(first, min(count, first + 1000))]
            connection.sendall(b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(k), k, size, value)
                                        for k in keys))
            for _ in keys:
                assert answers.readline() == b"+OK\r\n"


def ask(address, key):
    """The length of a key's value, -1 when there is none, None when nobody answers."""
    try:
        with socket.create_connection((address, 6379), timeout=1) as connection:
            connection.sendall(b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(key), key.encode()))
            return int(connection.makefile("rb").readline()[1:])
    except (OSError, ValueError):
        return None
