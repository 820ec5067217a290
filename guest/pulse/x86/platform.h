/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the freestanding witness know of each other. */
#ifndef PULSE_X86_PLATFORM_H
#define PULSE_X86_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/witness.h"

void *memset(void *to, int c, size_t n);
void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);

#define RAM_MAX_RANGES 16

/** struct ram_range - Usable memory */
struct ram_range {
	uint64_t base;
	uint64_t bytes;
};

/**
 * struct platform - What was found out about the machine
 * @form:	How we were started
 * @fw_cfg:	Whether the firmware configuration device is there
 * @cmdline:	All parameters
 * @ram:	Usable memory above 1 MiB, rising
 * @ram_ranges:	How many
 * @ram_bytes:	All usable memory
 */
struct platform {
	enum pulse_form form;
	bool fw_cfg;
	char cmdline[1024];
	struct ram_range ram[RAM_MAX_RANGES];
	unsigned int ram_ranges;
	uint64_t ram_bytes;
};

extern struct witness witness;
extern struct platform platform;

/* main.c */

/**
 * pulse_main() - The boot vCPU, in ring 3
 * @start_info:	PVH start info, 0 without one
 */
__attribute__((noreturn)) void pulse_main(uint64_t start_info);

/**
 * user_fault() - A fault of our own, in ring 3 again
 * @vector:	Exception
 * @error:	Its error code
 * @rip:	Where
 * @address:	CR2
 */
__attribute__((noreturn)) void user_fault(uint64_t vector, uint64_t error, uint64_t rip,
					  uint64_t address);

/**
 * ap_main() - One of the other vCPUs, in ring 3
 * @n:	Its number
 */
__attribute__((noreturn)) void ap_main(uint64_t n);

/* machine.c: start info, fw_cfg, memory map, parameters */

/**
 * machine_find() - Learn form, parameters and memory map
 * @p:		Set
 * @start_info:	PVH start info, or 0 when started as firmware
 */
void machine_find(struct platform *p, uint64_t start_info);

/* fwcfg.c */

/**
 * fwcfg_present() - Whether the device answers
 * Return: true when it does
 */
bool fwcfg_present(void);

/**
 * fwcfg_read() - Read a numbered item
 * @key:	Its number
 * @to:		Where to
 * @bytes:	How many
 */
void fwcfg_read(uint16_t key, void *to, uint32_t bytes);

/**
 * fwcfg_file() - Look a file up
 * @name:	Its name
 * @bytes:	Set to its size
 * Return: its number, 0 when there is none
 */
uint16_t fwcfg_file(const char *name, uint32_t *bytes);

/* paging.c */

/**
 * paging_full() - Map all of memory and the MMIO below 4 GiB, and switch to these tables
 * @p:	Memory map
 */
void paging_full(const struct platform *p);

/**
 * paging_map() - Map device memory wherever it is
 * @gpa:	Address
 * Return: the same as a pointer; the large page around it is mapped
 */
volatile void *paging_map(uint64_t gpa);

/**
 * paging_root() - The tables in use, for the other vCPUs
 * Return: value for CR3
 */
uint64_t paging_root(void);

/**
 * early_pages() - Take pages behind the image
 * @count:	How many
 * Return: zeroed memory, never given back
 */
void *early_pages(uint64_t count);

/**
 * early_end() - First address that was not taken
 * Return: guest physical address
 */
uint64_t early_end(void);

/* timer.c */

/**
 * timer_frequency() - Find the TSC's frequency
 * @args:	May give it
 * @source:	Set to where it is from
 * Return: Hz
 */
uint64_t timer_frequency(const struct args *args, uint32_t *source);

/**
 * kvmclock_enable() - Let the host publish its monotonic clock to this vCPU
 * @cpu:	Number
 * Return: false where there is no kvmclock
 */
bool kvmclock_enable(unsigned int cpu);

/**
 * kvmclock_read() - Read the monotonic clock
 * @cpu:	Number, this vCPU's
 * Return: ns since the guest was started
 */
uint64_t kvmclock_read(unsigned int cpu);

/**
 * kvmclock_changes() - How often the host changed the clock's parameters
 * @cpu:	Number
 * Return: version word
 */
uint32_t kvmclock_changes(unsigned int cpu);

/**
 * wall_read() - Read the wall clock
 * @mono_ns:	Monotonic clock now
 * Return: ns since 1970, 0 where there is none
 */
uint64_t wall_read(uint64_t mono_ns);

/* cpu.c */

/**
 * cpus_start() - Start the other vCPUs
 * @want:	How many there are in all, 0: unknown, wait a while and see
 * Return: how many work
 */
unsigned int cpus_start(unsigned int want);

/**
 * cpu_apic_id() - APIC id of this vCPU
 * Return: id
 */
uint32_t cpu_apic_id(void);

/**
 * lapic_tsc_hz() - Measure the TSC against the APIC timer, taken to count nanoseconds
 * Return: Hz
 */
uint64_t lapic_tsc_hz(void);

/**
 * cpu_sleep() - Halt this vCPU for a while
 * @ns:	How long, about
 */
void cpu_sleep(uint64_t ns);

/* serial.c */

/** serial_start() - Find the console */
void serial_start(void);

/**
 * serial_send() - Queue a line
 * @s:		Text
 * @length:	Its length; what doesn't fit the queue is dropped
 */
void serial_send(const char *s, size_t length);

/**
 * serial_step() - Give the device what it takes now
 * Return: true when the device was touched
 */
bool serial_step(void);

/**
 * serial_poll() - Read one character
 * Return: it, or -1
 */
int serial_poll(void);

/** serial_flush() - Wait until all is sent, or nothing moves any more */
void serial_flush(void);

/* exits.c */

/**
 * exits_measure() - Make each kind of access that leaves the guest, many times
 * @w:		Clock
 * @out:	Set, PULSE_EXITS entries
 */
void exits_measure(const struct witness *w, struct pulse_exit *out);

/* exit.c */

/**
 * machine_exit() - End the guest
 * @w:		Parameters and machine
 * @code:	For the debug-exit device
 */
__attribute__((noreturn)) void machine_exit(const struct witness *w, uint32_t code);

#endif
