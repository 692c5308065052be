"""Programs whose memory is dumped generation by generation, some of it changed between: what the page store is measured
on. All are repeatable: the same data in every run."""

import json
import pathlib
import random
import shutil
import signal

from bench.tools import docker, run, say, wait_until

GENERATIONS = 5
SHARE = 0.015  # of the data that changes between two generations

REDIS_KEYS = 470_000  # with values of 1,000 bytes: about 520 MiB dumped
PYTHON_RECORDS = 230_000  # with a reserve of 48 MiB of zeros: about 400 MiB
SHAPE_MEBIBYTES = 256

# Counts its generations aloud; a signal starts the next.
LOOP = """
import random, signal, sys
chance = random.Random(2)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
def generations(change):
    generation = 1
    while True:
        print(generation, flush=True)
        signal.sigwait([signal.SIGUSR1])
        change(generation)
        generation += 1
"""

PYTHON = LOOP + """
count, share = int(sys.argv[1]), float(sys.argv[2])
words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 12))) for _ in range(5000)]
def record(number):
    return {"id": number, "name": f"{chance.choice(words)}-{number}", "tags": chance.sample(words, 4),
            "score": chance.random(), "history": [chance.randrange(1 << 40) for _ in range(16)],
            "note": " ".join(chance.choices(words, k=30)), "key": chance.randbytes(48)}
records = [record(number) for number in range(count)]
reserve = bytearray(b"\\0" * (count * 218))
def change(_):
    for one in chance.sample(records, int(len(records) * share)):
        one["score"] = chance.random()
        one["history"][chance.randrange(16)] = chance.randrange(1 << 40)
        one["note"] = " ".join(chance.choices(words, k=30))
generations(change)
"""

# Memory that is unlike a program's data, or the worst of it; docs/benchmarks.md says what each stands for.
SHAPES = LOOP + """
import mmap
shape, size, share = sys.argv[1], int(sys.argv[2]) << 20, float(sys.argv[3])
pages = size // 4096
heap = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
template = chance.randbytes(2048) + b" a text that is the same everywhere" * 60
template = template[:4096].ljust(4096)
def text(length):
    return b"".join(b"object %d of class %d points to %d; " % (chance.randrange(1 << 30), chance.randrange(99),
                    chance.randrange(1 << 44)) for _ in range(length // 40 + 1))[:length]
def some_pages():
    return chance.sample(range(pages), int(pages * share))
def fill(content):
    for number in range(pages):
        heap[number * 4096:(number + 1) * 4096] = content(number)
def twin(number):
    return template[:number % 4000] + b"%012d" % number + template[number % 4000 + 12:]

def equal(generation):
    if generation == 0:
        fill(lambda _: template)
    other = chance.randbytes(4096)
    for number in some_pages():
        heap[number * 4096:(number + 1) * 4096] = other
def noise(generation):
    if generation == 0:
        fill(lambda _: chance.randbytes(4096))
    for number in some_pages():
        heap[number * 4096:(number + 1) * 4096] = chance.randbytes(4096)
def twins(generation):
    if generation == 0:
        fill(twin)
    for number in some_pages():
        heap[number * 4096 + chance.randrange(4096)] ^= 1
def touched(generation):
    if generation == 0:
        fill(lambda _: text(4096))
    for number in range(pages):
        heap[number * 4096 + 8] = generation
def moved(generation):
    if generation == 0:
        fill(lambda _: text(4096))
    quarter = size // 4
    begin = quarter * (generation % 4)
    heap[begin:begin + quarter] = heap[begin + 24:begin + quarter] + text(24)
def replaced(generation):
    begin = pages // 2 * (generation % 2)
    for number in range(begin if generation else 0, begin + pages // 2 if generation else pages):
        heap[number * 4096:(number + 1) * 4096] = text(4096)
change = globals()[shape]
change(0)
generations(change)
"""


class Heap:
    """A running container; a context that removes it."""

    def __init__(self, *command):
        self.ident = docker("run", "--detach", "--runtime", "runc", "--network", "none", "work", *command)
        self.root = next(pathlib.Path("/run/docker").glob(f"*/moby/{self.ident}")).parent

    def __enter__(self):
        return self

    def __exit__(self, *_):
        docker("rm", "--force", "--volumes", self.ident, status=None)

    def dump(self, directory):
        run(["runc", "--root", self.root, "checkpoint", "--leave-running", "--image-path", directory,
             "--work-path", directory, self.ident])


class Redis(Heap):
    def __init__(self, scale):
        super().__init__("redis-server", "--save", "", "--appendonly", "no")
        self.keys = int(REDIS_KEYS * scale)
        self.chance = random.Random(1)
        self.write(range(self.keys))

    def change(self):
        self.write(self.chance.sample(range(self.keys), int(self.keys * SHARE)))

    def write(self, numbers):
        """Sets the keys to new values, half as large when compressed."""
        commands = "".join(f"SET key:{number:08} {self.chance.randbytes(500).hex()}\r\n" for number in numbers)
        wait_until(lambda: docker("exec", self.ident, "redis-cli", "ping", status=None) == "PONG", "redis answers")
        run(["docker", "exec", "--interactive", self.ident, "redis-cli", "--pipe"], send=commands)


class Program(Heap):
    def __init__(self, *words):
        super().__init__("python3", "-uc", *map(str, words))
        self.generation = 1
        self.wait()

    def change(self):
        docker("kill", "--signal", signal.SIGUSR1.name, self.ident)
        self.generation += 1
        self.wait()

    def wait(self):
        wait_until(lambda: docker("logs", self.ident).split()[-1:] == [str(self.generation)],
                   f"the program reaches generation {self.generation}", 120)


def shape(name):
    return lambda scale: Program(SHAPES, name, max(8, int(SHAPE_MEBIBYTES * scale)), SHARE)


HEAPS = {"redis": Redis, "python": lambda scale: Program(PYTHON, int(PYTHON_RECORDS * scale), SHARE)}
ODD_HEAPS = {name: shape(name) for name in ("equal", "noise", "twins", "touched", "moved", "replaced")}


def dump_generations(name, directory, scale):
    """directory/NAME/1 … 5: what CRIU wrote. Dumps of the same scale that an earlier run kept are good."""
    done = directory / name / "done.json"
    if done.exists() and json.loads(done.read_text()) == scale:
        return
    shutil.rmtree(directory / name, ignore_errors=True)
    with (HEAPS | ODD_HEAPS)[name](scale) as heap:
        for number in range(1, GENERATIONS + 1):
            if number > 1:
                heap.change()
            target = directory / name / str(number)
            target.mkdir(parents=True)
            heap.dump(target)
    done.write_text(json.dumps(scale))
    size = sum(file.stat().st_size for file in target.iterdir())
    say(f"store {name}: {GENERATIONS} dumps of {size / 2**20:.0f} MiB")
