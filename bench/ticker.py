"""The measured container and its ticks (bench/ticker.c): how long it stood still, when it came back."""

import mmap
import pathlib
import shutil
import struct
import tempfile

from bench.tools import docker, wait_until

SOURCE = pathlib.Path(__file__).with_suffix(".c")
SLOTS = 1 << 17  # as in ticker.c


class Ticker:
    """A running container of the given heap. Use as a context: it is removed at the end."""

    def __init__(self, name, mebibytes, runtime):
        # Not on the lab's overlay, and not the container's writable layer: see ticker.c.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="bench-ticker-", dir="/var/tmp"))
        self.name = name
        self.mebibytes = mebibytes
        self.runtime = runtime

    def __enter__(self):
        docker("run", "--rm", "-v", f"{SOURCE.parent}:/source:ro", "-v", f"{self.directory}:/bench", "work",
               "gcc", "-O2", "-o", "/bench/ticker", "/source/ticker.c")
        docker("run", "--detach", "--name", self.name, "--runtime", self.runtime, "-v", f"{self.directory}:/bench",
               "work", "/bench/ticker", "/bench/ring", self.mebibytes)
        self.id = docker("inspect", "--format", "{{.Id}}", self.name)
        self.map_ring()
        return self

    def map_ring(self):
        """From here on its ticks can be read."""
        ring = self.directory / "ring"
        wait_until(lambda: ring.exists() and ring.stat().st_size == 8 * (SLOTS + 1), "the ticker makes its ring")
        with ring.open("rb") as file:
            self.ring = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        wait_until(lambda: self.count() > 100, "the ticker ticks")

    def __exit__(self, *_):
        docker("rm", "--force", self.name, status=None)
        shutil.rmtree(self.directory)

    def count(self):
        return struct.unpack_from("Q", self.ring)[0]

    def at(self, number):
        """The time of tick `number`, in ns of CLOCK_REALTIME, as time.time_ns() (ticker.c says why)."""
        return struct.unpack_from("Q", self.ring, 8 + 8 * (number % SLOTS))[0]

    def times(self, began, ended):
        """The ticks from the last one before `began` to the first one after `ended` (ns), which it waits for."""
        wait_until(lambda: self.at(self.count() - 1) > ended, "the container ticks again", 60)
        first = last = self.count() - 1
        while first > 0 and self.at(first) >= began:
            first -= 1
            assert last - first < SLOTS - 1000, "the measured stretch is longer than the ring"
        return [self.at(number) for number in range(first, last + 1)]

    def stall(self, began, ended):
        """The longest time without a tick, in s."""
        ticks = self.times(began, ended)
        return max(after - before for before, after in zip(ticks, ticks[1:])) / 1e9
