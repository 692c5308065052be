"""Processes, threads and what flows between them."""

import json

import pytest

from support import docker, wait_until

THREADS = """
import json, threading, time
count = [0] * 50; token = [f"thread {i}" for i in range(50)]
def work(i):
    mine = token[i]  # on this thread's stack
    while True:
        count[i] += 1; time.sleep(0.05)
        if mine != f"thread {i}": print("lost", i, flush=True)
for i in range(50): threading.Thread(target=work, args=(i,)).start()
while True: print(json.dumps(count), flush=True); time.sleep(0.1)
"""

# A zombie that ended with 7, a stopped child, a child in a session of its own, and a grandchild. USR1 reaps the zombie,
# wakes the stopped one, and says so.
FAMILY = """
import os, signal, sys, time
def child(action):
    pid = os.fork()
    if pid == 0:
        try: action()
        finally: os._exit(7)
    return pid
def sleep():
    while True: time.sleep(100)
def stop():
    signal.signal(signal.SIGCONT, lambda *_: print("woken", flush=True))
    os.kill(os.getpid(), signal.SIGSTOP); sleep()
zombie = child(lambda: None)
stopped = child(stop)
leader = child(lambda: (os.setsid(), child(sleep), sleep()))
def act(*_):
    print("reaped", os.waitstatus_to_exitcode(os.waitpid(zombie, 0)[1]), flush=True)
    os.kill(stopped, signal.SIGCONT)
signal.signal(signal.SIGUSR1, act)
os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT); os.waitpid(stopped, os.WUNTRACED)
print("ready", flush=True)
while True: time.sleep(100)
"""

# Bytes in a pipe, a fifo, a stream pair, a datagram pair and a seqpacket pair, a descriptor on its way in a message, and a
# connection that nobody has accepted yet. USR1 takes all out and says what it was.
IN_FLIGHT = """
import array, hashlib, os, signal, socket, time
r, w = os.pipe(); os.write(w, b"pipe" * 5000)
os.mkfifo("/fifo"); fifo = os.open("/fifo", os.O_RDWR); os.write(fifo, b"fifo" * 100)
kinds = [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET]
pairs = [socket.socketpair(socket.AF_UNIX, kind) for kind in kinds]
for a, b in pairs: a.send(b"one"); a.send(b"two and more"); b.send(b"back")
carrier, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
FD
listener = socket.socket(socket.AF_UNIX); listener.bind("/listener"); listener.listen()
named = socket.socket(socket.AF_UNIX); named.bind("\\0abstract"); named.listen()
client = socket.socket(socket.AF_UNIX); client.connect("\\0abstract"); server = named.accept()[0]; client.send(b"hello")
def act(*_):
    said = [os.read(r, 99999), os.read(fifo, 99999)]
    for a, b in pairs: said += [b.recv(99999), a.recv(99999)]
    said += [server.recv(99)]
    TAKE
    print("took", hashlib.sha256(repr(said).encode()).hexdigest(), flush=True)
signal.signal(signal.SIGUSR1, act)
print("ready", flush=True)
while True: time.sleep(100)
"""


@pytest.mark.fast
def test_threads(cell):
    """50 threads"""
    made = cell.run(["python3", "-c", THREADS])

    def counts():
        return json.loads(wait_until(made.log_lines, "counts")[-1])

    wait_until(lambda: min(counts()) > 5, "each thread counts")
    cell.snap(made)
    taken = counts()
    wait_until(lambda: min(counts()) > max(taken) + 10, "each goes on")
    far, lines = counts(), len(made.log_lines())
    cell.rewind(made)

    def went_back():
        rest = [json.loads(line) for line in made.log_lines()[lines - 1:]]
        return next((b for a, b in zip(rest, rest[1:]) if sum(b) < sum(a)), None)

    back = wait_until(went_back, "the counts go back")
    assert len(back) == 50 and all(b < f for b, f in zip(back, far)), "each thread went back"
    wait_until(lambda: all(n > b for n, b in zip(counts(), back)), "and each goes on")
    assert not any("lost" in line for line in made.log_lines())


@pytest.mark.fast
def test_family(cell):
    """a process tree with a zombie, a stopped task and a session of its own"""
    made = cell.run(["python3", "-c", FAMILY])
    wait_until(lambda: made.log_lines() == ["ready"], "the tree stands")
    if cell.freezer_v1():
        if cell.by.name == "docker":
            pytest.fail("`docker checkpoint create` hangs, and leaves the container frozen: CRIU waits in ptrace_attach")
        cell.refused(["snap", made], "is stopped .*cgroup v1", "the freezer of cgroup v1 keeps a stopped process from taking "
                     "note of CRIU, which would wait for ever (`docker checkpoint create` does, and leaves the container "
                     "frozen); without the stopped task the tree works", "let it go on (`kill -CONT`), or use cgroup v2", made)
    cell.snap(made)
    docker("kill", "--signal", "USR1", made.id)
    wait_until(lambda: {"reaped 7", "woken"} <= set(made.log_lines()), "reaped and woken")
    cell.rewind(made)
    docker("kill", "--signal", "USR1", made.id)
    wait_until(lambda: sorted(made.log_lines()) == ["ready", "reaped 7", "reaped 7", "woken", "woken"], "again")


@pytest.mark.fast
def test_in_flight(cell):
    """bytes in flight: pipe, fifo, unix stream, datagram and seqpacket pairs, an abstract socket"""
    made = cell.run(["python3", "-c", IN_FLIGHT.replace("FD", "").replace("TAKE", "")])
    wait_until(lambda: made.log_lines() == ["ready"], "ready")
    cell.snap(made)
    docker("kill", "--signal", "USR1", made.id)
    wait_until(lambda: len(made.log_lines()) == 2, "taken")
    cell.rewind(made)
    docker("kill", "--signal", "USR1", made.id)
    wait_until(lambda: len(made.log_lines()) == 3, "taken again")
    assert made.log_lines()[1] == made.log_lines()[2]


def test_descriptor_in_flight(cell):
    """a file descriptor on its way in a unix socket message"""
    send = 'socket.send_fds(carrier, [b"here"], [os.open("/etc/passwd", os.O_RDONLY)])'
    take = 'message, fds, *_ = socket.recv_fds(receiver, 99, 1); said += [message, os.read(fds[0], 999)]'
    made = cell.run(["python3", "-c", IN_FLIGHT.replace("FD", send).replace("TAKE", take)])
    wait_until(lambda: made.log_lines() == ["ready"], "ready")
    cell.snap(made)
    docker("kill", "--signal", "USR1", made.id)
    wait_until(lambda: len(made.log_lines()) == 2, "taken")
    cell.rewind(made)
    docker("kill", "--signal", "USR1", made.id)
    wait_until(lambda: len(made.log_lines()) == 3, "taken again")
    assert made.log_lines()[1] == made.log_lines()[2]


SOURCE = "seq 1 400 | awk '{printf \"int f%d(int a,int b){int i,s=0;for(i=0;i<a;i++){s+=i*b%%(%d+i);s^=s<<3;}return s;}\\n\",$1,$1}' >/s.c"


def test_compile(cell):
    """a compile in progress (gcc)"""
    made = cell.run(["sh", "-c", f"{SOURCE}; echo begin; gcc -O3 -funroll-all-loops -c /s.c -o /s.o && "
                                 "sha256sum </s.o; sleep 1000"])
    wait_until(lambda: "cc1" in made.exec("ps", "-eo", "comm"), "the compiler is at it")
    cell.snap(made)
    wait_until(lambda: len(made.log_lines()) == 2, "the compile ends", 120)
    cell.rewind(made, expect=["tree/"])
    assert "cc1" in made.exec("ps", "-eo", "comm") or len(made.log_lines()) == 3, "in the middle of it again"
    wait_until(lambda: len(made.log_lines()) == 3, "it ends again", 120)
    assert made.log_lines()[1] == made.log_lines()[2], "with the same object file"


# Timers and descriptors of the event kind, all in one: what an event loop has open.
EVENTS = """
import ctypes, os, select, signal, time
libc = ctypes.CDLL(None)
event = libc.eventfd(41, 0)
timer = libc.timerfd_create(1, 0)
class Spec(ctypes.Structure): _fields_ = [(n, ctypes.c_long) for n in ("is_", "in_", "vs", "vn")]
libc.timerfd_settime(timer, 0, ctypes.byref(Spec(0, 200000000, 0, 200000000)), None)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
mask = (ctypes.c_ulong * 16)(1 << (signal.SIGUSR2 - 1))
signals = libc.signalfd(-1, mask, 0)
poll = select.epoll(); poll.register(timer, select.EPOLLIN); poll.register(signals, select.EPOLLIN)
signal.setitimer(signal.ITIMER_REAL, 0.3, 0.3); alarms = 0
def alarm(*_):
    global alarms; alarms += 1
signal.signal(signal.SIGALRM, alarm)
number = seen = 0
while True:
    for fd, _ in poll.poll():
        if fd == timer: os.read(timer, 8); number += 1; print(number, flush=True)
        else: os.read(signals, 128); print("event", int.from_bytes(os.read(event, 8), "little"), alarms > seen, flush=True); seen = alarms
"""


def test_events(cell):
    """an event loop: epoll, timerfd, signalfd, eventfd, an interval timer"""
    made = cell.run(["python3", "-c", EVENTS])
    wait_until(lambda: "3" in made.log_lines(), "it ticks")
    cell.snap(made)
    docker("kill", "--signal", "USR2", made.id)
    wait_until(lambda: "event 41 True" in made.log_lines(), "the event")
    cell.rewind(made)
    docker("kill", "--signal", "USR2", made.id)
    wait_until(lambda: made.log_lines().count("event 41 True") == 2, "the event again")
    seen = len(made.log_lines())
    wait_until(lambda: len(made.log_lines()) > seen + 2, "it ticks on")


WATCHER = """
import ctypes, os
libc = ctypes.CDLL(None)
fd = libc.inotify_init(); assert libc.inotify_add_watch(fd, b"WHERE", 0x100) > 0  # IN_CREATE
print("ready", flush=True)
while True: print("saw", os.read(fd, 4096)[16:].rstrip(b"\\0").decode(), flush=True)
"""


@pytest.mark.parametrize("where", ["the writable layer", "a tmpfs"])
def test_inotify(cell, where):
    """an inotify watch on a directory of {where}"""
    place = "/tmp" if where == "the writable layer" else "/scratch"
    made = cell.run(["python3", "-c", WATCHER.replace("WHERE", place)], "--tmpfs", "/scratch")
    wait_until(lambda: made.log_lines() == ["ready"], "ready")
    if where == "the writable layer":
        cell.refused(["snap", made], "watch", "CRIU cannot name a file of an overlay by its handle",
                     "stop the watcher for the time of the snap (many have an option to poll), or watch a volume or tmpfs", made)
    cell.snap(made)
    made.exec("touch", f"{place}/first")
    wait_until(lambda: "saw first" in made.log_lines(), "it sees")
    cell.rewind(made)
    made.exec("touch", f"{place}/first")
    wait_until(lambda: made.log_lines().count("saw first") == 2, "it sees again")


IO_URING = """
import ctypes
libc = ctypes.CDLL(None); params = ctypes.create_string_buffer(120)
fd = libc.syscall(425, 4, params)
print("ready" if fd >= 0 else "refused", flush=True)
while True: libc.pause()
"""


def test_io_uring(cell):
    """io_uring"""
    made = cell.run(["python3", "-c", IO_URING], "--security-opt", "seccomp=unconfined")
    wait_until(made.log_lines, "it begins")
    if made.log_lines() == ["refused"]:
        pytest.skip("this kernel has no io_uring")
    cell.refused(["snap", made], "io_uring|uring|send_fds", "CRIU cannot dump a ring that the kernel works on",
                 "turn io_uring off in the application (Docker's default seccomp profile does)", made)


def test_user(cell):
    """a process of a user other than root"""
    made = cell.witness("--user", "1000:1000", file="-")
    capabilities = int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")), 16)
    if not capabilities >> 24 & 1:
        cell.refused(["snap", made], "CAP_SYS_RESOURCE", "only in this lab: its host denies CAP_SYS_RESOURCE, and CRIU "
                     "reads the limits of other users' processes with it",
                     "nothing on an ordinary host, whose root has that capability", made)
    cell.there_and_back(made)
