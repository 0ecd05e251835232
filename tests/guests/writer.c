/* A guest's only program: it writes numbered blocks to a disk and says which are acknowledged.
 *
 *   writer DEVICE SLOTS PAUSE
 *
 * Block n is 4 KiB at slot n mod SLOTS. It is written with O_DIRECT and O_DSYNC: when write()
 * returns, the guest has been told that it is on the disk. First all slots are read. Lines:
 *
 * Each number is said twice: what is said while nobody listens is lost, in the middle of a line.
 *
 *   READ n n    the highest block that is on the disk; all before it are there, or:
 *   GONE n n    a block before the highest one is not there, or not what was written
 *   ACK n n     block n has been acknowledged
 *   BAD text    something that must not happen
 *
 * PAUSE are microseconds between two blocks.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SIZE = 4096, WORDS = SIZE / 8 };
static const uint64_t MARK = 0x67616e7472792021ULL;

/* Each word is another one, so that half a block is known for what it is. */
static uint64_t word(uint64_t number, int index) {
    return MARK ^ (number * 0x9e3779b97f4a7c15ULL) ^ ((uint64_t)index << 32);
}

static void fill(uint64_t *block, uint64_t number) {
    block[0] = number;
    for (int index = 1; index < WORDS; index++) block[index] = word(number, index);
}

/* The number of a block; 0 where nothing was written yet; UINT64_MAX where it is damaged. */
static uint64_t number_of(const uint64_t *block) {
    int empty = 1;
    for (int index = 0; index < WORDS; index++) empty &= block[index] == 0;
    if (empty) return 0;
    for (int index = 1; index < WORDS; index++)
        if (block[index] != word(block[0], index)) return UINT64_MAX;
    return block[0];
}

static void say(const char *word, uint64_t number) {
    printf("%s %llu %llu\n", word, (unsigned long long)number, (unsigned long long)number);
    fflush(stdout);
}

static void bad(const char *what) {
    printf("BAD %s: %s\n", what, strerror(errno));
    fflush(stdout);
    for (;;) pause();
}

int main(int count, char **given) {
    if (count != 4) return 2;
    uint64_t slots = strtoull(given[2], NULL, 10), highest = 0;
    useconds_t pause_between = (useconds_t)strtoul(given[3], NULL, 10);
    int disk = open(given[1], O_RDWR | O_DIRECT | O_DSYNC);
    if (disk < 0) bad("open");
    uint64_t *block = NULL, *found = calloc(slots, sizeof *found);
    if (posix_memalign((void **)&block, SIZE, SIZE) || !found) bad("memory");
    for (uint64_t slot = 0; slot < slots; slot++) {
        if (pread(disk, block, SIZE, (off_t)(slot * SIZE)) != SIZE) bad("read");
        found[slot] = number_of(block);
        if (found[slot] != UINT64_MAX && found[slot] > highest) highest = found[slot];
    }
    uint64_t first = highest >= slots ? highest - slots + 1 : 1;
    /* The block after the highest one was under way: old, new or half, nobody was told. */
    if (first > 1) first++;
    for (uint64_t number = first; number < highest; number++)
        if (found[number % slots] != number) say("GONE", number);
    say("READ", highest);
    for (uint64_t number = highest + 1;; number++) {
        fill(block, number);
        if (pwrite(disk, block, SIZE, (off_t)(number % slots * SIZE)) != SIZE) bad("write");
        say("ACK", number);
        usleep(pause_between);
    }
}
