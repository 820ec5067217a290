/* SPDX-License-Identifier: Apache-2.0 */
/* The instructions that C can't say, and the calls to ring 0 (see entry.S). */
#ifndef PULSE_X86_INSN_H
#define PULSE_X86_INSN_H

#include <stddef.h>
#include <stdint.h>

#include "layout.h"

/** struct regs - What CPUID answers */
struct regs {
	uint32_t eax, ebx, ecx, edx;
};

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void outw(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline void outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint16_t inw(uint16_t port)
{
	uint16_t value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void insb(uint16_t port, void *to, size_t count)
{
	__asm__ volatile("rep insb" : "+D"(to), "+c"(count) : "d"(port) : "memory");
}

static inline void pause(void)
{
	__builtin_ia32_pause();
}

extern const char call_wrmsr[], call_cpuid[], call_cr3[], call_halt[];

/**
 * cpuid() - Ask for CPU features, by ring 0
 * @leaf:	Leaf
 * @sub:	Subleaf
 * Return: the answer
 *
 * Where only ring 3 runs natively, CPUID in ring 3 tells about the host's CPU, not about the
 * guest's.
 */
static inline struct regs cpuid(uint32_t leaf, uint32_t sub)
{
	register const char *routine __asm__("r10") = call_cpuid;
	register uint32_t magic __asm__("r11") = CALL_MAGIC;
	struct regs r;

	__asm__ volatile("ud2"
			 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx), "+r"(magic)
			 : "r"(routine), "a"(leaf), "c"(sub)
			 : "memory");
	return r;
}

/**
 * wrmsr() - Write a model-specific register, by ring 0
 * @msr:	Its number
 * @value:	Value
 */
static inline void wrmsr(uint32_t msr, uint64_t value)
{
	register const char *routine __asm__("r10") = call_wrmsr;
	register uint32_t magic __asm__("r11") = CALL_MAGIC;

	__asm__ volatile("ud2"
			 : "+r"(magic)
			 : "r"(routine), "c"(msr), "a"((uint32_t)value),
			   "d"((uint32_t)(value >> 32))
			 : "memory");
}

/**
 * load_cr3() - Switch to other page tables, by ring 0
 * @cr3:	Guest physical address of the PML4
 */
static inline void load_cr3(uint64_t cr3)
{
	register const char *routine __asm__("r10") = call_cr3;
	register uint32_t magic __asm__("r11") = CALL_MAGIC;

	__asm__ volatile("ud2" : "+r"(magic) : "r"(routine), "D"(cr3) : "memory");
}

/** halt() - Wait for an interrupt, in ring 0 */
static inline void halt(void)
{
	register const char *routine __asm__("r10") = call_halt;
	register uint32_t magic __asm__("r11") = CALL_MAGIC;

	__asm__ volatile("ud2" : "+r"(magic) : "r"(routine) : "memory");
}

#endif
