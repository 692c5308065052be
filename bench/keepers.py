"""What can keep generations of a dump: cprewind and its peers, each as commands for `sh`.

All start from a directory of files and an empty one of their own; `save` keeps generation N, `restore` writes one out
again. The peers come from Debian's packages.
"""

import pathlib
import shutil
import subprocess

from bench.tools import BIN, run

STORE_BENCH = BIN / "store_bench"
PACKAGES = {"restic": "restic", "borg": "borgbackup", "zstd": "zstd"}


def install_peers():
    """Those that are missing, through apt; an error names what cannot be had."""
    missing = {program: package for program, package in PACKAGES.items() if not shutil.which(program)}
    if not missing:
        return
    done = subprocess.run(["apt-get", "install", "--quiet=2", "--yes", "--no-install-recommends", *missing.values()],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    for program, package in missing.items():
        if not shutil.which(program):
            raise RuntimeError(f"{program} is missing, and `apt-get install {package}` did not help: {done.stderr}")


class Keeper:
    rounds = 5  # how often everything is done; fewer where it is slow

    def __init__(self, directory):
        self.directory = directory  # empty; all that is kept lies in it
        self.setup()

    def setup(self):
        pass

    def prepare(self, source, number):
        """What is not counted before generation `number` is saved."""

    def kept(self):
        return sum(file.stat().st_size for file in self.directory.rglob("*") if file.is_file())


class Cprewind(Keeper):
    title = "cprewind"

    def save(self, source, number):
        return f"{STORE_BENCH} save {self.directory}/repository {source} bench"

    def restore(self, number, target):
        return f"{STORE_BENCH} extract {self.directory}/repository bench@{number} {target}"


class Tar(Keeper):
    title = "tar | zstd -1 -T2"

    def save(self, source, number):
        return f"tar -C {source} -cf - . | zstd -q -1 -T2 -o {self.directory}/{number}.tar.zst"

    def restore(self, number, target):
        return f"mkdir {target} && zstd -q -d -c {self.directory}/{number}.tar.zst | tar -C {target} -xf -"


class Patch(Keeper):
    """zstd's own difference between two files. It gets the tar files for nothing, and the base of the restored one."""

    title = "zstd -1 --patch-from"

    def setup(self):
        self.tars = self.directory.with_name("tars")
        self.tars.mkdir()

    def prepare(self, source, number):
        run(["tar", "-C", source, "-cf", self.tars / f"{number}.tar", "."])

    def save(self, source, number):
        base = "" if number == 1 else f"--patch-from={self.tars}/{number - 1}.tar"
        return f"zstd -q -1 --long=30 {base} {self.tars}/{number}.tar -o {self.directory}/{number}.zst"

    def restore(self, number, target):
        return (f"mkdir {target} && zstd -q -d -c --long=30 --patch-from={self.tars}/{number - 1}.tar "
                f"{self.directory}/{number}.zst | tar -C {target} -xf -")


class Restic(Keeper):
    title = "restic, compression auto"
    rounds = 3

    def setup(self):
        self.command = (f"RESTIC_PASSWORD=bench restic --quiet --repo {self.directory}/repository "
                        f"--cache-dir {self.directory.with_name('cache')}")
        run(["sh", "-c", f"{self.command} init --repository-version 2"])

    def save(self, source, number):
        return f"cd {source} && {self.command} backup --tag {number} ."

    def restore(self, number, target):
        return f"{self.command} restore latest --tag {number} --target {target}"


class Borg(Keeper):
    title = "borg, zstd,1"
    rounds = 3
    chunks = ""

    def setup(self):
        self.environment = (f"BORG_BASE_DIR={self.directory.with_name('cache')} BORG_RELOCATED_REPO_ACCESS_IS_OK=yes "
                            f"BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes")
        self.repository = f"{self.directory}/repository"
        run(["sh", "-c", f"{self.environment} borg init --encryption none {self.repository}"])

    def save(self, source, number):
        return (f"cd {source} && {self.environment} borg create --compression zstd,1 {self.chunks} "
                f"{self.repository}::{number} .")

    def restore(self, number, target):
        return f"mkdir {target} && cd {target} && {self.environment} borg extract {self.repository}::{number}"


class BorgPages(Borg):
    title = "borg, fixed 4 KiB chunks"
    chunks = "--chunker-params fixed,4096"


KEEPERS = {"cprewind": Cprewind, "tar": Tar, "patch": Patch, "restic": Restic, "borg": Borg, "borg-4k": BorgPages}


def check_equal(source: pathlib.Path, target: pathlib.Path):
    """A fast restore of something else is worth nothing."""
    run(["diff", "--recursive", "--brief", source, target])
