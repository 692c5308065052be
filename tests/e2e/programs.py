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
    return written_in(container, "/data.txt")


def written_in(container, path):
    text = container.exec("cat", path)
    text = text[: text.rfind("\n") + 1]
    memory = hashlib.sha256()
    for expected, line in enumerate(text.splitlines(), 1):
        number, value, digest = line.split(" ")
        memory.update(value.encode())
        assert (int(number), digest) == (expected, memory.hexdigest()), f"line {expected}: memory and file disagree"
    return text

# Changes one known thing for each byte in its FIFO and says so with a line; apart from that only its stack changes. It
# reads, because of all waiting calls that one never tells the program of an interruption by CRIU (no EINTR, no errno).
CHANGER = ["sh", "-c", r"""cat >/changer.c <<'C'
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
enum { page = 4096 };
static char *map(unsigned long at, int pages) {
    char *p = mmap((void *)at, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    for (int i = 0; i < pages; ++i) memset(p + i * page, 'a' + i % 26, page);
    return p;
}
int main(int argc, char **argv) {
    char *area = map(0x200000000000, 64);
    map(0x201000000000, 4);
    mkfifo("/go", 0600);
    int go = open("/go", O_RDWR);
    for (int step = 0;; ++step) {
        switch (step) {
            case 1: area[5 * page + 7] = '!'; break;
            case 2: memset(area + 9 * page, '#', page); break;
            case 3: memset(area + 11 * page, 0, page); break;
            case 4: open("/etc/hostname", O_RDONLY); break;
            case 5: mprotect(area + 20 * page, page, PROT_READ); break;
            case 6: mremap((void *)0x201000000000, 4 * page, 4 * page, MREMAP_MAYMOVE | MREMAP_FIXED,
                           (void *)0x202000000000); break;
            case 7: munmap(area + 60 * page, 4 * page); break;
            case 8: strcpy(area + 2 * page, "a needle in a page"); break;
            case 9: if (fork() == 0) for (;;) pause(); break;
            case 10: {
                char *env[] = {"COLOUR=green", "PATH=/bin", NULL};
                if (argc < 2) execve("/changer", (char *[]){"/changer", "again", NULL}, env);
            }
        }
        write(1, "x\n", 2);
        if (argc > 1) for (;;) pause();
        char byte;
        read(go, &byte, 1);
    }
}
C
gcc -O1 -Wl,-z,now -o /changer /changer.c && exec /changer"""]
CHANGER_AREA = 0x200000000000
