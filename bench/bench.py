"""`make bench`: raises the labs, has every topic measured inside, prints the table, writes build/bench.json.

A topic is a module of this directory with LABS, the engines it is for, and measure(), which runs inside the lab and
yields rows (tools.row); it may have measure_outside(), which then runs on the host and does the same. docs/benchmarks.md says what the rows mean.
"""

import argparse
import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys

CHECKOUT = pathlib.Path(__file__).resolve().parents[1]
TOPICS = ("snap", "rewind", "runtime", "fork", "inspect", "archives", "memory", "diff", "core", "store")
LABS = {  # in the order they are raised, one at a time: two engines would disturb each other
    "forky": ("bench", []),  # Docker 28
    "trixie": ("bench-classic", ["--suite", "trixie", "--cgroup", "v1"]),  # Docker 26.1, whose own restore works
}


def main():
    arguments = parse_arguments()
    if arguments.part:
        measure_part(arguments.topics[0], arguments.part)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rows, failed = [], []
    print_machine()
    for lab, (name, options) in LABS.items():
        if lab not in arguments.labs:
            continue
        try:
            lab_script("down", "--name", name)  # what an earlier run may have left is not ours to trust
            lab_script("up", "--name", name, *options)
            enter(name, lab, arguments.bin, arguments.bin / "cprewind", "setup", "--yes", stdout=subprocess.DEVNULL)
            print_engine(name)
            for topic in arguments.topics:
                try:
                    rows += measure(name, lab, topic, arguments.bin)
                except subprocess.CalledProcessError:
                    failed.append(f"{topic}@{lab}")
        except subprocess.CalledProcessError as error:
            failed.append(f"{lab} ({error})")
        finally:
            lab_script("down", "--name", name)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(rows, indent=1) + "\n")
    print_table(rows)
    print(f"load at the end: {os.getloadavg()[1]:.1f} (other work on the machine makes these figures worse than they are)")
    if failed:
        print(f"bench: measuring failed: {' '.join(failed)} (the messages are above)", file=sys.stderr)
    return 1 if failed else 0


def parse_arguments():
    parser = argparse.ArgumentParser(prog="bench/run", description="Measures cprewind on real engines in labs.",
                                     epilog="Exit status: 0 measured (the table says which goals are missed), "
                                            "1 measuring failed, 2 usage.")
    parser.add_argument("topics", nargs="*", metavar="NAME", help=f"of {' '.join(TOPICS)} (default: all)")
    parser.add_argument("--labs", nargs="+", choices=LABS, default=list(LABS), help="only these engines")
    parser.add_argument("--bin", type=pathlib.Path, default=CHECKOUT / "build/release/bin",
                        help="directory of the binaries, below the checkout (default build/release/bin)")
    parser.add_argument("--output", type=pathlib.Path, default=CHECKOUT / "build/bench.json")
    parser.add_argument("--quick", action="store_true", help="store: an eighth of the memory, one round: to see it work")
    parser.add_argument("--keep", action="store_true", help="store: keep the dumps in build/bench-store for the next run")
    parser.add_argument("--part", choices=("measure", "measure_outside"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.topics = arguments.topics or list(TOPICS)
    arguments.bin = arguments.bin.resolve()
    # For the parts below, which are processes of their own.
    os.environ |= {"BENCH_QUICK": "1"} if arguments.quick else {}
    os.environ |= {"BENCH_KEEP": "1"} if arguments.keep else {}
    for topic in arguments.topics:
        if topic not in TOPICS:
            parser.error(f"there is no benchmark '{topic}', only {' '.join(TOPICS)}")
    if not (arguments.bin / "cprewind-runtime").exists():
        parser.error(f"{arguments.bin} has no cprewind-runtime: run tools/build release")
    return arguments


# --- the host's side ---------------------------------------------------------------------------------

def lab_script(verb, *words):
    subprocess.run([CHECKOUT / "lab" / verb, *words], check=True, stdout=sys.stderr)


def enter(name, lab, binaries, *command, **options):
    return subprocess.run([CHECKOUT / "lab/enter", "--name", name, *environment(lab, binaries), *command], check=True,
                          **options)


def environment(lab, binaries):
    return ["env", f"PATH={binaries}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            f"PYTHONPATH={CHECKOUT}", "PYTHONDONTWRITEBYTECODE=1", f"BENCH_BIN={binaries}", f"BENCH_LAB={lab}",
            *(f"{name}={os.environ[name]}" for name in ("BENCH_QUICK", "BENCH_KEEP") if name in os.environ)]


def measure(name, lab, topic, binaries):
    """The rows of one topic with one engine; none if it is not for it."""
    part = ["/usr/bin/python3", "-m", "bench.bench", "--bin", binaries, topic, "--part"]
    options = {"stdout": subprocess.PIPE, "text": True}
    inside = enter(name, lab, binaries, *part, "measure", **options)
    outside = subprocess.run([*environment(lab, binaries), *part, "measure_outside"], check=True, **options)
    return json.loads(inside.stdout) + json.loads(outside.stdout)


def print_machine():
    model = next((line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    print(f"machine: {os.cpu_count()} cores ({model}), {memory:.0f} GiB, Linux {os.uname().release}, "
          f"load {os.getloadavg()[0]:.1f}", flush=True)


def print_engine(name):
    script = ('echo "Docker $(docker version --format {{.Server.Version}}), $(criu --version | head -n 1), '
              '$(runc --version | head -n 1), cgroup $(stat -fc %T /sys/fs/cgroup)"')
    done = subprocess.run([CHECKOUT / "lab/enter", "--name", name, "sh", "-c", script], check=True,
                          stdout=subprocess.PIPE, text=True)
    print(f"lab {name}: {done.stdout.strip()}", flush=True)


def print_table(rows):
    def number(value):
        return "" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"

    lines = [("name", "figure", "unit", "peer", "peer's", "ratio", "goal", "met")]
    for r in rows:
        met = {None: "", True: "yes", False: "NO"}[r["met"]]
        lines.append((r["name"], number(r["figure"]), r["unit"], r["peer"] or "", number(r["peer_figure"]),
                      number(r["ratio"]), r["goal"] or "", met))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    right = (1, 4, 5)
    for line in lines:
        cells = (text.rjust(width) if column in right else text.ljust(width)
                 for column, (text, width) in enumerate(zip(line, widths)))
        print("  ".join(cells).rstrip())


# --- what runs in the lab, or beside it ---------------------------------------------------------------

def measure_part(topic, part):
    module = importlib.import_module(f"bench.{topic}")
    work = getattr(module, part, None) if os.environ["BENCH_LAB"] in module.LABS else None
    json.dump(list(work()) if work else [], sys.stdout)


if __name__ == "__main__":
    sys.exit(main())
