/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clocks: the TSC's frequency, and KVM's clocks. KVM publishes per vCPU how to turn the TSC into
 * its monotonic time (Documentation/virt/kvm/x86/msr.rst); ring 3 reads it there, ring 0 is needed
 * only to say where it shall be. The wall clock (time of boot) is written by the host each time it
 * is asked.
 */
#include "insn.h"
#include "platform.h"

#define KVM_LEAF        0x40000000
#define FEATURE_CLOCK2  (1u << 3) /* 0x40000001 eax */
#define MSR_WALL_CLOCK  0x4b564d00
#define MSR_SYSTEM_TIME 0x4b564d01

#define PIT_HZ          1193182
#define PIT_TICKS       11932 /* 10 ms */

/** struct system_time - One vCPU's clock, as the host writes it */
struct system_time {
	uint32_t version; /* odd while the host writes */
	uint32_t pad;
	uint64_t tsc;
	uint64_t ns;
	uint32_t mult;
	int8_t shift;
	uint8_t flags;
	uint8_t pad2[2];
};

/** struct wall_clock - Time of boot */
struct wall_clock {
	uint32_t version;
	uint32_t sec;
	uint32_t nsec;
};

static volatile struct system_time system_time[PULSE_MAX_CPUS] __attribute__((aligned(64)));
static volatile struct wall_clock wall_clock __attribute__((aligned(16)));

/* Base of KVM's CPUID leaves, or 0: other hypervisors' leaves (Hyper-V's) may come first. */
static uint32_t kvm_base(uint32_t *last)
{
	if (!(cpuid(1, 0).ecx & 1u << 31))
		return 0;
	for (uint32_t base = KVM_LEAF; base < KVM_LEAF + 0x1000; base += 0x100) {
		struct regs r = cpuid(base, 0);

		if (r.ebx == 0x4b4d564b && r.ecx == 0x564b4d56 && r.edx == 0x4d) { /* "KVMKVMKVM" */
			*last = r.eax ? r.eax : base + 1;
			return base;
		}
	}
	return 0;
}

bool kvmclock_enable(unsigned int cpu)
{
	uint32_t last, base = kvm_base(&last);

	if (!base || !(cpuid(base + 1, 0).eax & FEATURE_CLOCK2))
		return false;
	wrmsr(MSR_SYSTEM_TIME, (uintptr_t)&system_time[cpu] | 1);
	return true;
}

static uint64_t scaled(uint64_t ticks, uint32_t mult, int shift)
{
	ticks = shift < 0 ? ticks >> -shift : ticks << shift;
	return (uint64_t)(((unsigned __int128)ticks * mult) >> 32);
}

uint64_t kvmclock_read(unsigned int cpu)
{
	volatile struct system_time *t = &system_time[cpu];
	uint32_t version;
	uint64_t now;

	do {
		version = t->version;
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		now = t->ns + scaled(tsc() - t->tsc, t->mult, t->shift);
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
	} while (version & 1 || version != t->version);
	return now;
}

uint32_t kvmclock_changes(unsigned int cpu)
{
	return system_time[cpu].version / 2;
}

uint64_t wall_read(uint64_t mono_ns)
{
	uint32_t last, base = kvm_base(&last);

	if (!base)
		return 0;
	wrmsr(MSR_WALL_CLOCK, (uintptr_t)&wall_clock);
	if (!wall_clock.version)
		return 0;
	return wall_clock.sec * 1000000000ull + wall_clock.nsec + mono_ns;
}

static uint64_t kvmclock_hz(void)
{
	uint64_t hz;

	if (!kvmclock_enable(0) || !system_time[0].mult)
		return 0;
	hz = (1000000000ull << 32) / system_time[0].mult;
	return system_time[0].shift < 0 ? hz << -system_time[0].shift : hz >> system_time[0].shift;
}

static uint64_t cpuid_hz(void)
{
	struct regs r = {0};

	if (cpuid(0, 0).eax >= 0x15)
		r = cpuid(0x15, 0);
	return r.eax && r.ecx ? (uint64_t)r.ecx * r.ebx / r.eax : 0;
}

static uint64_t hypervisor_hz(void)
{
	uint32_t last, base = kvm_base(&last);

	return base && last >= base + 0x10 ? cpuid(base + 0x10, 0).eax * 1000ull : 0;
}

/* Channel 2 of the PIT counts 10 ms; its output shows in port 0x61. */
static uint64_t pit_hz(void)
{
	uint64_t start, limit;

	outb(0x61, (inb(0x61) & 0xfc) | 1);
	outb(0x43, 0xb0);
	outb(0x42, PIT_TICKS & 0xff);
	outb(0x42, PIT_TICKS >> 8);
	start = tsc();
	limit = start + 1000000000ull;
	if (inb(0x61) & 0x20)
		return 0; /* no PIT: floating bus */
	while (!(inb(0x61) & 0x20))
		if (tsc() > limit)
			return 0;
	return (tsc() - start) * PIT_HZ / PIT_TICKS;
}

uint64_t timer_frequency(const struct args *args, uint32_t *source)
{
	uint64_t hz;

	if (args->tsc_hz) {
		*source = PULSE_TSC_PARAMETER;
		return args->tsc_hz;
	}
	*source = PULSE_TSC_HYPERVISOR;
	hz = hypervisor_hz();
	if (!hz) {
		*source = PULSE_TSC_KVMCLOCK;
		hz = kvmclock_hz();
	}
	if (!hz) {
		*source = PULSE_TSC_CPUID;
		hz = cpuid_hz();
	}
	if (!hz) {
		*source = PULSE_TSC_PIT;
		hz = pit_hz();
	}
	if (!hz) {
		*source = PULSE_TSC_LAPIC;
		hz = lapic_tsc_hz();
	}
	return hz;
}
