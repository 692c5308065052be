// The process that the benchmarks snap and rewind: a heap of a given size, half of it random, half of it
// text, and a tick every millisecond that shows from outside when it stood still.
//
//   ticker RING MIB
//
// RING is a file of struct ring, shared with whoever measures (bench/ticker.py). It has a fixed size and lies
// on a bind mount: neither CRIU's dump nor a rewind touches what is in it, so that the ticks before and after
// stand side by side. Every tick changes one byte of one page of the heap, as a program at work would.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { slots = 1 << 17 };  // two minutes of ticks

struct ring {
    uint64_t count;      // ticks so far; the newest is at[(count - 1) % slots]
    uint64_t at[slots];  // CLOCK_REALTIME in ns. Not the monotonic clock: CRIU restores into a time namespace
                         // in which that one goes on from the moment of the dump
};

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fill(char* heap, size_t size) {
    uint64_t x = 88172645463325252u;  // xorshift64: random enough that nothing compresses it
    for (size_t i = 0; i < size / 2; i += sizeof x) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        memcpy(heap + i, &x, sizeof x);
    }
    for (size_t i = size / 2; i + 64 <= size; i += 64) {
        snprintf(heap + i, 64, "record %zu: the quick brown fox, state %zu, next %zu", i / 64, i % 7,
                 i * 31 % 1009);
    }
}

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    int fd = open(argv[1], O_RDWR | O_CREAT, 0644);
    if (fd < 0 || ftruncate(fd, sizeof(struct ring)) != 0) return 1;
    struct ring* ring = mmap(NULL, sizeof *ring, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (ring == MAP_FAILED) return 1;
    close(fd);
    size_t size = strtoul(argv[2], NULL, 10) << 20;
    char* heap = malloc(size);
    if (heap == NULL) return 1;
    fill(heap, size);
    for (uint64_t turn = 0;; ++turn) {
        // The count is taken from the ring: a rewind turns our own memory back, but not the ring.
        ring->at[ring->count % slots] = now();
        __atomic_store_n(&ring->count, ring->count + 1, __ATOMIC_RELEASE);
        heap[turn * 4099 % size] ^= 1;
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}
