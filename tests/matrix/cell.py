"""A cell of the matrix: one workload in one lab. It starts containers, takes them to a moment and back, and remembers what
there is to say of it. Who takes them back is cprewind, or (--by docker) Docker itself, to compare with."""

import itertools
import json
import os
import pathlib
import pty
import re
import socket
import subprocess
import time

import pytest

from standing import differences, standing
from support import Container, docker, run, wait_until

WITNESS = (pathlib.Path(__file__).parent / "witness.py").read_text()
PORT = 8000
numbers = itertools.count(1)


class Cannot(Exception):
    """The workload cannot be taken back in this lab: why, proven, and what to do."""


class Cprewind:
    name = "cprewind"
    runtime = "cprewind"

    def __init__(self, repo):
        self.repo = repo

    def snap(self, container, *words):
        self.repo.snap(container, "--tag", f"of-{container}", *words)

    def rewind(self, container, *words):
        return self.repo.rewind(container, f"of-{container}", *words)


class Docker:
    """`docker checkpoint create` and `docker start --checkpoint`, as Docker's manual says."""

    name = "docker"
    runtime = None

    def __init__(self, _):
        pass

    def snap(self, container, *_):
        docker("checkpoint", "create", "--leave-running", container.id, "moment")

    def rewind(self, container, *_):
        docker("kill", container.id)
        docker("start", "--checkpoint", "moment", container.id)
        return {}


class Cell:
    def __init__(self, by, lab):
        self.by = by
        self.lab = lab
        self.notes = []
        self.answer = None  # what a cell that cannot says
        self.made = []
        self.before = {}

    # --- containers ----------------------------------------------------------------------------------

    def run(self, command, *options, **more):
        return self.create(command, "--detach", *options, verb="run", **more)

    def create(self, command, *options, image="work", name=None, verb="create"):
        name = name or f"matrix{next(numbers)}"
        words = ["--runtime", self.by.runtime] if self.by.runtime else []
        self.made.append(name)
        result = run(["docker", verb, "--name", name, *words, *options, image, *command], status=None)
        if re.search("kernel does not support|controller is not|not mounted", result.err):
            pytest.skip(result.err.strip())
        assert result.status == 0, repr(result)
        self.made[-1] = result.out.strip()  # a name may change
        return Container(name, result.out.strip())

    def witness(self, *options, file="/witness.log", port=PORT, **more):
        made = self.run(["python3", "-uc", WITNESS, str(port), file], *options, **more)
        wait_until(lambda: "ready" in made.log_lines(), "the witness is ready")
        return made

    def clean(self):
        for ident in reversed(self.made):
            docker("rm", "--force", "--volumes", ident, status=None)

    # --- there and back ------------------------------------------------------------------------------

    def snap(self, container, *words):
        self.before[container.id] = standing(container)
        self.by.snap(container, *words)
        assert container.state == "running", "it runs on after a snap"

    def rewind(self, container, *words, expect=()):
        """Back; then all that the kernel tells of the container is as before. `expect`: differences that are right."""
        if self.by.name == "docker":
            expect = [*expect, "^/oom_score_adj"]  # the shim's (runtime/restore.cpp); it shall not hide what else is wrong
        began = container.inspect("{{.State.StartedAt}}")
        answer = self.by.rewind(container, *words)
        wait_until(lambda: container.state == "running", "it runs")
        assert container.inspect("{{.State.StartedAt}}") != began, "nothing was restored"
        lines = []

        def settled():
            lines[:] = [line for line in differences(self.before[container.id], standing(container))
                        if not any(re.search(pattern, line) for pattern in expect)]
            return not lines

        try:
            wait_until(settled, "the container stands as it stood", 3)
        except AssertionError:
            raise AssertionError("not as it was: " + "; ".join(lines)) from None
        return answer

    def there_and_back(self, container, port=PORT, expect=()):
        """The whole way for a witness, and all it can tell."""
        blue = ask(container, "blue", port=port)
        self.snap(container)
        red = ask(container, "red", port=port)
        assert red["words"] == ["blue", "red"] and red["heap"]
        answer = self.rewind(container, expect=expect)
        assert ask(container, port=port) == blue
        green = ask(container, "green", port=port)
        assert green["words"] == ["blue", "green"] and green["heap"]
        return answer

    @staticmethod
    def freezer_v1():
        return pathlib.Path("/sys/fs/cgroup/freezer").exists()

    # --- what to say of it ---------------------------------------------------------------------------

    def note(self, text):
        self.notes.append(text)

    def cannot(self, reason, proof, remedy):
        """Ends the cell: `reason` in our words, `proof` the words of CRIU or Docker, `remedy` what a user does."""
        self.answer = {"reason": reason, "proof": proof.strip(), "remedy": remedy}
        raise Cannot(reason)

    def refused(self, words, pattern, reason, remedy, container):
        """`cprewind WORDS` fails with `pattern` in its message, and the container runs on as if nothing had been."""
        if self.by.name == "docker":
            if words[0] == "snap":
                self.by.snap(container)
            self.by.rewind(container)  # what does Docker say?
            return
        result = self.by.repo(*words, status=None)
        assert result.status == 1, f"expected a refusal: {result!r}"
        assert re.search(pattern, result.err), repr(result)
        assert container.state == "running"
        self.cannot(reason, result.err, remedy)


def ask(container, word=None, port=PORT):
    """Tells the witness a word (or only asks), over loopback in the container's own network."""
    line = json.dumps({"say": word}) if word else ""
    client = f"import socket,sys\nc=socket.create_connection(('127.0.0.1',{port}),timeout=10)\n" \
             f"c.sendall(sys.argv[1].encode()+b'\\n')\nsys.stdout.write(c.makefile().read())"
    inside = ["nsenter", "--target", container.pid, "--net", "python3", "-c", client, line]
    return json.loads(run(inside).out)


def reach(address, port, word=None):
    """The same from outside: the container's address, or a published port."""
    with socket.create_connection((address, port), timeout=10) as connection:
        connection.sendall((json.dumps({"say": word}) if word else "").encode() + b"\n")
        return json.loads(connection.makefile().read())


class Attached:
    """`docker attach` with a keyboard of ours, for containers with a terminal and without."""

    def __init__(self, container):
        self.ours, theirs = pty.openpty()
        terminal = container.inspect("{{.Config.Tty}}") == "true"
        if not terminal:
            os.close(self.ours)
            os.close(theirs)
            theirs, self.ours = os.pipe()
        self.process = subprocess.Popen(["docker", "attach", "--sig-proxy=false", container.id], stdin=theirs,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(theirs)

    def type(self, line):
        os.write(self.ours, (line + "\n").encode())

    def __enter__(self):
        time.sleep(0.3)  # nothing tells when docker attach is attached
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
