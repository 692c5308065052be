"""diff on what programs do to their descriptors, sockets, queues and children; on damaged and on foreign evidence."""

import pathlib
import shutil

import pytest

from programs import COUNTER
from support import assert_refused, docker, run, wait_until

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "fixtures"

# Does one thing to its descriptors for each byte in its FIFO.
HANDLER = ["python3", "-uc", """
import os, socket
os.mkfifo("/go")
go = os.open("/go", os.O_RDWR)
for number in range(10): os.dup(go)  # so that what comes next has numbers of its own
read, write = os.pipe()
left, right = socket.socketpair()
passwd = os.open("/etc/passwd", os.O_RDONLY)
server = socket.socket()
server.bind(("127.0.0.1", 8080))
print("numbers", read, right.fileno(), passwd, server.fileno(), flush=True)
def step(what):
    os.read(go, 1)
    what()
    print("x", flush=True)
step(lambda: os.write(write, b"hello"))
step(lambda: left.send(b"a message"))
step(lambda: os.lseek(passwd, 10, 0))
step(lambda: server.listen(5))
step(lambda: os.close(passwd))
os.read(go, 1)
"""]

# A child of number 50, which ends and is followed by another of that number.
HEIRS = ["sh", "-c", r"""cat >/heirs.c <<'C'
#define _GNU_SOURCE
#include <linux/sched.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
static int go;
static void start(void) {
    pid_t wanted = 50;
    struct clone_args args = {.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&wanted, .set_tid_size = 1};
    char byte;
    if (syscall(SYS_clone3, &args, sizeof args) == 0) for (;;) read(open("/never", O_RDWR), &byte, 1);
}
int main(void) {
    char byte;
    mkfifo("/go", 0600);
    mkfifo("/never", 0600);
    go = open("/go", O_RDWR);
    start();
    usleep(200000);
    write(1, "x\n", 2);
    read(go, &byte, 1);
    kill(50, SIGKILL);
    waitpid(50, 0, 0);
    start();
    usleep(200000);
    write(1, "x\n", 2);
    read(go, &byte, 1);
}
C
gcc -O1 -Wl,-z,now -o /heirs /heirs.c && exec /heirs"""]


def step(container, count):
    container.exec("sh", "-c", "printf x >/go")
    wait_until(lambda: len(container.log_lines()) > count, f"step {count}", 30)


def test_each_change_of_a_descriptor_is_told_as_just_that(repo, container):
    handler = container(HANDLER)
    wait_until(handler.log_lines, "the program is ready", 30)
    read, right, passwd, server = map(int, handler.log_lines()[0].split()[1:])
    names = [repo.snap(handler)["name"]]
    for number in range(1, 6):
        step(handler, number)
        names.append(repo.snap(handler)["name"])

    def changes(number, *words):
        diff = repo("diff", names[number - 1], names[number], "fds", "--json", *words, status=1).json["fds"]
        return [(c["fate"], c["fd"], [(f["field"], f["before"], f["after"]) for f in c["changes"]])
                for c in diff["changes"]]

    assert changes(1) == [("changed", read, [("queue", "", '5 bytes "hello"')])]
    assert changes(2) == [("changed", right, [("queue", "", '9 bytes "a message"')])]
    assert changes(3) == [("changed", passwd, [("position", "0", "10")])]
    ((fate, fd, [(field, before, after)]),) = changes(4)
    assert (fate, fd, field) == ("changed", server, "target")
    assert "127.0.0.1:8080" in before and "LISTEN" not in before and after.endswith("LISTEN")
    assert changes(5) == [("closed", passwd, [])]

    # What did not change is shown when asked for.
    answer = repo("diff", names[3], names[4], "--unchanged", "--json", status=1).json
    targets = [f["target"] for f in answer["fds"]["same"]]
    assert "/etc/passwd" in targets and len(targets) == answer["fds"]["unchanged"]
    (same,) = answer["processes"]["same"]
    assert same["arguments"][0] == "python3" and any(v.startswith("PATH=") for v in same["environment"])
    text = repo("diff", names[3], names[4], "ps", "--unchanged", status=None).out
    assert "same    1 python3: python3 -uc" in text and "PATH=" in text
    assert repo("diff", names[3], names[4], "--stat", status=1).out.count("\n") <= 8
    assert repo("diff", names[3], names[3], "fds", "--json").json["fds"]["changes"] == []


def test_a_child_that_took_over_a_pid_is_another_process(repo, container):
    heirs = container(HEIRS, "--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined")
    wait_until(heirs.log_lines, "the first child", 30)
    before = repo.snap(heirs)["name"]
    again = repo.snap(heirs)["name"]
    step(heirs, 1)
    after = repo.snap(heirs)["name"]
    assert repo("diff", before, again, "ps", "--json").json["processes"]["changes"] == []
    diff = repo("diff", before, after, "--json", status=1).json
    assert [(c["fate"], c["pid"]) for c in diff["processes"]["changes"]] == [("gone", 50), ("added", 50)]
    assert diff["processes"]["unchanged"] == 1 and diff["fds"]["changes"] == []
    with_them = {(c["pid"], c["fate"]) for c in diff["fds"]["with_processes"]}
    assert with_them == {(50, "opened"), (50, "closed")}
    assert [p["only_in"] for p in diff["memory"]["processes"] if p["pid"] == 50] == ["a", "b"]
    # With the present it is the same, and after a rewind, which gives everybody a new start time, nobody is new.
    now = repo("diff", before, f"{heirs}@now", "ps", "--json", status=1).json["processes"]["changes"]
    assert [(c["fate"], c["pid"]) for c in now] == [("gone", 50), ("added", 50)]
    repo.rewind(heirs, after, "--no-safety")
    restored = repo.snap(heirs)["name"]
    diff = repo("diff", after, restored, "--json", status=None).json
    # CRIU rounds that one; and pipes have other numbers now, but are no others.
    assert {f["field"] for c in diff["processes"]["changes"] for f in c["changes"]} <= {"oom_score_adj"}
    assert {c["fate"] for c in diff["processes"]["changes"]} <= {"changed"} and diff["fds"]["changes"] == []


@pytest.fixture
def kitchen(directory):
    copy = directory / "kitchen"
    shutil.copytree(FIXTURES / "kitchen", copy)
    return copy


def test_a_damaged_side_is_told_and_the_rest_is_compared(repo, kitchen):
    image = kitchen / "fdinfo-2.img"
    image.write_bytes(image.read_bytes()[:30])
    result = repo("diff", f"{FIXTURES}/kitchen", kitchen, "--json", status=1).json
    assert any(f["file"] == "fdinfo-2.img" for f in result["findings"])
    assert {c["fate"] for c in result["fds"]["changes"]} == {"closed"}
    assert result["memory"]["pages"]["changed"] == 0 and result["memory"]["pages"]["equal"] > 30
    assert result["processes"]["changes"] == []


def test_memory_of_another_architecture_is_not_compared_and_the_rest_is(repo, kitchen, directory):
    for core in kitchen.glob("core-*.img"):
        json_file = directory / "core.json"
        json_file.write_text(repo("decode", core).out.replace('"X86_64"', '"AARCH64"'))
        repo("encode", json_file, "-o", core)
    result = repo("diff", f"{FIXTURES}/kitchen", kitchen, "--json", status=None)
    assert result.status in (1, 3)
    assert result.json["memory"] is None and result.json["fds"]["changes"] == []
    assert any("memory is not compared: one is of x86_64, the other of aarch64" in f["message"]
               for f in result.json["findings"])


def test_the_page_needs_nothing_but_itself(repo, directory):
    page = directory / "diff.html"
    repo("diff", f"{FIXTURES}/kitchen", f"{FIXTURES}/kitchen-later", "--html", page, status=1)
    text = page.read_text()
    assert "page 3 has changed" not in text and "0x200000000000" in text and "/tmp/opened-later" in text
    assert not any(word in text for word in ("http:", "https:", "src=", "@import"))
    assert "there already" in repo("diff", f"{FIXTURES}/kitchen", f"{FIXTURES}/kitchen", "--html", page, status=2).err
    assert "its caller is not known" not in text
    with_stacks = directory / "stacks.html"
    repo("diff", f"{FIXTURES}/kitchen", f"{FIXTURES}/kitchen-later", "--stacks", "--html", with_stacks, status=1)
    assert "its caller is not known: /bin/kitchen is not at hand" in with_stacks.read_text()


@pytest.mark.parametrize("words", [["ps"], ["--bytes"], ["mem", "--pages"], ["--stat"], ["--unchanged"]])
def test_a_page_of_some_parts_only_is_refused(repo, directory, words):
    result = repo("diff", f"{FIXTURES}/kitchen", f"{FIXTURES}/kitchen-later", "--html", directory / "page", *words, status=2)
    assert_refused(result, "does not go with it")
    assert not (directory / "page").exists()


def test_a_snapshot_is_compared_with_directories_and_archives(repo, directory):
    stored = repo("import", FIXTURES / "kitchen", "--json").json["snapshot"]["name"]
    archive = directory / "kitchen.tar"
    run(["tar", "-C", FIXTURES / "kitchen", "-cf", archive, "."])
    for other in (FIXTURES / "kitchen", archive):
        for pair in ((stored, other), (other, stored)):
            answer = repo("diff", *pair, "--json").json
            assert answer["same"] and answer["memory"]["pages"]["equal"] == 68
    changed = repo("diff", stored, FIXTURES / "kitchen-later", "mem", "--json", status=1).json["memory"]["pages"]
    assert changed == repo("diff", archive, FIXTURES / "kitchen-later", "mem", "--json", status=1).json["memory"]["pages"]


def test_a_fork_differs_from_its_origin_in_what_happened_since(repo, container):
    counter = container(COUNTER, image="busybox")
    counter.wait_for_tick(3)
    origin = repo.snap(counter)["name"]
    try:
        repo("fork", origin, "--name", "e2e-parted")
        fork = repo.snap("e2e-parted")["name"]
        answer = repo("diff", origin, fork, "--json", status=1).json
    finally:
        docker("rm", "--force", "e2e-parted", status=None)
    assert [c["fate"] for c in answer["processes"]["changes"] if c["pid"] == 1] == [], "the same process"
    assert answer["files"]["changes"] == []
    assert 0 < answer["memory"]["pages"]["changed"] < answer["memory"]["pages"]["equal"]


def test_a_diff_of_two_containers_that_is_larger_than_a_pipe_comes_whole(repo):
    """checkpointctl refuses two containers, and blocks for good on more than a pipe holds (64 KiB)."""
    text = repo("diff", FIXTURES / "counter", FIXTURES / "kitchen", "mem", "--bytes", status=1).out
    assert len(text) > 4 * 65536
    answer = repo("diff", FIXTURES / "counter", FIXTURES / "kitchen", "--json", status=1).json
    assert answer["same"] is False and answer["sides"][0]["name"] != answer["sides"][1]["name"]
