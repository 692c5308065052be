"""How a container stands, as the kernel tells: what Docker gave its processes must be theirs again after a rewind."""

import json
import os
import pathlib
import re

from support import run

STATUS_KEYS = ("Name", "Umask", "Uid", "Gid", "Groups", "NSpid", "NSpgid", "NSsid", "Threads", "SigBlk", "SigIgn", "SigCgt",
               "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters")
CGROUP_FILES = ("memory.max", "memory.limit_in_bytes", "pids.max", "cpu.max", "cpu.cfs_quota_us", "cpuset.cpus",
                "memory.swap.max", "cpu.shares", "cpu.weight")


def read(path):
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return None


def processes_of(init):
    """All of the container's process ids as we see them: whoever shares init's pid namespace, or, when that is the host's,
    its control group."""
    what = "ns/pid"
    if os.readlink(f"/proc/{init}/ns/pid") == os.readlink("/proc/self/ns/pid"):
        what = "cgroup"

    def belonging(pid):
        return read(f"/proc/{pid}/cgroup") if what == "cgroup" else os.readlink(f"/proc/{pid}/{what}")

    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and belonging(entry.name) == belonging(init):
                found.append(int(entry.name))
        except OSError:
            pass
    return sorted(found)


def tree(init):
    """Each process by its pid inside: what it is, and in which state when that is to last."""
    answer = {}
    for pid in processes_of(init):
        status = read(f"/proc/{pid}/status") or ""
        inside = re.search(r"^NSpid:.*\s(\d+)$", status, re.M)
        state = re.search(r"^State:\s+(\S)", status, re.M)
        command = (read(f"/proc/{pid}/cmdline") or "").replace("\0", " ").strip()
        if inside and state:
            answer[int(inside[1])] = (command, state[1] if state[1] in "ZT" else "alive")
    return answer


def cgroup_limits(init):
    limits = {}
    for line in (read(f"/proc/{init}/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        directory = pathlib.Path("/sys/fs/cgroup", controllers.removeprefix("name="), path.lstrip("/"))
        limits[f"group {controllers}"] = path
        for name in CGROUP_FILES:
            text = read(directory / name)
            if text is not None:
                limits[f"{controllers} {name}"] = text.strip()
    return limits


def mounts(init):
    """Where what is mounted, without numbers that differ from start to start."""
    answer = []
    for line in (read(f"/proc/{init}/mountinfo") or "").splitlines():
        head, tail = line.split(" - ")
        _, _, _, root, place, options = head.split()[:6]
        kind, _, more = tail.split(" ", 2)
        if kind == "cgroup" or (kind == "overlay" and place == "/"):
            root = more = ""
        if root == "/null":
            # A masked path: runc hides it behind the container's null device at a start, behind the host's at a restore.
            kind = options = more = ""
        answer.append(f"{place} {kind} {root} {options} {'' if kind in ('proc', 'devpts', 'overlay') else more}")
    return sorted(answer)


def network(init):
    inside = ["nsenter", "--target", init, "--net"]
    links = json.loads(run([*inside, "ip", "--json", "address"]).out)
    routes = run([*inside, "ip", "route"]).out.splitlines()
    # Without MAC addresses: Docker draws new ones at every start.
    return {"links": {link["ifname"]: ["UP" in link["flags"],
                                       sorted(a["local"] for a in link["addr_info"] if a.get("scope") != "link")]
                      for link in links}, "routes": sorted(r.strip() for r in routes)}


def standing(container):
    init = container.pid
    status = dict(line.split(":\t", 1) for line in read(f"/proc/{init}/status").splitlines() if ":\t" in line)
    return {
        "status": {key: re.sub(r"^\S+\t(?=\d+$)", "", status.get(key, "")) if key.startswith("NS") else status.get(key)
                   for key in STATUS_KEYS},
        "limits": sorted(re.sub(r"\s+", " ", line) for line in read(f"/proc/{init}/limits").splitlines()),
        "environment": read(f"/proc/{init}/environ"),
        "executable": os.readlink(f"/proc/{init}/exe"),
        "directory": os.readlink(f"/proc/{init}/cwd"),
        "oom_score_adj": read(f"/proc/{init}/oom_score_adj"),
        "tree": tree(init),
        "cgroup": cgroup_limits(init),
        "mounts": mounts(init),
        "network": network(init),
        "hostname": run(["nsenter", "--target", init, "--uts", "hostname"]).out,
        "docker": container.inspect("{{.Id}} {{.Image}} {{.Config.Image}} {{json .NetworkSettings.Ports}} "
                                    "{{json .HostConfig}}"),
    }


def differences(before, after, path=""):
    """What is not as it was, a line each."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [line for key in sorted(set(before) | set(after), key=str)
                for line in differences(before.get(key), after.get(key), f"{path}/{key}")]
    if isinstance(before, list) and isinstance(after, list):
        return ([f"{path}: gone: {item}" for item in before if item not in after] +
                [f"{path}: new: {item}" for item in after if item not in before])
    return [] if before == after else [f"{path}: was {before!r}, is {after!r}"]
