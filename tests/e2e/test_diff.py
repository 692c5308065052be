"""diff, track and bisect on programs that change a known thing between two snapshots."""

import pytest

from programs import CHANGER, CHANGER_AREA, COUNTER
from support import assert_refused, docker, run, wait_until

PAGE = 4096


class Changer:
    def __init__(self, repo, container):
        self.repo = repo
        # Without rseq, by which the kernel notes the current processor in the memory of each thread.
        quiet = "GLIBC_TUNABLES=glibc.pthread.rseq=0"
        self.container = container(CHANGER, "--env", "COLOUR=red", "--env", quiet)
        self.steps = 1
        self.wait()

    def wait(self):
        wait_until(lambda: len(self.container.log_lines()) >= self.steps, f"step {self.steps}", 30)

    def step(self, count=1):
        for _ in range(count):
            self.container.exec("sh", "-c", "printf x >/go")
            self.steps += 1
            self.wait()

    def snap(self):
        return self.repo.snap(self.container)["name"]

    def diff(self, a, b, *words):
        return self.repo("diff", a, b, "--json", *words, status=None).json


@pytest.fixture
def changer(repo, container):
    return Changer(repo, container)


def memory_of(diff, pid=1):
    return next(p for p in diff["memory"]["processes"] if p["pid"] == pid)


def apart_from_the_stack(process):
    return [m for m in process["by_mapping"] if m["kind"] != "stack"]


def only(pages, **expected):
    zero = {"equal": pages["equal"], "changed": 0, "new": 0, "gone": 0, "zeroed": 0, "unknown": 0}
    return pages == {**zero, **expected}


def test_twice_the_same_snapshot_is_empty(changer):
    name = changer.snap()
    result = changer.repo("diff", name, name)
    assert "pages: 0 changed, 0 new, 0 gone, 0 zeroed" in result.out
    assert changer.repo("diff", name, name, "--json").json["same"] is True


def test_each_known_change_is_told_as_just_that(changer):
    names = [changer.snap()]
    for _ in range(10):
        changer.step()
        names.append(changer.snap())

    def diff(step, *words):
        return changer.diff(names[step - 1], names[step], *words)

    one_byte = diff(1, "--bytes", "--pages")
    (mapping,) = apart_from_the_stack(memory_of(one_byte))
    assert only(mapping["pages"], changed=1)
    ranges = [r for r in one_byte["memory"]["byte_ranges"] if int(r["start"], 16) < 0x7F0000000000]
    assert [(r["start"], r["end"], r["before"], r["after"]) for r in ranges] == [
        (hex(CHANGER_AREA + 5 * PAGE + 7), hex(CHANGER_AREA + 5 * PAGE + 8), "66", "21")]
    pages = [r for r in one_byte["memory"]["page_ranges"] if int(r["start"], 16) < 0x7F0000000000]
    assert [(r["start"], r["end"], r["fate"]) for r in pages] == [
        (hex(CHANGER_AREA + 5 * PAGE), hex(CHANGER_AREA + 6 * PAGE), "changed")]

    assert only(apart_from_the_stack(memory_of(diff(2, "mem")))[0]["pages"], changed=1)
    assert only(apart_from_the_stack(memory_of(diff(3, "mem")))[0]["pages"], zeroed=1)

    opened = diff(4)
    assert [(c["fate"], c["fd"], c["target"]) for c in opened["fds"]["changes"]] == [("opened", 4, "/etc/hostname")]
    assert apart_from_the_stack(memory_of(opened)) == []

    protected = memory_of(diff(5, "mem"))
    (change,) = protected["mappings"]
    assert (change["fate"], change["protection_before"], change["protection_after"]) == ("protection", "rw-p", "r--p")
    assert change["after"] == {"start": hex(CHANGER_AREA + 20 * PAGE), "end": hex(CHANGER_AREA + 21 * PAGE)}
    assert apart_from_the_stack(protected) == []

    moved = memory_of(diff(6, "mem"))
    assert [(c["fate"], c["before"]["start"], c["after"]["start"]) for c in moved["mappings"]] == [
        ("moved", "0x201000000000", "0x202000000000")]
    assert apart_from_the_stack(moved) == []

    unmapped = memory_of(diff(7, "mem"))
    assert [c["fate"] for c in unmapped["mappings"]] == ["shrunk"]
    assert only(apart_from_the_stack(unmapped)[0]["pages"], gone=4)

    strings = diff(8, "--strings")["memory"]["strings"]
    assert "a needle in a page" in [s["text"].rstrip("c") for owner in strings for s in owner["appeared"]]

    forked = diff(9)
    (child,) = forked["processes"]["changes"]
    assert child["fate"] == "added"

    execed = diff(10, "ps")
    change = next(c for c in execed["processes"]["changes"] if c["pid"] == 1)
    fields = {c["field"]: (c["before"], c["after"]) for c in change["changes"]}
    assert change["fate"] == "exec"
    assert fields["env COLOUR"] == ("red", "green")
    assert fields["arguments"] == ("/changer", "/changer again")

    # The same things along the timeline.
    tracked = changer.repo("track", changer.container, "--search", "a needle in a page", "--json").json
    assert tracked["first"] == names[8]
    assert changer.repo("track", changer.container, "--env", "COLOUR", "--changes", "--json").json["snapshots"][-1][
        "snapshot"] == names[10]
    fds = changer.repo("track", changer.container, "--fds", "--pid", "1", "--json").json["snapshots"]
    assert [s["snapshot"] for s in fds if s["changed"]][:1] == [names[4]]
    span = f"{hex(CHANGER_AREA + 9 * PAGE)}-{hex(CHANGER_AREA + 10 * PAGE)}"
    ranged = changer.repo("track", changer.container, "--range", span, "--pid", "1", "--json").json["snapshots"]
    assert [s["snapshot"] for s in ranged if s["changed"]][:1] == [names[2]]


def test_a_thread_that_does_nothing_is_told_to_stand_still(changer):
    first, second = changer.snap(), changer.snap()
    changer.step()
    third = changer.snap()
    (still,) = changer.diff(first, second, "threads")["threads"]["still"]
    assert still["tid"] == 1 and "libc.so.6+0x" in still["where"]
    (stack,) = changer.diff(first, second, "threads", "--stacks")["threads"]["stacks"]
    assert [(t["pid"], t["tid"]) for t in stack["threads"]] == [(1, 1)]
    assert "libc.so.6" in stack["frames"][0]["object"]
    assert "main" in [frame["function"] for frame in stack["frames"]]
    assert " main+0x" in changer.repo("diff", first, second, "--stacks").out
    moved = changer.diff(second, third, "threads")["threads"]
    assert (moved["still"], moved["moved"]) == ([], 1)
    assert changer.diff(second, third, "--stacks")["threads"]["stacks"] == []
    assert_refused(changer.repo("diff", second, third, "mem", "--stacks", status=2), "threads")


def test_files_are_told_by_what_was_done_to_them(changer):
    inside = changer.container
    inside.exec("sh", "-c", "seq 1 20 >/text; head -c 65536 /dev/urandom >/data; echo x >/moved; echo y >/first; "
                            "echo z >/mode; head -c 1048576 /dev/zero >/holes; echo gone >/gone")
    before = changer.snap()
    inside.exec("sh", "-c", "sed -i s/^7$/seven/ /text; printf AAAA | dd of=/data bs=1 seek=1000 conv=notrunc 2>/dev/null; "
                            "mv /moved /renamed; ln /first /second; chmod 4711 /mode; fallocate --dig-holes /holes; "
                            "rm /gone; echo new >/new")
    after = changer.snap()
    diff = changer.diff(before, after, "files")["files"]
    changes = {c["path"]: c for c in diff["changes"] if not c["path"] == "/"}
    assert sorted(changes) == ["/data", "/gone", "/holes", "/mode", "/new", "/renamed", "/second", "/text"]
    assert (changes["/renamed"]["fate"], changes["/renamed"]["renamed_from"]) == ("renamed", "/moved")
    assert (changes["/second"]["fate"], changes["/second"]["hard_link_to"]) == ("added", "/first")
    assert changes["/mode"]["metadata_changes"] == ["mode 0644 -> 4711"] and not changes["/mode"]["content"]
    assert changes["/holes"]["holes"] and not changes["/holes"]["content"]
    assert changes["/gone"]["fate"] == "removed" and changes["/new"]["fate"] == "added"
    lines = changes["/text"]["contents"]["hunks"][0]["lines"]
    assert "-7" in lines and "+seven" in lines
    (span,) = changes["/data"]["contents"]["byte_ranges"]
    assert 1000 <= span["start"] < span["end"] <= 1004
    text = changer.repo("diff", before, after, "files", status=1).out
    assert "@@ -4,7 +4,7 @@" in text and "/moved -> /renamed" in text


def test_now_is_a_side_and_leaves_nothing_behind(changer):
    name = changer.snap()
    changer.step()
    diff = changer.repo("diff", name, f"{changer.container}@now", "--json", status=1).json
    assert only(apart_from_the_stack(memory_of(diff))[0]["pages"], changed=1)
    assert changer.repo.names() == [name]
    assert changer.container.state == "running"
    changer.step()
    assert_refused(changer.repo("diff", name, "nobody@now", status=2), "nobody")


def test_bisect_finds_the_first_bad_one(repo, container):
    counter = container(COUNTER)
    counter.wait_for_tick(1)
    for number in range(8):
        if number == 5:
            counter.exec("sh", "-c", "echo debug=yes >/conf")
        repo.snap(counter)
    command = ["sh", "-c", 'test ! -e "$CPREWIND_ANSWERS/files/conf" && test -s "$CPREWIND_ANSWERS/ps.json"']
    found = repo("bisect", f"{counter}@1", f"{counter}@8", "--json", "--", *command).json
    assert (found["first_bad"], found["last_good"], found["exact"]) == (f"{counter}@6", f"{counter}@5", True)
    assert len(found["steps"]) <= 5
    skipping = ["sh", "-c", f'case $CPREWIND_SNAPSHOT in *@6) exit 125;; esac; {command[2]}']
    found = repo("bisect", f"{counter}@1", f"{counter}@8", "--json", "--", *skipping).json
    assert (found["first_bad"], found["exact"]) == (f"{counter}@7", False)
    assert "@8 good, not bad" in repo("bisect", f"{counter}@1", f"{counter}@8", "--", "true", status=1).err
    assert_refused(repo("bisect", f"{counter}@8", f"{counter}@1", "--", "true", status=2), "not before")
    assert_refused(repo("bisect", f"{counter}@1", f"{counter}@8", status=2), "--")


@pytest.fixture
def turning(repo, container):
    """Six snapshots, of which the fourth is the first with a file."""
    counter = container(COUNTER)
    counter.wait_for_tick(1)
    for number in range(6):
        if number == 3:
            counter.exec("sh", "-c", "echo debug=yes >/conf")
        repo.snap(counter)
    return counter


def trials():
    return docker("ps", "--all", "--quiet", "--filter", "name=cprewind-bisect-").split()


def test_bisect_asks_forks_which_are_gone_afterwards(repo, turning):
    command = ["sh", "-c", 'docker exec "$CPREWIND_FORK" true || exit 200; docker exec "$CPREWIND_FORK" test ! -e /conf']
    found = repo("bisect", f"{turning}@1", f"{turning}@6", "--fork", "--json", "--", *command).json
    assert (found["first_bad"], found["last_good"]) == (f"{turning}@4", f"{turning}@3")
    assert trials() == []
    assert turning.state == "running"
    odd = repo("bisect", f"{turning}@1", f"{turning}@6", "--fork", "--", "sh", "-c", "exit 200", status=1)
    assert "ended for" in odd.err and trials() == []


def test_a_fork_of_a_bisect_that_is_killed_goes_too(repo, turning):
    asking = repo.start("bisect", f"{turning}@1", f"{turning}@6", "--fork", "--", "sleep", "5")
    wait_until(trials, "it makes a container", 60)
    asking.kill()
    asking.wait()
    wait_until(lambda: not trials(), "the container goes", 60)


def test_the_graph_shows_the_branch_that_a_rewind_made(repo, container):
    counter = container(COUNTER)
    counter.wait_for_tick(1)
    repo.snap(counter)
    repo.snap(counter)
    repo.rewind(counter, f"{counter}@1", "--no-safety")
    repo.snap(counter)
    lines = repo("log", counter, "--graph").out.splitlines()
    assert [line[:5].rstrip() for line in lines][1:] == [f"| * {counter}"[:5].rstrip(), "|/", f"* {counter}"[:5].rstrip()]
    assert lines[0].startswith(f"* {counter}@3") and "<- now" in lines[0]
