"""Memory dumped, shown and searched: against grep over the raw pages, and with planted secrets."""

import pathlib
import subprocess

import pytest

from support import assert_refused, run, wait_until

FIXTURES = pathlib.Path(__file__).parents[2] / "fixtures"
KITCHEN = FIXTURES / "kitchen"
ARCHIVES = FIXTURES / "archives"

# The secrets are put together at run time, so that no copy of them lies in the source text or on a page of constants.
PLANTED = ["python3", "-uc", """
import ctypes, mmap, os, time
libc = ctypes.CDLL(None)
own = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
def plant(memory, place, parts):
    for part in parts:
        memory[place:place + len(part)] = part
        place += len(part)
plant(own, 5 * 4096 - 4, [b"PLAN", b"TED-", b"own"])
plant(own, 9 * 4096, [b"W\\0I\\0", b"D\\0E\\0-\\0", b"o\\0n\\0e\\0"])
plant(own, 12 * 4096, [bytes([0xde, 0xad]), bytes([0x07]), bytes([0xbe, 0xef])])
shared = mmap.mmap(-1, 1 << 16, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
plant(shared, 100, [b"SHAR", b"ED-", b"one"])
if os.fork() == 0:
    time.sleep(1000)
print("ready")
time.sleep(1000)
"""]


def grep_count(expression, directory):
    """Matches in all pages files, by grep."""
    total = 0
    for pages in sorted(directory.glob("pages-*.img")):
        done = subprocess.run(["grep", "-aboPe", expression, pages], capture_output=True, env={"LC_ALL": "C"}, check=False)
        total += len([line for line in done.stdout.split(b"\n") if line[:1].isdigit()])
    return total


@pytest.mark.parametrize("expression", ["page [0-9]+ of the pattern", "PATH=", "GLIBC_[0-9.]+", "[a-z]{5,9}\\.so"])
def test_search_finds_what_grep_finds_in_the_raw_pages(repo, expression):
    for directory in (KITCHEN, FIXTURES / "kitchen-later", FIXTURES / "counter"):
        hits = repo("mem", directory, "search", "--regex", expression, "--json").json["hits"]
        assert len(hits) == grep_count(expression, directory), directory


def test_directory_archive_and_snapshot_give_the_same_answers(repo, directory):
    run(["tar", "-C", directory, "-xf", ARCHIVES / "podman.tar"])
    repo("import", ARCHIVES / "podman.tar", status=None)
    name = repo.names()[0]
    for words in (["search", "--regex", "[A-Z]+=[^\\x00]*"], ["strings", "--encoding", "all", "--min", "6"],
                  ["hexdump", "--vma", "stack"]):
        answers = [repo("mem", place, *words, "--json", status=None).json
                   for place in (directory / "checkpoint", ARCHIVES / "podman.tar", ARCHIVES / "podman.tar.gz",
                                 ARCHIVES / "podman.tar.zst", name)]
        for answer in answers:
            del answer["subject"], answer["findings"]
        assert answers[0].get("hits") or answers[0].get("strings") or answers[0].get("parts")
        assert answers[0] == answers[1] == answers[4], words


def test_planted_secrets_are_found_where_they_are(repo, container):
    made = container(PLANTED)
    wait_until(lambda: "ready" in made.log_lines(), "the program is ready")
    repo.snap(made)
    answer = repo("mem", f"{made}@1", "search", "PLANTED-own", "SHARED-one", "--utf-16", "--text", "WIDE-one",
                  "--hex", "de ad ?? be ef", "--json").json
    by_pattern = {}
    for hit in answer["hits"]:
        by_pattern.setdefault(hit["pattern"], []).append(hit)
    own, shared, wide, raw = (by_pattern[i] for i in range(4))
    # The child has its own copy of private memory.
    assert {hit["pid"] for hit in own} == {1, own[-1]["pid"]} and len(own) == 2
    assert all(int(hit["address"], 16) % 4096 == 4092 and hit["protection"] == "rw-p" for hit in own)
    (one,) = shared
    assert one["protection"] == "rw-s" and [place["pid"] for place in one["also"]] == [own[-1]["pid"]]
    assert len(wide) == 2 and all(hit["bytes"] == 16 for hit in wide)
    assert len(raw) == 2
    assert [item["hits"] for item in answer["patterns"]] == [2, 1, 2, 2]
    # The bytes themselves.
    address = own[0]["address"]
    part = repo("mem", f"{made}@1", "hexdump", address, "11", "--pid", 1, "--json").json["parts"]
    assert bytes.fromhex("".join(p["hex"] for p in part)) == b"PLANTED-own"
    assert "PLANTED-own" in repo("mem", f"{made}@1", "strings", "--pid", 1, "--vma", address).out


def test_a_dump_is_the_memory_and_says_what_is_not_there(repo, directory):
    whole = directory / "all.bin"
    answer = repo("mem", KITCHEN, "dump", "--pid", 1, "--output", whole, "--json").json
    assert whole.stat().st_size == answer["size"]
    assert whole.stat().st_blocks * 512 < answer["size"]
    content = whole.read_bytes()
    (part,) = [p for p in answer["parts"] if p["address"] == "0x200000000000"]
    for number in range(16):
        place = part["file_offset"] + number * 4096
        assert content[place:].startswith(f"page {number} of the pattern".encode() + b"\0")
    assert {p["state"] for p in answer["parts"]} >= {"present", "zero", "from file"}
    result = repo("mem", KITCHEN, "dump", "--pid", 1, "--output", directory / "again.bin", "--only-dumped", "--raw")
    assert (directory / "again.bin").stat().st_size < answer["size"] and "from file" not in result.out
    assert_refused(repo("mem", KITCHEN, "dump", "--pid", 1, "--output", whole, status=1), "all.bin")


def test_what_cannot_be_asked_is_refused_with_the_next_step(repo):
    assert_refused(repo("mem", KITCHEN, "search", "--regex", "a(b", status=2), "index 1")
    assert_refused(repo("mem", KITCHEN, "search", "--hex", "de zz", status=2), "position 4")
    assert_refused(repo("mem", KITCHEN, "serch", "x", status=2), "search")
    assert_refused(repo("mem", KITCHEN, "strings", "--hex", "00", status=2), "search")
    assert_refused(repo("mem", KITCHEN, "strings", "--pid", 99, status=1), "processes are")
    assert_refused(repo("mem", KITCHEN, "strings", "--kind", "haep", status=2), "heap")
    assert_refused(repo("mem", KITCHEN, "hexdump", "1000", status=2), "--pid")


def test_patterns_come_from_a_file(repo, directory):
    (directory / "patterns").write_text("# a comment\n\npage 3 of\nhex:66 69 72 73 74 20 73 ??\nregex:in the mem[a-z]+\n")
    answer = repo("mem", KITCHEN, "search", "--patterns", directory / "patterns", "--json").json
    assert [item["kind"] for item in answer["patterns"]] == ["text", "hex", "regex"]
    assert all(item["hits"] >= 1 for item in answer["patterns"])
