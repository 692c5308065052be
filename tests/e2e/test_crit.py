"""decode is crit's decode, and encode undoes it, on every image of every fixture."""

import concurrent.futures
import json
import os
import pathlib
import subprocess

import pytest

import pycriu
from support import CPREWIND, run

FIXTURES = pathlib.Path(__file__).parents[2] / "fixtures"
RAW = ("pages-", "tmpfs-", "iptables", "ip6tables", "nftables", "route", "rule-", "ifaddr-", "netns-ct", "netns-exp")
IMAGES = sorted(p for p in FIXTURES.rglob("*") if p.suffix == ".img" or p.name.startswith("stats-"))
IMAGES = [p for p in IMAGES if not p.name.startswith(RAW)]
DUMPS = sorted({p.parent for p in IMAGES})


def expected(path):
    with open(path, "rb") as image:
        return json.loads(json.dumps(pycriu.images.load(image)))


def without_padding(image):
    """The only key of ours that these images need: crit loses bytes that CRIU did not clear."""
    for entry in image["entries"]:
        entry.pop("padding", None)
    return image


@pytest.fixture(scope="module", autouse=True)
def enough():
    assert len(DUMPS) > 30 and len(IMAGES) > 300


def check_there_and_back(dump, target, options, wanted):
    """Every image of a dump: what decode prints is `wanted` of it, and encode makes its bytes again. By all cores."""
    def check(path):
        text = run([CPREWIND, "decode", *options, path]).out
        assert without_padding(json.loads(text)) == wanted(path), path
        (target / f"{path.name}.json").write_text(text)
        run([CPREWIND, "encode", target / f"{path.name}.json", "-o", target / path.name])
        assert (target / path.name).read_bytes() == path.read_bytes(), path

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(check, (path for path in IMAGES if path.parent == dump)))


@pytest.mark.parametrize("dump", DUMPS, ids=lambda p: str(p.relative_to(FIXTURES)))
def test_decode_prints_the_values_that_crit_prints_and_encode_makes_the_same_bytes(dump, tmp_path):
    check_there_and_back(dump, tmp_path, [], expected)


@pytest.mark.parametrize("dump", DUMPS, ids=lambda p: str(p.relative_to(FIXTURES)))
def test_decode_pretty_shows_what_crit_shows_and_encode_reads_it(dump, tmp_path):
    check_there_and_back(dump, tmp_path, ["--pretty"], pretty)


def test_encode_reads_what_crit_printed(tmp_path):
    path = FIXTURES / "counter" / "core-1.img"
    text = subprocess.run(["crit", "decode", "-i", path], stdout=subprocess.PIPE, check=True).stdout
    (tmp_path / "core.json").write_bytes(text)
    run([CPREWIND, "encode", tmp_path / "core.json", "-o", tmp_path / "core.img"])
    assert (tmp_path / "core.img").read_bytes() == path.read_bytes()


def pretty(path):
    """What crit shows, with the states named right: crit 4.2.1 has two the wrong way round and lacks one."""
    with open(path, "rb") as image:
        shown = json.loads(json.dumps(pycriu.images.load(image, True)))
    for entry in shown["entries"]:
        task = entry.get("tc", {})
        if "task_state" in task:
            task["task_state"] = {"Zombie": "Stopped", "Stopped": "Zombie", 2: "Dead"}.get(*[task["task_state"]] * 2)
    return shown
