"""Programs whose threads stand in known places, for the tests of cores and stacks."""

SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static volatile int ready;
static void arrive(void) { __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST); }
__attribute__((noinline)) static void stand_still(int deeper) {
    if (deeper > 0) stand_still(deeper - 1); else for (;;) pause();
    __asm__ volatile("");
}
static inline __attribute__((always_inline)) void inlined(int deeper) { stand_still(deeper); __asm__ volatile(""); }
static void *worker(void *deeper) { arrive(); inlined((int)(long)deeper); return NULL; }
static void handler(int signal) { (void)signal; arrive(); stand_still(2); __asm__ volatile(""); }
static void *signalled(void *none) { raise(SIGUSR1); return none; }
static void *vectors(void *none) {
    unsigned char pattern[64];
    for (int i = 0; i < 64; ++i) pattern[i] = (unsigned char)(0xa0 + i);
    arrive();
#define SPIN "mov $0x1122334455667788, %%r12\n mov $0x0102030405060708, %%rdx\n 1: pause\n jmp 1b" :: "m"(pattern) : "r12", "rdx"
    if (__builtin_cpu_supports("avx512f"))
        __asm__ volatile("vmovdqu64 %0, %%zmm1\n vmovdqu64 %0, %%zmm20\n kxnorw %%k1, %%k1, %%k1\n fldpi\n" SPIN);
    else
        __asm__ volatile("vmovdqu %0, %%ymm1\n fldpi\n" SPIN);
    return none;
}
int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 0, expected = threads;
    signal(SIGUSR1, handler);
    int file = open("/data.bin", O_RDWR | O_CREAT, 0600);
    if (write(file, "content of the mapped file", 27) != 27 || ftruncate(file, 8192) != 0) abort();
    char *mapped = mmap((void *)0x200000000000, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file, 0);
    strcpy(mapped + 4096, "written over the file");
    char *shared = mmap((void *)0x200001000000, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    strcpy(shared, "in shared memory");
    pthread_t thread;
    for (int i = 0; i < threads; ++i) pthread_create(&thread, NULL, worker, (void *)(long)(i % 3));
    if (argc > 2) {
        pthread_create(&thread, NULL, signalled, NULL);
        pthread_create(&thread, NULL, vectors, NULL);
        expected += 2;
    }
    while (ready < expected) usleep(1000);
    usleep(200000);
    puts("ready");
    fflush(stdout);
    stand_still(1);
}
"""


def c_program(arguments, flags="-O1 -g"):
    """The command of a container that compiles it and becomes it."""
    return ["sh", "-c", f"cat >/prog.c <<'C'\n{SOURCE}\nC\ngcc {flags} -pthread -o /prog /prog.c && exec /prog {arguments}"]


PYTHON = ["python3", "-uc", """
import threading, time
def inner(): time.sleep(100000)
for _ in range(3): threading.Thread(target=inner, daemon=True).start()
time.sleep(0.3); print('ready'); inner()
"""]
REDIS = ["sh", "-c", "redis-server --save '' --hz 1 & sleep 1; echo ready; wait"]
