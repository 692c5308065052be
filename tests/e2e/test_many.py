"""What goes wrong once in fifty times: snaps of programs that start others all the time."""

from support import wait_until

# As fast as a shell can: each turn forks, executes and leaves a zombie for a moment.
SPAWNER = ["sh", "-c", "i=0; while true; do echo $i; i=$(expr $i + 1); done"]
# The same for certain: one is always in the middle of it, the other always leaves a zombie.
VFORKER = ["python3", "-uc", """
import subprocess, os, time, threading
def spawn():
    while True: subprocess.run(["/bin/true"])
threading.Thread(target=spawn).start()
if os.fork() == 0: os._exit(7)
print("ready")
while True: time.sleep(1)
"""]


def test_snaps_of_a_program_that_keeps_starting_others_never_fail_and_never_take_long(repo, container):
    spawner = container(SPAWNER, image="busybox")
    spawner.wait_for_tick(5)
    stalls = [repo.snap(spawner)["stall_ms"] for _ in range(60)]
    assert max(stalls) < 2000, f"longest stalls: {sorted(stalls)[-3:]} ms"
    repo.rewind(spawner, f"{spawner}@30")
    wait_until(spawner.jumps, "it counts on from the snapshot")
    assert len(spawner.jumps()) == 1
    repo.assert_clean()


def test_a_zombie_and_a_thread_that_spawns_are_snapped_without_findings_and_come_back(repo, container):
    program = container(VFORKER)
    wait_until(program.log_lines, "the program is ready")
    for _ in range(10):
        name = repo.snap(program)["name"]
        rows = repo("inspect", name, "ps", "--json").json["processes"]
        assert [row["exit_code"] for row in rows if row["state"] == "zombie"].count(7 << 8) == 1, rows
    repo.rewind(program, f"{program}@5")
    assert program.state == "running"
