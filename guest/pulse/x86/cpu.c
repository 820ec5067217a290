/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other vCPUs. One INIT and one SIPI to all but self start them together; each takes a number
 * and by it its TSS and stack, all prepared before (entry.S, ap_long_entry). That needs no list of
 * APIC ids, so any topology will do.
 */
#include "insn.h"
#include "platform.h"

#define LAPIC           0xfee00000ull
#define LAPIC_ICR       0x300
#define LAPIC_SPURIOUS  0x0f0
#define LAPIC_TIMER     0x320
#define LAPIC_COUNT     0x380
#define LAPIC_CURRENT   0x390
#define LAPIC_DIVIDE    0x3e0
#define SPURIOUS_ON     0x121 /* enabled; vector 33, see the IDT in entry.S */
#define TIMER_ONCE      0x20  /* vector 32 */
#define DIVIDE_BY_1     0xb

#define ICR_INIT_OTHERS 0x000c4500
#define ICR_SIPI_OTHERS (0x000c4600 | TRAMPOLINE_BASE >> 12)
#define ICR_BUSY        (1u << 12)

#define AP_STACK_PAGES  2 /* the last 512 bytes are ring 0's */
#define CALIBRATE_NS    10000000
#define GO_POLL_NS      200000
#define WAIT_UNKNOWN_NS 20000000ull
#define WAIT_KNOWN_NS   2000000000ull
#define RETRY_NS        100000000ull

/** struct tss - 64-bit task state: only the stack for ring 0 matters */
struct tss {
	uint32_t reserved0;
	uint64_t rsp0;
	uint64_t rest[11];
	uint16_t reserved1;
	uint16_t io_bitmap;
} __attribute__((packed));

extern uint64_t gdt[];
extern const char trampoline[], trampoline_end[], trampoline_cr3[];

uint32_t ap_ticket = 1;
uint64_t ap_stacks[PULSE_MAX_CPUS];
static struct tss ap_tss[PULSE_MAX_CPUS] __attribute__((aligned(128)));
static uint32_t arrived = 1;

uint32_t cpu_apic_id(void)
{
	return cpuid(0, 0).eax >= 0xb && cpuid(0xb, 0).ebx ? cpuid(0xb, 0).edx
							   : cpuid(1, 0).ebx >> 24;
}

static void prepare(unsigned int n)
{
	uint64_t top = (uintptr_t)early_pages(AP_STACK_PAGES) + AP_STACK_PAGES * PAGE_BYTES;
	uint64_t at = (uintptr_t)&ap_tss[n], limit = sizeof(struct tss) - 1;

	ap_stacks[n] = top - 512;
	ap_tss[n].rsp0 = top;
	ap_tss[n].io_bitmap = sizeof(struct tss); /* none: only the boot vCPU uses ports */
	gdt[GDT_FIXED + 2 * n] = limit | (at & 0xffffff) << 16 | 0x89ull << 40 |
				 (at >> 24 & 0xff) << 56;
	gdt[GDT_FIXED + 2 * n + 1] = at >> 32;
}

static volatile uint32_t *lapic(uint32_t reg)
{
	return (volatile uint32_t *)(LAPIC + reg);
}

static void send(uint32_t command)
{
	*lapic(LAPIC_ICR) = command;
	while (*lapic(LAPIC_ICR) & ICR_BUSY)
		pause();
}

static bool wait_for(unsigned int want, uint64_t ns)
{
	uint64_t until = tsc() + clock_ticks(&witness.clock, ns);

	while (tsc() < until) {
		if (__atomic_load_n(&arrived, __ATOMIC_ACQUIRE) >= want)
			return true;
		pause();
	}
	return false;
}

unsigned int cpus_start(unsigned int want)
{
	unsigned int room = want ? want : PULSE_MAX_CPUS;
	uint64_t waited = 0;

	if (want == 1)
		return 1;
	for (unsigned int n = 1; n < room; n++)
		prepare(n);
	memcpy((void *)TRAMPOLINE_BASE, trampoline, (size_t)(trampoline_end - trampoline));
	*(uint32_t *)(TRAMPOLINE_BASE + (trampoline_cr3 - trampoline)) = (uint32_t)paging_root();
	send(ICR_INIT_OTHERS);
	send(ICR_SIPI_OTHERS);
	if (!want)
		wait_for(PULSE_MAX_CPUS, WAIT_UNKNOWN_NS);
	while (want && !wait_for(want, RETRY_NS) && waited < WAIT_KNOWN_NS)
		waited += RETRY_NS;
	return __atomic_load_n(&arrived, __ATOMIC_ACQUIRE);
}

uint64_t lapic_tsc_hz(void)
{
	uint64_t start = tsc();

	*lapic(LAPIC_SPURIOUS) = SPURIOUS_ON;
	*lapic(LAPIC_DIVIDE) = DIVIDE_BY_1;
	*lapic(LAPIC_COUNT) = UINT32_MAX;
	while (UINT32_MAX - *lapic(LAPIC_CURRENT) < CALIBRATE_NS)
		pause();
	return (tsc() - start) * (1000000000 / CALIBRATE_NS);
}

/* The timer counts nanoseconds: KVM's and QEMU's APIC bus runs at 1 GHz. Elsewhere the sleep is
 * longer or shorter. */
void cpu_sleep(uint64_t ns)
{
	*lapic(LAPIC_COUNT) = (uint32_t)ns;
	halt();
}

void ap_main(uint64_t n)
{
	struct witness *w = &witness;

	w->cpu[n].index = (uint32_t)n;
	w->cpu[n].apic_id = cpu_apic_id();
	kvmclock_enable((unsigned int)n);
	*lapic(LAPIC_SPURIOUS) = SPURIOUS_ON;
	*lapic(LAPIC_DIVIDE) = DIVIDE_BY_1;
	*lapic(LAPIC_TIMER) = TIMER_ONCE;
	w->cpu[n].online = 1;
	__atomic_fetch_add(&arrived, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&w->go, __ATOMIC_ACQUIRE))
		cpu_sleep(GO_POLL_NS);
	witness_work(w, (unsigned int)n);
}
