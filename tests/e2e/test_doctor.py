"""`doctor CONTAINER` predicts what CRIU then says, and `snap` does not even freeze where it is certain."""

import pathlib
import subprocess
import time

import pytest

from programs import COUNTER
from support import Untouched, docker, run, wait_until

HEAD = """
import ctypes, mmap, os, socket, struct, time
libc = ctypes.CDLL(None, use_errno=True)
"""
TAIL = "\nprint('ready', flush=True)\nwhile True: time.sleep(1000)\n"


def program(text):
    return ["python3", "-uc", HEAD + text + TAIL]


def ready(made):
    wait_until(made.log_lines, "it is ready")
    return made


def findings(repo, made, status=3):
    document = repo("doctor", made, "--json", status=status).json
    assert document["container"] == made.name
    return document


# This host denies CAP_SYS_RESOURCE to the labs, which is no finding for root's processes.
def test_an_ordinary_container_has_no_findings(repo, container):
    counter = container(COUNTER, image="busybox")
    counter.wait_for_tick(1)
    document = findings(repo, counter, status=0)
    assert document["can_snap"] and document["can_rewind"] and document["findings"] == []
    assert "nothing stands against" in repo("doctor", counter).out


CERTAIN = {
    "io_uring": ("fd = libc.syscall(425, 8, ctypes.create_string_buffer(120))\nassert fd >= 0", ["--security-opt", "seccomp=unconfined"]),
    "userfaultfd": ("fd = libc.syscall(323, 0x80001)\nassert fd >= 0", ["--security-opt", "seccomp=unconfined"]),
    "nested namespace": ("libc.unshare(0x20000000)\nif os.fork() == 0: time.sleep(9999)", ["--privileged"]),
}


@pytest.mark.parametrize("what", CERTAIN)
def test_what_criu_certainly_refuses_is_refused_before_the_container_is_touched(repo, container, what):
    text, options = CERTAIN[what]
    made = ready(container(program(text), *options))
    document = findings(repo, made)
    assert not document["can_snap"]
    finding = next(f for f in document["findings"] if f["what"] == what)
    assert finding["effect"] == "snap-fails" and finding["pid"] and finding["remedy"]
    with Untouched(made):
        refused = repo("snap", made, status=1)
    assert "cannot be dumped" in refused.err and "cprewind doctor" in refused.err


PREDICTED = {
    "large deleted file": ("f = os.open('/var/tmp', os.O_TMPFILE | os.O_RDWR)\nos.write(f, b'x' * (2 << 20))", []),
    "deleted file with another name": ("f = open('/a', 'w')\nos.link('/a', '/b')\nos.unlink('/a')", []),
    "socket of an unsupported kind": ("s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)", ["--security-opt", "seccomp=unconfined"]),
    "Multipath TCP": ("s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)\ns.bind(('127.0.0.1', 0))\ns.listen()", []),
    "UDP packet half built": ("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.connect(('127.0.0.1', 9))\n"
                              "s.setsockopt(17, 1, 1)\ns.send(b'half')", []),
    "connections waiting to be accepted": ("s = socket.create_server(('127.0.0.1', 0))\na = socket.create_connection(s.getsockname())", []),
    "unix socket to the outside": ("a = socket.socket(socket.AF_UNIX)\na.connect('/outside.sock')", ["-v", "/run/docker.sock:/outside.sock"]),
    "shared System V memory": ("i = libc.shmget(0x77, 4096, 0o1600)\nlibc.shmat.restype = ctypes.c_void_p\nlibc.shmat(i, None, 0)",
                               ["--ipc", "host"]),
    "inotify": ("os.makedirs('/app')\nfd = libc.inotify_init()\nlibc.inotify_add_watch(fd, b'/app', 0xfff)", []),
    "device": ("f = open('/dev/fuse', 'rb', 0)", ["--privileged"]),
}


@pytest.mark.parametrize("what", PREDICTED)
def test_a_prediction_comes_true(repo, container, what):
    text, options = PREDICTED[what]
    made = ready(container(program(text), *options))
    document = findings(repo, made)
    assert [f["what"] for f in document["findings"] if f["effect"] == "snap-fails"] == [what], document
    assert not document["can_snap"]
    assert "CRIU cannot dump" in repo("snap", made, status=1).err
    assert made.state == "running"


def test_a_watch_where_criu_looks_by_itself_is_no_finding_and_elsewhere_the_remedy_works(repo, container):
    made = ready(container(program("fd = libc.inotify_init()\nlibc.inotify_add_watch(fd, b'/etc/passwd', 0xfff)")))
    findings(repo, made, status=0)
    made = ready(container(program("os.makedirs('/app')\nfd = libc.inotify_init()\nlibc.inotify_add_watch(fd, b'/app', 0xfff)")))
    [finding] = findings(repo, made)["findings"]
    assert "watches /app" in finding["found"] and "irmap-scan-path /app" in finding["remedy"]
    config = pathlib.Path("/etc/criu/runc.conf")
    config.parent.mkdir(exist_ok=True)
    config.write_text("irmap-scan-path /app\n")
    try:
        repo.snap(made)
        repo.rewind(made, f"{made}@1")
        assert made.state == "running"
    finally:
        config.unlink()


def test_a_debugger_is_named_and_a_snap_refused_untouched(repo, container):
    made = ready(container(program("")))
    tracer = subprocess.Popen(["gdb", "--batch", "-p", str(made.pid), "-ex", "shell sleep 60"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: "debugger" in repo("doctor", made, status=None).out, "gdb is attached")
        with Untouched(made):
            assert "traced by" in repo("snap", made, status=1).err
    finally:
        tracer.kill()
        tracer.wait()
    wait_until(lambda: repo("doctor", made, status=None).status == 0, "gdb is gone")
    repo.snap(made)


def test_a_process_that_hangs_in_the_kernel_is_told_and_one_that_only_passes_through_is_not(repo, container):
    # A parent waits for its vfork in state D. The first never gets past it; the second has a new one each time.
    # The child of a vfork shares the memory of its parent, so it goes on in this very program.
    hanging = ready(container(program("import ctypes\nif ctypes.CDLL(None).vfork() == 0: print(1)")))
    passing = ready(container(program("import subprocess\nprint(1)\nwhile True: subprocess.run(['true'])")))
    wait_until(lambda: "disk sleep" in pathlib.Path(f"/proc/{hanging.pid}/status").read_text(), "the parent waits")
    document = findings(repo, hanging)
    assert [f["what"] for f in document["findings"]] == ["hangs in the kernel"]
    assert document["findings"][0]["pid"] == hanging.pid
    for _ in range(20):
        assert findings(repo, passing, status=0)["findings"] == []


def test_what_is_lost_by_a_rewind_is_told_and_prevents_nothing(repo, container):
    server = container(["python3", "-uc", "import socket, time\ns = socket.create_server(('', 5555))\nprint(1)\nc = s.accept()\ntime.sleep(999)"])
    ready(server)
    made = ready(container(program(f"a = socket.create_connection(('{server.address}', 5555))")))
    run(["docker", "exec", "--detach", made.id, "sleep", "1000"])
    wait_until(lambda: "sleep" in made.exec("sh", "-c", "cat /proc/[0-9]*/comm"), "the exec runs")
    document = findings(repo, made)
    assert {f["what"] for f in document["findings"]} == {"TCP connection to the outside", "docker exec"}
    assert document["can_snap"] and document["can_rewind"]
    repo.snap(made)


def test_a_container_of_another_runtime_or_with_rm_cannot_be_rewound_in_place(repo, container):
    counter = container(COUNTER, "--rm", image="busybox", runtime="runc")
    counter.wait_for_tick(1)
    document = findings(repo, counter)
    assert {f["what"] for f in document["findings"]} == {"--rm", "runtime"}
    assert document["can_snap"] and not document["can_rewind"]


def test_a_stopped_container_is_told_so(repo, container):
    counter = container(COUNTER, image="busybox")
    docker("kill", counter.id)
    wait_until(lambda: counter.state == "exited", "it has ended")
    assert [f["what"] for f in findings(repo, counter)["findings"]] == ["not running"]


def test_doctor_changes_nothing(repo, container):
    made = ready(container(program("")))
    with Untouched(made):
        for _ in range(3):
            findings(repo, made, status=0)
            time.sleep(0.1)
