"""Programs that run in the containers, and how to tell whether they are what they were."""

import hashlib

# The example of Docker's checkpoint page, ten times faster.
COUNTER = ["sh", "-c", "i=0; while true; do echo $i; i=$(expr $i + 1); sleep 0.1; done"]

# Opens its file once and keeps writing. Each line holds a random value and a digest over all values so far, which only
# memory knows: a file and a memory of different moments betray themselves at the next line.
WRITER = ["python3", "-uc", """
import hashlib, os, time
log = open("/data.txt", "w")
memory = hashlib.sha256()
number = 0
while True:
    number += 1
    value = os.urandom(8).hex()
    memory.update(value.encode())
    log.write(f"{number} {value} {memory.hexdigest()}\\n"); log.flush()
    time.sleep(0.02)
"""]

# The same with a file of somebody else's held open (a bind mount).
WRITER_WITH_GUEST = [WRITER[0], WRITER[1], 'guest = open("/shared/guest")\n' + WRITER[2]]

# A heap that takes a while to dump, and a ticker.
HEAP = ["python3", "-uc", """
import os, time
heap = os.urandom(150 << 20)
number = 0
while True:
    print(number); number += 1
    time.sleep(0.05)
"""]


def written(container):
    """The complete lines of the WRITER's file, checked against the memory that wrote them."""
    text = container.exec("cat", "/data.txt")
    text = text[: text.rfind("\n") + 1]
    memory = hashlib.sha256()
    for expected, line in enumerate(text.splitlines(), 1):
        number, value, digest = line.split(" ")
        memory.update(value.encode())
        assert (int(number), digest) == (expected, memory.hexdigest()), f"line {expected}: memory and file disagree"
    return text
