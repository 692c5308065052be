"""Cores and stacks against gdb on the same live process."""

import os
import pathlib
import re
import stat
import time

import pytest

import debuggee
from support import assert_refused, docker, run, wait_until

PROGRAMS = {
    "one-thread": debuggee.c_program(""),
    "eight-threads": debuggee.c_program("7"),
    "fifty-threads": debuggee.c_program("49"),
    "handler-and-vectors": debuggee.c_program("2 all"),
    "stripped": debuggee.c_program("2", "-O2 -s"),
    "not-pie": debuggee.c_program("2", "-O2 -g -no-pie"),
    "static": debuggee.c_program("2", "-O1 -g -static"),
    "frame-pointers-only": debuggee.c_program("2", "-O0 -fno-asynchronous-unwind-tables -fno-omit-frame-pointer"),
    "python": debuggee.PYTHON,
    "redis": debuggee.REDIS,
}


@pytest.fixture
def start(container):
    def make(name):
        made = container(PROGRAMS[name], "--cap-add", "SYS_PTRACE")
        wait_until(lambda: "ready" in made.log_lines(), f"{name} is ready", 60)
        return made

    return make


def stacks_of_gdb(text):
    """From gdb's `thread apply all bt`: by thread what it prints of each frame, without where libraries were read from."""
    stacks, frames = {}, []
    for line in text.splitlines():
        head = re.match(r"Thread \d+ \(.*?LWP (\d+)\)", line)
        if head:
            frames = stacks.setdefault(int(head[1]), [])
        elif line.startswith("#"):
            frames.append(re.sub(r" from \S*?(/(usr|lib|lib64|opt)/)", r" from \1", re.sub(r"^#\d+\s+", "", line)))
    return stacks


def gdb_of_snapshot(repo, container, pid, *commands):
    words = [word for command in commands for word in ("-ex", command)]
    return repo("gdb", f"{container}@1", "--pid", pid, "--", "-batch", *words).out


def pids(repo, container):
    rows = repo("inspect", f"{container}@1", "ps", "--json", status=None).json["processes"]
    return [row["pid"] for row in rows if row["state"] != "zombie" and row["comm"] not in ("sh", "sleep")]


@pytest.mark.parametrize("name", PROGRAMS)
def test_gdb_sees_in_a_snapshot_what_it_sees_in_the_live_process(repo, start, name):
    live = start(name)
    repo.snap(live)
    (pid,) = pids(repo, live)
    expected = stacks_of_gdb(live.exec("gdb", "-nx", "-p", str(pid), "-batch", "-ex", "thread apply all bt"))
    ours = stacks_of_gdb(gdb_of_snapshot(repo, live, pid, "thread apply all bt"))
    assert len(expected) >= 1 and expected == ours

    # Our own unwinder finds the same frames, but goes on behind main.
    view = repo("inspect", f"{live}@1", "threads", "--stacks", "--pid", pid, "--json", status=None).json
    found = {t["tid"]: g for g in view["stacks"] for t in g["threads"]}
    assert found.keys() == expected.keys()
    assert len(view["stacks"]) == len({str(g["frames"]) + str(g["end"]) for g in view["stacks"]})
    if name == "frame-pointers-only":
        return
    for tid, frames in expected.items():
        theirs = [re.match(r"0x([0-9a-f]+) in", f) for f in frames]
        addresses = [int(m[1], 16) for m in theirs if m]
        own = [int(f["address"], 16) for f in found[tid]["frames"] if not f["inlined"]]
        assert own[: len(addresses)] == addresses or set(addresses) <= set(own), (frames, found[tid])
        names = [f["function"] for f in found[tid]["frames"]]
        for function in ("stand_still", "worker", "handler", "inlined", "main"):
            if any(re.search(rf"\b{function} \(", f) for f in frames):
                assert function in names, (function, names)


def test_registers_vectors_and_memory_are_those_of_the_process(repo, start):
    live = start("handler-and-vectors")
    repo.snap(live)
    commands = ["thread apply all -q p/x $r12", "thread apply all -q p/x $rdx", "info auxv", "x/s 0x200000000000",
                "x/s 0x200001000000", "x/s 0x200000001000"]
    text = gdb_of_snapshot(repo, live, 1, *commands)
    assert "0x1122334455667788" in text and "0x102030405060708" in text
    for content in ("content of the mapped file", "in shared memory", "written over the file", 'AT_EXECFN'):
        assert content in text
    vectors = next(tid for tid, frames in stacks_of_gdb(gdb_of_snapshot(repo, live, 1, "thread apply all bt")).items()
                   if "vectors" in frames[0])
    numbers = re.findall(r"(\d+)\s+Thread .*?\(LWP (\d+)\)", gdb_of_snapshot(repo, live, 1, "info threads"))
    number = next(n for n, tid in numbers if int(tid) == vectors)
    wide = "avx512f" in pathlib.Path("/proc/cpuinfo").read_text()
    text = gdb_of_snapshot(repo, live, 1, f"thread {number}", "p/x $ymm1.v32_int8", "p/x $xmm1.v16_int8", "p $st0",
                           *(["p/x $zmm20.v64_int8"] if wide else []))
    pattern = ", ".join(f"{0xa0 + i:#x}" for i in range(64 if wide else 32))
    assert pattern in text, text
    assert "3.14159265358979323" in text

    # All registers of all threads that wait: of the live process and of the snapshot.
    live_text = live.exec("gdb", "-nx", "-p", "1", "-batch", "-ex", "thread apply all -q info registers")
    ours = gdb_of_snapshot(repo, live, 1, "thread apply all -q info registers")
    def lines(text):
        wanted = r"^(rip|rsp|rbp|rbx|r1[2-5]|rax|orig_rax|rdi|rsi|fs_base)\s+(0x[0-9a-f]+)"
        return sorted(m[0] for m in re.finditer(wanted, text, re.M) if "0x1122" not in m[0])
    assert lines(ours) and [l for l in lines(ours) if not l.startswith(("rip",))] == \
        [l for l in lines(live_text) if not l.startswith(("rip",))]


def test_the_core_has_what_gcore_has(repo, start, directory):
    live = start("eight-threads")
    repo.snap(live)
    live.exec("gcore", "-o", "/tmp/peer", "1")
    docker("cp", f"{live.id}:/tmp/peer.1", str(directory / "peer"))
    core = directory / "ours"
    answer = repo("core", f"{live}@1", "--pid", 1, "-o", core, "--json", status=None).json
    status = core.stat()
    assert stat.S_IMODE(status.st_mode) == 0o600 and status.st_size == answer["file_size_bytes"]
    assert status.st_blocks * 512 < status.st_size / 4, "zeros take no space"
    assert answer["threads"] == 8 and answer["lost_bytes"] == 0

    def told(path, *commands):
        words = [word for command in commands for word in ("-ex", command)]
        result = run(["gdb", "-nx", "-batch", *words, "-c", path])
        return result

    mappings = [re.findall(r"^\s*(0x[0-9a-f]+)\s+(0x[0-9a-f]+)\s+(0x[0-9a-f]+)\s+(0x[0-9a-f]+)\s+(/\S+)",
                           told(path, "info proc mappings").out, re.M) for path in (core, directory / "peer")]
    assert len(mappings[0]) > 8 and mappings[0] == mappings[1]
    auxv = [told(path, "info auxv").out.split("AT_SYSINFO_EHDR")[1] for path in (core, directory / "peer")]
    assert auxv[0] == auxv[1]
    assert "warning: Section" not in told(core, "bt").err

    docker("cp", str(core), f"{live.id}:/tmp/ours")
    notes = run(["docker", "exec", live.id, "readelf", "--notes", "--wide", "/tmp/ours"])
    assert notes.err == "" and notes.out.count("NT_PRSTATUS") == 8
    for kind in ("NT_PRPSINFO", "NT_SIGINFO", "NT_AUXV", "NT_FILE", "NT_FPREGSET", "NT_X86_XSTATE"):
        assert kind in notes.out
    assert_refused(repo("core", f"{live}@1", "--pid", 1, "-o", core, status=1), "exists already")


def test_gdb_leaves_nothing_behind_and_gives_its_status(repo, start, directory, monkeypatch):
    live = start("one-thread")
    repo.snap(live)
    place = {"TMPDIR": str(directory)}
    result = repo("gdb", f"{live}@1", "--pid", 1, "--", "-batch", "-ex", "shell ls -la $TMPDIR", "-ex", "quit 7",
                  env=place, status=7)
    assert re.search(r"drwx------.*cprewind-gdb-", result.out)
    assert os.listdir(directory) == []
    monkeypatch.setenv("TMPDIR", str(directory))
    gdb = repo.start("gdb", f"{live}@1", "--pid", 1, "--", "-batch", "-ex", "shell sleep 600")
    wait_until(lambda: list(directory.glob("*/root/prog")), "gdb's directory is filled")
    time.sleep(1)
    gdb.terminate()
    gdb.wait(20)
    assert os.listdir(directory) == [], "also when it is told to end"
    assert_refused(repo("gdb", f"{live}@1", "--pid", 4711, status=1), "no process 4711", "its processes are: 1")


def test_binaries_that_are_gone_are_told_and_a_sysroot_helps(repo, start, directory):
    live = start("one-thread")
    repo.snap(live)
    repo("export", f"{live}@1", "-o", directory / "snapshot.tar.zst")
    root = directory / "root"
    root.mkdir()
    run(["docker", "cp", f"{live.id}:/usr", str(root / "usr")])
    checkpoint = directory / "images"
    run(["sh", "-c", f"mkdir {directory}/x && tar --zstd -xf {directory}/snapshot.tar.zst -C {directory}/x && "
         f"mv $(dirname $(find {directory}/x -name inventory.img)) {checkpoint}"])
    view = repo("inspect", f"{checkpoint}/", "threads", "--stacks", "--json", status=None).json
    (group,) = view["stacks"]
    assert "/usr/lib/x86_64-linux-gnu/libc.so.6 is not at hand" in group["end"] and "--sysroot" in group["end"]
    view = repo("inspect", f"{checkpoint}/", "threads", "--stacks", "--sysroot", root, "--json", status=None).json
    (group,) = view["stacks"]
    assert "pause" in [f["function"] for f in group["frames"]]
    assert "/prog is not at hand" in group["end"], "it was made in the container, so it is in no image of it"
