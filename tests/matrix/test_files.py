"""Files, locks and mounts."""

import pathlib

import pytest

from cell import ask
from support import docker, wait_until

# A lock of each kind, held by init: fcntl (POSIX), flock, open file description. USR1 lets go.
LOCKS = """
import fcntl, os, signal, struct, time
files = [os.open(f"/lock{i}", os.O_RDWR | os.O_CREAT) for i in range(4)]
fcntl.lockf(files[0], fcntl.LOCK_EX, 10, 5)
fcntl.flock(files[1], fcntl.LOCK_EX)
fcntl.flock(files[2], fcntl.LOCK_SH)
if OFD: fcntl.fcntl(files[3], 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
def act(*_):
    fcntl.lockf(files[0], fcntl.LOCK_UN, 10, 5); [os.close(f) for f in files]; print("free", flush=True)
signal.signal(signal.SIGUSR1, act)
print("ready", flush=True)
while True: time.sleep(100)
"""

TRY = """
import fcntl, os
def held(i, take, *how):
    fd = os.open(f"/lock{i}", os.O_RDWR)
    try: take(fd, *how); return "free"
    except OSError: return "held"
    finally: os.close(fd)
print(held(0, fcntl.lockf, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 7), held(0, fcntl.lockf, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 30),
      held(1, fcntl.flock, fcntl.LOCK_SH | fcntl.LOCK_NB), held(2, fcntl.flock, fcntl.LOCK_SH | fcntl.LOCK_NB),
      held(2, fcntl.flock, fcntl.LOCK_EX | fcntl.LOCK_NB), held(3, fcntl.lockf, fcntl.LOCK_EX | fcntl.LOCK_NB))
"""


def locks(cell, ofd):
    made = cell.run(["python3", "-c", LOCKS.replace("OFD", str(ofd))])
    wait_until(lambda: made.log_lines() == ["ready"], "ready")
    held = made.exec("python3", "-c", TRY)
    assert held.split() == ["held", "free", "held", "free", "held", "held" if ofd else "free"]
    cell.snap(made)
    docker("kill", "--signal", "USR1", made.id)
    wait_until(lambda: "free" in made.log_lines(), "let go")
    assert set(made.exec("python3", "-c", TRY).split()) == {"free"}
    cell.rewind(made)
    assert made.exec("python3", "-c", TRY) == held


@pytest.mark.fast
def test_locks(cell):
    """POSIX locks and flock"""
    locks(cell, False)


def test_ofd_locks(cell):
    """locks of open file descriptions"""
    locks(cell, True)


# Deleted files open, a shared mapping, a file at a position, a hole, O_APPEND, a descriptor twice.
OPEN = """
import mmap, os, signal, time
def f(name, flags=os.O_RDWR | os.O_CREAT): return os.open(name, flags)
gone = f("/gone"); os.write(gone, b"gone but here"); os.unlink("/gone")
moved = f("/moved"); os.write(moved, b"moved"); os.rename("/moved", "/elsewhere")
mapped = f("/mapped"); os.ftruncate(mapped, 8192); memory = mmap.mmap(mapped, 8192); memory[:5] = b"blue!"
hole = f("/hole"); os.pwrite(hole, b"end", 1 << 30); os.lseek(hole, 5, 0)
append = f("/append", os.O_WRONLY | os.O_APPEND | os.O_CREAT); os.write(append, b"a"); twice = os.dup(append)
directory = os.open("/tmp", os.O_RDONLY | os.O_DIRECTORY)
memfd = os.memfd_create("held"); os.write(memfd, b"memfd")
def act(*_):
    print(os.pread(gone, 99, 0), os.pread(moved, 99, 0), bytes(memory[:5]), os.lseek(hole, 0, 1), os.pread(memfd, 9, 0),
          os.path.getsize("/append"), flush=True)
    os.pwrite(gone, b"GONE", 0); memory[:5] = b"red!!"; os.lseek(hole, 9, 0); os.write(append, b"b"); os.write(twice, b"c")
    os.pwrite(memfd, b"X", 0); os.ftruncate(moved, 0)
    os.unlink("/elsewhere") if os.path.exists("/elsewhere") else None
signal.signal(signal.SIGUSR1, act)
print("ready", flush=True)
while True: time.sleep(100)
"""


@pytest.mark.fast
def test_open_files(cell):
    """open files: deleted, renamed, sparse, mapped and shared, appended to, in memory (memfd)"""
    made = cell.run(["python3", "-c", OPEN])
    wait_until(lambda: made.log_lines() == ["ready"], "ready")
    cell.snap(made)
    for _ in range(2):
        docker("kill", "--signal", "USR1", made.id)
    wait_until(lambda: len(made.log_lines()) >= 2, "changed")
    cell.rewind(made)
    seen = len(made.log_lines())
    docker("kill", "--signal", "USR1", made.id)
    wait_until(lambda: len(made.log_lines()) > seen, "told")
    assert made.log_lines()[seen] == made.log_lines()[1] == "b'gone but here' b'moved' b'blue!' 5 b'memfd' 1"


@pytest.mark.fast
@pytest.mark.parametrize("where", ["`--tmpfs`", "`/dev/shm`", "`/dev/shm` of `--shm-size`"])
def test_memory_file_systems(cell, where):
    """files in {where}"""
    options, place = {"`--tmpfs`": (["--tmpfs", "/scratch:size=64m,mode=1770"], "/scratch"),
                      "`/dev/shm`": ([], "/dev/shm"),
                      "`/dev/shm` of `--shm-size`": (["--shm-size", "128m"], "/dev/shm")}[where]
    made = cell.witness(*options, file=f"{place}/witness.log")
    made.exec("sh", "-c", f"echo one >{place}/closed; mkdir -m 701 {place}/d")
    blue = ask(made, "blue")
    cell.snap(made)
    ask(made, "red")
    made.exec("sh", "-c", f"rm -r {place}/closed {place}/d; echo two >{place}/later")
    cell.rewind(made)
    assert ask(made) == blue
    assert made.exec("sh", "-c", f"cat {place}/closed; stat -c %a {place}/d; ls {place}/later 2>&1 | wc -l") == "one\n701\n1\n"


def test_tmpfs_that_was_full(cell):
    """a `--tmpfs` that is full at the snapshot"""
    made = cell.witness("--tmpfs", "/scratch:size=1m")
    made.exec("sh", "-c", "yes >/scratch/all 2>/dev/null", status=1)
    before = made.exec("sh", "-c", "sha256sum </scratch/all; df -k /scratch")
    blue = ask(made, "blue")
    cell.snap(made)
    made.exec("rm", "/scratch/all")
    cell.rewind(made)
    assert ask(made) == blue and made.exec("sh", "-c", "sha256sum </scratch/all; df -k /scratch") == before


def test_read_only(cell):
    """`--read-only`, with a `--tmpfs`"""
    made = cell.witness("--read-only", "--tmpfs", "/run", file="/run/witness.log")
    cell.there_and_back(made)
    made.exec("touch", "/x", status=1)


@pytest.fixture
def mount(cell, directory, request):
    """The option that mounts outside files at /data, and where they are."""
    if request.param == "named volume":
        docker("volume", "create", "matrix-volume")
        yield ["--volume", "matrix-volume:/data"], docker("volume", "inspect", "--format", "{{.Mountpoint}}", "matrix-volume")
        cell.clean()
        docker("volume", "rm", "--force", "matrix-volume")
    else:
        (directory / "shared").mkdir()
        yield ["--volume", f"{directory}/shared:/data"], f"{directory}/shared"


both = pytest.mark.parametrize("mount, kind", [("named volume", "a named volume"), ("bind mount", "a bind mount")],
                               indirect=["mount"])


@pytest.mark.fast
@both
def test_outside_files(cell, mount, kind):
    """{kind} that is not captured: its files stay as they are now, all else goes back"""
    options, place = mount
    made = cell.witness(*options)
    pathlib.Path(place, "file").write_text("then")
    blue = ask(made, "blue")
    cell.snap(made)
    ask(made, "red")
    made.exec("sh", "-c", "echo now >/data/file; echo new >/data/new")
    cell.rewind(made)
    assert ask(made) == blue
    assert made.exec("cat", "/data/file", "/data/new") == "now\nnew\n"


@both
def test_outside_files_open_and_grown(cell, mount, kind):
    """{kind} that is not captured, with a file open that has grown since"""
    options, _ = mount
    made = cell.witness(*options, file="/data/witness.log")
    ask(made, "blue")
    cell.snap(made)
    red = ask(made, "red")
    if cell.by.name == "cprewind":
        result = cell.by.repo("rewind", made, "--to", f"of-{made}", status=None)
        assert result.status == 1 and "size" in result.err, repr(result)
        assert made.state == "running" and ask(made) == red, "it stands where it stood"
        cell.cannot("a program that goes back to a file of now would write garbage into it: CRIU refuses, and the "
                    "container stands where it stood", result.err, "capture it: `cprewind snap --volumes=NAME` (a volume, or a bind mount by where it is mounted)")
    cell.rewind(made)


@both
def test_outside_files_captured(cell, mount, kind):
    """{kind} that is captured (`snap --volumes=/data`), with a file open that has grown since: its files go back, too"""
    if cell.by.name != "cprewind":
        pytest.fail("Docker has no way to keep a volume's files of then")
    if "--volumes" not in cell.by.repo("snap", "--help").out:
        pytest.skip("this cprewind cannot capture volumes")
    options, _ = mount
    made = cell.witness(*options, file="/data/witness.log")
    made.exec("sh", "-c", "echo then >/data/file")
    blue = ask(made, "blue")
    cell.snap(made, "--volumes=/data")  # a bind mount is captured only when it is named
    ask(made, "red")
    made.exec("sh", "-c", "echo now >/data/file; echo new >/data/new")
    cell.rewind(made)
    assert ask(made) == blue and made.exec("cat", "/data/file") == "then\n"
    made.exec("test", "-e", "/data/new", status=1)
