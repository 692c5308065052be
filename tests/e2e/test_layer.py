"""What a snapshot does to the container around it, and all that can be in a writable layer."""

from programs import COUNTER
from support import docker, wait_until

# A listing of everything a layer can hold and of what can be told from inside the container.
LISTING = r"""
import hashlib, os, stat
for top in ("/zoo", "/etc", "/opt", "/usr/share/perl5", "/var/log"):
    for directory, names, files in os.walk(top):
        names.sort()
        if directory == "/etc":  # Docker mounts these, and writes them at each start
            files = sorted(set(files) - {"hosts", "hostname", "resolv.conf"})
        for name in sorted(names + files) + ["."]:
            path = os.path.join(directory, name)
            s = os.lstat(path)
            regular = stat.S_ISREG(s.st_mode)
            what = [path, stat.filemode(s.st_mode), s.st_uid, s.st_gid, s.st_nlink if regular else 0, s.st_mtime_ns]
            if regular:
                content = open(path, "rb").read()
                what += [s.st_size, hashlib.sha256(content).hexdigest(), s.st_blocks < s.st_size // 1024]
            if stat.S_ISLNK(s.st_mode): what.append(os.readlink(path))
            if stat.S_ISCHR(s.st_mode) or stat.S_ISBLK(s.st_mode): what.append(s.st_rdev)
            for attribute in sorted(os.listxattr(path, follow_symlinks=False)):
                what += [attribute, os.getxattr(path, attribute, follow_symlinks=False)]
            print(*what)
"""

FIRST = r"""
set -e
mkdir /zoo; cd /zoo
echo hello >file; chmod 4755 file; chown 7:8 file
ln file hard-link; ln -s /nowhere symlink; mkfifo fifo; mknod device c 1 3
mkdir -m 1770 directory; echo x >directory/x
truncate -s 50M sparse; printf end >>sparse
printf 'new\nline' >"$(printf 'odd \303\050\n name')"
cp /bin/true capable
python3 -c '
import os
os.setxattr("/zoo/file", "user.colour", b"blue")
os.setxattr("/zoo/capable", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))'
rm /etc/debian_version                               # a whiteout
rm -rf /etc/alternatives; mkdir /etc/alternatives    # an opaque directory
echo new >/etc/alternatives/only
touch -d '2001-02-03 04:05:06.789' file
"""

SECOND = r"""
set -e
cd /zoo
rm hard-link symlink fifo device; echo changed >file; chmod 600 file; chown 0:0 file
python3 -c 'import os; os.setxattr("/zoo/file", "user.colour", b"red")'
rm -rf directory; echo 'a file now' >directory; mkdir fifo
truncate -s 10 sparse
rm odd*
echo 13 >/etc/debian_version; rm -rf /etc/alternatives; ln -s /tmp /etc/alternatives
mkdir -p /opt/more/and/more; echo more >/opt/more/and/more/file; rm -rf /var/log
chmod 700 /etc
"""


def test_everything_a_writable_layer_can_hold_is_back_after_a_rewind(repo, container):
    zoo = container(["sleep", "1000"])
    before = zoo.exec("python3", "-c", LISTING)
    zoo.exec("sh", "-c", FIRST)
    first = zoo.exec("python3", "-c", LISTING)
    repo.snap(zoo)
    zoo.exec("sh", "-c", SECOND)
    second = zoo.exec("python3", "-c", LISTING)
    assert len({before, first, second}) == 3
    # @2 is the safety snapshot: forth again.
    for number, expected in ((1, first), (2, second), (1, first)):
        repo.rewind(zoo, f"{zoo}@{number}")
        assert zoo.exec("python3", "-c", LISTING).splitlines() == expected.splitlines()
    repo.assert_clean()


def test_a_paused_container_stays_paused_after_a_snap_and_after_a_rewind_to_it(repo, container):
    counter = container(COUNTER, image="busybox")
    counter.wait_for_tick(3)
    docker("pause", counter.id)
    seen = counter.ticks()
    repo.snap(counter)
    assert counter.state == "paused" and counter.ticks() == seen
    docker("unpause", counter.id)
    counter.wait_for_tick(seen[-1] + 4)
    repo.rewind(counter, f"{counter}@1")
    assert counter.state == "paused"
    docker("unpause", counter.id)
    wait_until(counter.jumps, "it counts on from the snapshot")
    assert [back in (seen[-1], seen[-1] + 1) for _, back in counter.jumps()] == [True]


def test_snap_with_stop_leaves_the_container_stopped_and_able_to_come_back(repo, container):
    counter = container(COUNTER, image="busybox")
    counter.wait_for_tick(3)
    assert repo.snap(counter, "--stop")["stall_ms"] is None
    assert counter.state == "exited"
    seen = counter.ticks()
    result = repo.rewind(counter, f"{counter}@1")
    assert result["safety"] is None, "of a stopped container there is no memory to keep"
    wait_until(lambda: len(counter.ticks()) > len(seen), "it counts again")
    assert counter.ticks()[len(seen)] in (seen[-1], seen[-1] + 1), "where it was stopped, not from the start"


def test_several_containers_in_one_snap_each_get_a_snapshot_and_a_wrong_one_does_not_hinder(repo, container):
    counters = [container(COUNTER, image="busybox") for _ in range(3)]
    for counter in counters:
        counter.wait_for_tick(1)
    made = repo("snap", *counters, "--json").json["snapshots"]
    assert [s["name"] for s in made] == [f"{c}@1" for c in counters]
    result = repo("snap", counters[0], "e2e-nobody", counters[1], "--json", status=1)
    assert [s["name"] for s in result.json["snapshots"]] == [f"{c}@2" for c in counters[:2]]
    assert "e2e-nobody" in result.err
    repo.assert_clean()


def test_a_process_of_docker_exec_is_not_in_the_snapshot_and_snap_says_so(repo, container):
    # No child of its own: a sleep that comes and goes would be counted when it is a zombie. Not busybox's sleep, which
    # ends when its system call is interrupted, as CRIU does.
    quiet = container(["sleep", "1000"])
    assert repo.snap(quiet)["left_out_processes"] == 0
    docker("exec", "-d", quiet.id, "sleep", "1001")
    wait_until(lambda: "sleep 1001" in docker("top", quiet.id, "-o", "pid,args"), "the other process is there")
    made = repo.snap(quiet)
    assert (made["left_out_processes"], made["processes"]) == (1, 1)
    assert "docker exec" in repo("snap", quiet).out
