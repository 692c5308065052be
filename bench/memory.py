"""Searching a gibibyte of dumped memory: against grep and ripgrep over the raw pages file, binutils' strings, and
checkpointctl; and what a stored snapshot of it costs to look at.

The memory is put into a checkpoint of podman's (fixtures/archives), so that every contender reads the same: noise, text
of words, tables of pointers and nearly empty pages in equal parts, with planted needles.
"""

import json
import pathlib
import random
import struct
import tarfile
import tempfile

from bench.tools import CPREWIND, QUICK, Repository, median, recycle_memory, row, run, say, timed

LABS = ("forky",)  # no engine takes part in it; the peers are in the lab
ARCHIVE = pathlib.Path(__file__).resolve().parents[1] / "fixtures/archives/podman.tar"
MEBIBYTES = 128 if QUICK else 1024
ROUNDS = 1 if QUICK else 5
SLOW_ROUNDS = 1  # of checkpointctl, which takes minutes
START = 0x200000000000
LITERAL = "PLANTED-NEEDLE"
REGEX = r"user-[0-9]{6}@example\.(com|org)"
VIEWS = ("ps", "fds", "sockets", "mem", "threads", "env")
PEAK = 128  # MiB


def measure():
    with tempfile.TemporaryDirectory(prefix="bench-memory-", dir="/dev/shm") as scratch:
        scratch = pathlib.Path(scratch)
        say(f"memory: making {MEBIBYTES} MiB")
        directory, archive, pages = make_checkpoint(scratch)
        recycle_memory()
        yield from searches(directory, archive, pages)
        yield from strings(directory, pages)
        yield from stored(scratch, archive)


def searches(directory, archive, pages):
    for name, ours, expression, flag in (("literal", ["--text", LITERAL], LITERAL, "--search"),
                                         ("regex", ["--regex", REGEX], REGEX, "--search-regex")):
        fixed = ["-F"] if name == "literal" else ["-E"]
        contenders = {
            "cprewind": [CPREWIND, "mem", directory, "search", *ours],
            "grep -c": ["env", "LC_ALL=C", "grep", "-ca", *fixed, expression, pages],
            "rg -c": ["rg", "-ca", *fixed[:name == "literal"], "--no-unicode", expression, pages],
        }
        found, peak = contest(contenders)
        for peer in ("grep -c", "rg -c"):
            yield row(f"memory.search-{name}", found["cprewind"], "s", peer=peer, peer_figure=found[peer], limit_ratio=1)
        slow, _ = contest({"theirs": ["checkpointctl", "memparse", f"{flag}={expression}", "--pid", "1", archive]},
                          rounds=SLOW_ROUNDS)
        yield row(f"memory.search-{name}", found["cprewind"], "s", peer=f"checkpointctl memparse {flag}", peer_figure=slow["theirs"],
                  limit_ratio=0.1)
        yield row(f"memory.search-{name}-peak", peak, "MiB", limit=PEAK)


def strings(directory, pages):
    contenders = {"cprewind": [CPREWIND, "mem", directory, "strings", "--encoding", "ascii"],
                  "strings": ["strings", "-a", "-t", "x", pages]}
    found, peak = contest(contenders)
    yield row("memory.strings", found["cprewind"], "s", peer="strings -a -t x", peer_figure=found["strings"],
              limit_ratio=1 / 3)
    yield row("memory.strings-peak", peak, "MiB", limit=PEAK)


def stored(scratch, archive):
    """The same memory as a stored snapshot, and the one that it was made from, which is a few pages."""
    repository = Repository(scratch)
    run(repository.command("import", archive, "--name", "big"), status=None)
    run(repository.command("import", ARCHIVE, "--name", "small"), status=None)
    contenders = {"search": repository.command("mem", "big@1", "search", "--text", LITERAL)}
    found, peak = contest(contenders)
    yield row("memory.search-snapshot", found["search"], "s")
    yield row("memory.search-snapshot-peak", peak, "MiB", limit=PEAK)
    for view in VIEWS:
        commands = {name: repository.command("inspect", f"{name}@1", view) for name in ("big", "small")}
        found, _ = contest(commands, rounds=9)
        yield row(f"memory.view-{view}", found["big"] * 1e3, "ms", limit=30)
        yield row(f"memory.view-{view}", found["big"] * 1e3, "ms", peer=f"with {MEBIBYTES} MiB less",
                  peer_figure=found["small"] * 1e3)


def contest(contenders, rounds=ROUNDS):
    """Medians of all, who take turns; and the peak (MiB) of the first."""
    walls, peak = {name: [] for name in contenders}, 0
    output = "/dev/shm/bench-memory-output"
    for _ in range(rounds):
        for name, command in contenders.items():
            took = timed(to_file(command, output), statuses=(0, 3))
            walls[name].append(took.wall)
            if name == next(iter(contenders)):
                peak = max(peak, took.peak / 2**20)
    pathlib.Path(output).unlink()
    found = {name: median(values) for name, values in walls.items()}
    say("memory: " + ", ".join(f"{name} {value:.3f} s" for name, value in found.items()))
    return found, peak


def to_file(command, path):
    """Not to us, who would count what is read as a part of the peak; nor to /dev/null, where grep stops at the first."""
    return ["sh", "-c", 'output=$1; shift; exec "$@" >"$output" 2>&1', "sh", path, *command]


# --- the memory --------------------------------------------------------------------------------------

def make_checkpoint(scratch):
    """A directory of images, an archive with the same, and the pages file of its process 1."""
    whole = scratch / "whole"
    with tarfile.open(ARCHIVE) as tar:
        tar.extractall(whole)
    directory = whole / "checkpoint"
    size = MEBIBYTES << 20
    mm = decode(directory / "mm-1.img")
    area = dict(mm["entries"][0]["vmas"][0], start=START, end=START + size, pgoff=0, shmid=0, prot=3, flags=0x22,
                status=513, fd=-1)
    mm["entries"][0]["vmas"] = sorted([*mm["entries"][0]["vmas"], area], key=lambda vma: vma["start"])
    encode(mm, directory / "mm-1.img")
    pagemap = decode(directory / "pagemap-1.img")
    head, *runs = pagemap["entries"]
    for each in runs:  # as before CRIU 4.2: checkpointctl passes over the newer field
        each["compat_nr_pages"] = each.pop("nr_pages")
    below = [run for run in runs if run["vaddr"] < START]
    run_made = {"vaddr": START, "compat_nr_pages": size // 4096, "flags": 4}
    pagemap["entries"] = [head, *below, run_made, *runs[len(below):]]
    encode(pagemap, directory / "pagemap-1.img")
    pages = directory / f"pages-{head['pages_id']}.img"
    old = pages.read_bytes()
    cut = 4096 * sum(run["compat_nr_pages"] for run in below)
    with pages.open("wb") as file:
        file.write(old[:cut])
        for piece in make_memory(size >> 20):
            file.write(piece)
        file.write(old[cut:])
    archive = scratch / "whole.tar"
    with tarfile.open(archive, "w") as tar:
        for path in sorted(whole.iterdir()):
            tar.add(path, path.name)
    return directory, archive, pages


def decode(image):
    return json.loads(run([CPREWIND, "decode", image]))


def encode(document, image):
    made = image.with_suffix(".json")
    made.write_text(json.dumps(document))
    run([CPREWIND, "encode", made, "-o", image])
    made.unlink()


def make_memory(mebibytes):
    """Pieces of 1 MiB, repeatable. One needle of each kind in every second piece."""
    chance = random.Random(3)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 12))) for _ in range(5000)]
    for number in range(mebibytes):
        kind = number % 4
        if kind == 0:
            piece = bytearray(chance.randbytes(1 << 20))
        elif kind == 1:
            piece = bytearray("\n".join(" ".join(chance.choices(words, k=12)) for _ in range(13000)).encode()[:1 << 20])
            piece.extend(bytes((1 << 20) - len(piece)))
        elif kind == 2:
            base = chance.randrange(1 << 40, 1 << 46)
            piece = bytearray(struct.pack(f"<{1 << 17}Q", *(base + 16 * chance.randrange(1 << 20) for _ in range(1 << 17))))
        else:
            piece = bytearray(1 << 20)
            for page in range(0, 1 << 20, 4096):
                struct.pack_into("<QQ", piece, page, chance.randrange(1 << 64), page)
        if number % 2:
            place = chance.randrange((1 << 20) - 100)
            needle = f"{LITERAL}-{number:06} user-{number:06}@example.org".encode()
            piece[place:place + len(needle)] = needle
        yield bytes(piece)
