/* A guest that is nothing but this: what writer.c does, without a kernel, from the disk it is on.
 *
 * It runs in real mode, from the first sectors of its disk, with the BIOS's services: so it is there
 * in a few seconds even where the machine that emulates it is emulated itself. A BIOS asks for no
 * cache of the disk: a write that has come back has been acknowledged as being on the disk.
 *
 * Block n is 4 KiB at slot n mod SLOTS, behind the first MiB. First all slots are read. It says what
 * writer.c says, on the first serial port, and goes down when the power button is pressed. Between
 * two blocks it waits for TICKS of the clock, each of 55 ms.
 *
 *   gcc -m16 … -DSLOTS=256 -DTICKS=4, linked as boot_writer.ld says
 */
#include <stdint.h>

enum {
    WORDS = 1024, SECTORS = 8, AREA = 2048, AT_ONCE = 4,
    SERIAL = 0x3f8, EVENTS = 0x600, ENABLE = 0x602, CONTROL = 0x604, BUTTON = 1 << 8, OFF = 1 << 13,
};
static const uint32_t MARK = 0x67616e74, DAMAGED = UINT32_MAX;

/* Below 64 KiB, behind the program. */
static uint32_t *const buffer = (uint32_t *)0xa000;
static uint32_t *const found = (uint32_t *)0xe000;
static uint8_t drive;
static struct {
    uint8_t size, zero;
    uint16_t sectors, offset, segment;
    uint64_t first;
} __attribute__((packed)) packet = {16, 0, 0, 0xa000, 0, 0};

__asm__(
    ".section .start, \"ax\"\n"
    ".code16gcc\n"
    ".globl start\n"
    "start:\n"
    "  cli\n"
    "  xorw %ax, %ax\n"
    "  movw %ax, %ds\n"
    "  movw %ax, %es\n"
    "  movw %ax, %ss\n"
    "  movl $0x7c00, %esp\n"
    "  ljmpw $0, $here\n"
    "here:\n"
    "  sti\n"
    "  cld\n"
    "  movw $rest, %si\n"
    "  movb $0x42, %ah\n"
    "  int $0x13\n"
    "  jc stop\n"
    "  movzbl %dl, %edx\n"
    "  pushl %edx\n"
    "  pushl $0\n"
    "  jmp writes\n"
    "stop:\n"
    "  hlt\n"
    "  jmp stop\n"
    "rest:\n"
    "  .byte 16, 0\n"
    "  .word 8, 0x7e00, 0\n"
    "  .long 1, 0\n"
    "  .org 510\n"
    "  .word 0xaa55\n"
    ".text\n"
    ".code16gcc\n");

static uint8_t in8(uint16_t port) {
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static uint16_t in16(uint16_t port) {
    uint16_t value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void out8(uint16_t port, uint8_t value) {
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static void out16(uint16_t port, uint16_t value) {
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static void put(const char *text) {
    for (; *text; text++) {
        while (!(in8(SERIAL + 5) & 0x20)) {}
        out8(SERIAL, (uint8_t)*text);
    }
}

static void say(const char *word, uint32_t number) {
    char digits[12], *first = digits + sizeof digits - 1;
    *first = 0;
    do {
        *--first = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    put(word), put(" "), put(first), put(" "), put(first), put("\r\n");
}

/* A BIOS's number for reading is 0x42, for writing 0x43. */
static int failed(uint16_t command, uint32_t slot, uint16_t blocks) {
    uint16_t answer = command << 8;
    uint8_t carry;
    packet.sectors = blocks * SECTORS;
    packet.first = AREA + slot * SECTORS;
    __asm__ volatile("int $0x13; setc %1"
                     : "+a"(answer), "=qm"(carry)
                     : "d"(drive), "S"(&packet)
                     : "memory", "cc");
    return carry;
}

/* Each word is another one, so that half a block is known for what it is. */
static uint32_t word(uint32_t number, uint32_t index) {
    return MARK ^ (number * 0x9e3779b9) ^ (index << 16);
}

/* The number of a block; 0 where nothing was written yet. */
static uint32_t number_of(const uint32_t *block) {
    int empty = 1;
    for (int index = 0; index < WORDS; index++) empty &= block[index] == 0;
    if (empty) return 0;
    for (int index = 1; index < WORDS; index++)
        if (block[index] != word(block[0], index)) return DAMAGED;
    return block[0];
}

static void bad(const char *what) {
    put("BAD "), put(what), put("\r\n");
    for (;;) __asm__ volatile("hlt");
}

static uint32_t all_read(void) {
    uint32_t highest = 0;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        if (slot % AT_ONCE == 0 && failed(0x42, slot, AT_ONCE)) bad("read");
        found[slot] = number_of(buffer + slot % AT_ONCE * WORDS);
        if (found[slot] != DAMAGED && found[slot] > highest) highest = found[slot];
    }
    uint32_t first = highest >= SLOTS ? highest - SLOTS + 1 : 1;
    /* The block after the highest one was under way: old, new or half, nobody was told. */
    if (first > 1) first++;
    for (uint32_t number = first; number < highest; number++)
        if (found[number % SLOTS] != number) say("GONE", number);
    say("READ", highest);
    return highest;
}

__attribute__((noreturn, used)) void writes(uint32_t from) {
    drive = (uint8_t)from;
    out16(ENABLE, BUTTON);
    for (uint32_t number = all_read() + 1;; number++) {
        if (in16(EVENTS) & BUTTON) out16(CONTROL, OFF);
        buffer[0] = number;
        for (int index = 1; index < WORDS; index++) buffer[index] = word(number, index);
        if (failed(0x43, number % SLOTS, 1)) bad("write");
        say("ACK", number);
        for (int tick = 0; tick < TICKS; tick++) __asm__ volatile("hlt");
    }
}
