"""The fault drill: snaps and rewinds of a running container, and at a random moment of each something dies.

Every round: start a snap or a rewind, wait for a random moment, do the harm, then `cprewind recover`. Afterwards the
container must run (not paused, not stopped), its memory must agree with its files (the program checks itself, see
programs.WRITER), and it must be where it was, or at the target of the rewind; every snapshot must still be there, the
repository must be clean, and nothing may be left lying about. What harms:

  cprewind   kill -9 of the command: its guard has to put things right
  guards     kill -9 of the command and all its guards: only the journal knows
  runtime    kill -9 of cprewind-runtime, or the runc that it has become
  dockerd    kill -9 of dockerd (with live-restore, without which a dockerd takes all containers along when it dies)
  bare       the same without live-restore, during rewinds only
  disk       the file system of the repository is full
  tmpfs      the file system of the staging directory is full
  pack       a byte of the target's pack is turned
"""

import argparse
import collections
import hashlib
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import support  # noqa: E402
from programs import WRITER  # noqa: E402
from support import CPREWIND, Repository, docker, plans, run, staging_directories  # noqa: E402

SNAP_HARMS = ["cprewind", "guards", "runtime", "dockerd", "disk", "tmpfs"]
REWIND_HARMS = ["cprewind", "guards", "runtime", "dockerd", "bare", "disk", "tmpfs", "pack"]
DAEMON = pathlib.Path("/etc/docker/daemon.json")
JOURNALS = pathlib.Path("/run/cprewind/journal")


class Broken(Exception):
    """What must not be."""


def comm_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def pids_of(*names):
    return [int(p.name) for p in pathlib.Path("/proc").iterdir() if p.name.isdigit() and comm_of(p.name) in names]


def kill_9(pids):
    killed = 0
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            killed += 1
        except ProcessLookupError:
            pass
    return killed


def wait_for_docker():
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if subprocess.run(["docker", "ps", "-q"], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)
    raise Broken("dockerd does not come back")


def set_live_restore(wanted):
    config = json.loads(DAEMON.read_text())
    if config.get("live-restore", False) == wanted:
        return
    config["live-restore"] = wanted
    DAEMON.write_text(json.dumps(config))
    for pid in pids_of("dockerd"):
        os.kill(pid, signal.SIGHUP)
    time.sleep(0.5)
    found = docker("info", "--format", "{{.LiveRestoreEnabled}}")
    if found != str(wanted).lower():
        raise Broken(f"live-restore is {found} and was to be {wanted}")


class Drill:
    def __init__(self, options):
        self.options = options
        self.chance = random.Random(options.seed)
        self.base = pathlib.Path(options.directory)
        shutil.rmtree(self.base, ignore_errors=True)
        self.base.mkdir(parents=True)
        self.mount = self.base / "disk"
        self.mount.mkdir()
        # A file system of its own, so that it can be filled without filling the host's.
        run(["mount", "-t", "tmpfs", "-o", f"size={options.disk},mode=700", "drill", self.mount])
        self.repo = Repository(self.mount / "repository")
        self.small = self.base / "small"
        self.small.mkdir()
        run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "drill-small", self.small])
        self.counts = collections.Counter()
        self.failures = []

    # --- the container ---

    def make_container(self):
        docker("rm", "--force", "drill", status=None)
        docker("run", "--detach", "--name", "drill", "--runtime", "cprewind", "work", *WRITER)
        self.container = support.Container("drill", docker("inspect", "--format", "{{.Id}}", "drill"))
        support.wait_until(lambda: self.text().count("\n") >= 20, "the program writes", 60)

    def text(self):
        """The complete lines of the program's file, read beside Docker, as far as they agree with themselves."""
        pid = self.container.pid
        found = pathlib.Path(f"/proc/{pid}/root/data.txt").read_text()
        return found[: found.rfind("\n") + 1]

    def check_container(self, before, target):
        state = self.container.inspect("{{.State.Status}} {{.State.Paused}}")
        if state != "running false":
            raise Broken(f"the container is '{state}'; recover: {self.left}; the command: {self.said.strip()}")
        after = self.text()
        check_lines(after)
        if after.startswith(before):
            where = "before"
        elif target is not None and after.startswith(target):
            where = "target"
        else:
            raise Broken("the container is neither where it was nor at the target")
        deadline = time.monotonic() + 30
        while len(self.text()) <= len(after):
            if time.monotonic() > deadline:
                raise Broken("the program does not go on")
            time.sleep(0.02)
        check_lines(self.text())
        return where

    # --- one round ---

    def words(self, verb):
        return ["snap", "drill"] if verb == "snap" else ["rewind", "drill", "--to", self.target]

    def start(self, verb, env=None):
        return subprocess.Popen([CPREWIND, *self.words(verb)],
                                env={**os.environ, "CPREWIND_REPO": str(self.repo.path), **(env or {})},
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def harm(self, verb, what):
        """Starts the command and does the harm; returns whether it hit, and what the command said."""
        delay = self.chance.uniform(0, 1.0) * self.wall[verb]
        second = self.chance.uniform(0, 0.15)
        env = {}
        if what == "disk":
            self.fill(self.mount, self.chance.choice([0, 4096, 65536, 1 << 20]))
        if what == "tmpfs":
            env["CPREWIND_STAGING"] = str(self.small)
            self.fill(self.small, self.chance.choice([0, 65536, 1 << 20]))
        if what == "pack":
            self.turn_byte()
        if what in ("dockerd", "bare"):
            set_live_restore(what == "dockerd")
        process = self.start(verb, env)
        hit = what in ("disk", "tmpfs", "pack")
        if what in ("cprewind", "guards", "dockerd", "bare"):
            time.sleep(delay)
            hit = process.poll() is None
            if what == "cprewind":
                kill_9([process.pid])
            elif what == "guards":
                # Twice: between the two a guard may have been born.
                kill_9([process.pid] + pids_of("cprewind", "cprewind-guard"))
                kill_9(pids_of("cprewind", "cprewind-guard"))
            else:
                kill_9(pids_of("dockerd"))
        if what == "runtime":
            while process.poll() is None and not hit:
                if pids_of("cprewind-runtim", "runc"):
                    time.sleep(second)
                    hit = kill_9(pids_of("cprewind-runtim", "runc")) > 0
                time.sleep(0.002)
        try:
            said, _ = process.communicate(timeout=180)
        except subprocess.TimeoutExpired:
            kill_9([process.pid])
            raise Broken("the command hangs") from None
        if what in ("dockerd", "bare"):
            wait_for_docker()
        return hit, process.returncode, said

    def fill(self, where, left):
        free = os.statvfs(where)
        size = max(0, free.f_bavail * free.f_frsize - left)
        with open(where / "ballast", "wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, max(1, size))

    def turn_byte(self):
        pack = self.repo.pack_of(self.target)
        data = bytearray(pack.read_bytes())
        data[len(data) // 2] ^= 0x40
        pack.write_bytes(data)
        self.turned = pack

    def undo_harm(self, what):
        for where in (self.mount, self.small):
            (where / "ballast").unlink(missing_ok=True)
        if what == "pack":
            data = bytearray(self.turned.read_bytes())
            data[len(data) // 2] ^= 0x40
            self.turned.write_bytes(data)

    def round(self, number, verb, what):
        before = self.text()
        names = set(self.repo.names())
        pid = self.container.pid
        hit, status, said = self.harm(verb, what)
        self.undo_harm(what)
        recovered = run([CPREWIND, "recover", "--json"], status=None, env={"CPREWIND_REPO": str(self.repo.path)})
        if recovered.status != 0:
            raise Broken(f"recover failed: {recovered.err.strip()}; the command had said: {said.strip()}")
        left = json.loads(recovered.out)["recovered"]
        self.left, self.said = left, said  # for who is told that something is broken
        if what == "pack" and verb == "rewind":
            if status != 1 or self.container.pid != pid:
                raise Broken(f"a damaged snapshot was not refused before anything was touched (status {status}): {said}")
        if what == "bare" and not left and not self.container.pid:
            # Nothing was under way: dockerd took the container along, as it does any other.
            hit, where = False, "before"
            self.start_over(what)
        else:
            where = self.check_container(before, self.target_text if verb == "rewind" else None)
        lost = names - set(self.repo.names())
        if lost:
            raise Broken(f"snapshots are lost: {sorted(lost)}")
        result = self.repo("verify", "--json", *([] if number % 10 == 0 else ["--structure"]), status=None)
        faults = [f for f in json.loads(result.out)["faults"] if not f["harmless"]]
        if faults:
            raise Broken(f"the repository is not clean: {faults}")
        for what_left, found in (("staging directories", lambda: staging_directories(self.repo)), ("plans", plans),
                                 ("journals", lambda: list(JOURNALS.glob("*")) +
                                  list((self.repo.path / "journal").glob("*")))):
            deadline = time.monotonic() + 10
            while found() and time.monotonic() < deadline:
                time.sleep(0.05)
            if found():
                raise Broken(f"{what_left} are left: {found()}")
        self.counts[verb, what, "rounds"] += 1
        self.counts[verb, what, "hit"] += hit
        self.counts[verb, what, "recovered"] += bool(left)
        self.counts[verb, what, "at target" if where == "target" else "as before"] += 1
        if self.options.verbose:
            words = [r["what"] for r in left]
            print(f"{verb} {number}: {what}, {'hit' if hit else 'missed'}, status {status}, {where} {words}", flush=True)

    def prepare(self):
        run([CPREWIND, "setup", "--yes"])
        set_live_restore(True)
        self.make_container()
        self.repo.snap("drill")
        self.renew_target()
        self.wall = {}
        for verb in ("snap", "rewind"):
            started = time.monotonic()
            self.repo(*self.words(verb))
            self.wall[verb] = time.monotonic() - started

    def renew_target(self):
        self.target = self.repo.snap("drill")["name"]
        files = self.repo("inspect", self.target, "files", "--json").json["files"]
        size = next(f["size"] for f in files if f["path"] == "/data.txt")
        text = self.text()[:size]
        self.target_text = text[: text.rfind("\n") + 1]

    def run(self):
        self.prepare()
        plan = [("snap", SNAP_HARMS)] * self.options.snaps + [("rewind", REWIND_HARMS)] * self.options.rewinds
        self.chance.shuffle(plan)
        numbers = itertools.count(1)
        for verb, harms in plan:
            number = next(numbers)
            harms = [h for h in harms if not self.options.harm or h in self.options.harm] or harms
            what = self.chance.choice(harms)
            try:
                self.round(number, verb, what)
            except (Broken, AssertionError, OSError, subprocess.SubprocessError, ValueError) as trouble:
                self.failures.append(f"round {number}, {verb}, {what}: {trouble}")
                print(f"FAILED {self.failures[-1]}", flush=True)
                if self.options.stop:
                    return
                self.start_over(what)
            if number % 20 == 0:
                self.repo("prune", "--keep-last", "5")
                self.repo.assert_clean()
                wait_for_docker()
                self.renew_target()
            if number % 50 == 0:
                print(f"{number} of {len(plan)} rounds, {len(self.failures)} failed", flush=True)

    def start_over(self, what):
        """After a failed round: the next one begins with a sound container."""
        try:
            self.undo_harm(what)
        except (OSError, AttributeError):
            pass
        wait_for_docker()
        run([CPREWIND, "recover", "--forget", "drill"], status=None, env={"CPREWIND_REPO": str(self.repo.path)})
        self.make_container()
        self.renew_target()

    def report(self):
        print(f"\n{'':8}{'':10}{'rounds':>8}{'hit':>8}{'recovered':>11}{'as before':>11}{'at target':>11}")
        for verb, harms in (("snap", SNAP_HARMS), ("rewind", REWIND_HARMS)):
            for what in harms:
                row = [self.counts[verb, what, c] for c in ("rounds", "hit", "recovered", "as before", "at target")]
                print(f"{verb:8}{what:10}{row[0]:8}{row[1]:8}{row[2]:11}{row[3]:11}{row[4]:11}")
        done = sum(n for (_, _, c), n in self.counts.items() if c == "rounds")
        print(f"\n{done} rounds came through, {len(self.failures)} failed; --seed {self.options.seed} repeats them")
        for failure in self.failures:
            print(f"FAILED {failure}")

    def clear_away(self):
        docker("rm", "--force", "drill", status=None)
        for mount in (self.mount, self.small):
            run(["umount", mount], status=None)
        shutil.rmtree(self.base, ignore_errors=True)


def check_lines(text):
    memory = hashlib.sha256()
    for expected, line in enumerate(text.splitlines(), 1):
        number, value, digest = line.split(" ")
        memory.update(value.encode())
        if (int(number), digest) != (expected, memory.hexdigest()):
            raise Broken(f"line {expected}: memory and file disagree")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snaps", type=int, default=200)
    parser.add_argument("--rewinds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--harm", action="append", help="only this one; may be repeated")
    parser.add_argument("--disk", default="600m", help="size of the file system of the repository")
    parser.add_argument("--directory", default="/var/tmp/cprewind-drill")
    parser.add_argument("--stop", action="store_true", help="at the first failure, leaving all as it is")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    if b"lab/init" not in pathlib.Path("/proc/1/cmdline").read_bytes():
        parser.error("this kills dockerd: inside the lab only (tests/drill/run)")
    print(f"seed {options.seed}", flush=True)
    drill = Drill(options)
    try:
        drill.run()
    finally:
        drill.report()
        if not (options.stop and drill.failures):
            drill.clear_away()
    sys.exit(1 if drill.failures else 0)


if __name__ == "__main__":
    main()
