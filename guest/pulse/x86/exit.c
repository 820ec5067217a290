/* SPDX-License-Identifier: Apache-2.0 */
/* The ways to end: a debug-exit device, ACPI's S5, a reset, or nothing but standing still. */
#include "insn.h"
#include "pci.h"
#include "platform.h"

#define LPC_DEVICE    0xf8 /* 00:1f.0 */
#define LPC_ID        0x29188086u
#define LPC_PMBASE    0x40
#define LPC_ACPI_CNTL 0x44
#define ACPI_ENABLE   0x80
#define PM_BASE       0x600
#define PM1_CONTROL   4
#define SLEEP_ENABLE  (1u << 13) /* sleep type 0 is S5 here */

/* microvm's generic event device: sleep control, status, reset */
#define GED_SLEEP     0xfea00200ull
#define GED_S5        (1u << 5 | 5u << 2)

/* The ICH9's PM registers: where the firmware put them, or ours when there was none. */
static uint16_t pm_base(void)
{
	if (pci_read(LPC_DEVICE, PCI_ID) != LPC_ID)
		return 0;
	if (!(pci_read(LPC_DEVICE, LPC_ACPI_CNTL) & ACPI_ENABLE)) {
		pci_write(LPC_DEVICE, LPC_PMBASE, PM_BASE | 1);
		pci_write(LPC_DEVICE, LPC_ACPI_CNTL, ACPI_ENABLE);
	}
	return pci_read(LPC_DEVICE, LPC_PMBASE) & 0xff80;
}

static void power_off(void)
{
	uint16_t base = pm_base();

	if (base)
		outw((uint16_t)(base + PM1_CONTROL), SLEEP_ENABLE);
	else
		*(volatile uint8_t *)GED_SLEEP = GED_S5;
}

static void reset(void)
{
	outb(0xcf9, 0x06);
	outb(0x64, 0xfe);
	*(volatile uint8_t *)(GED_SLEEP + 2) = 0x42;
}

void machine_exit(const struct witness *w, uint32_t code)
{
	serial_flush();
	switch (w->args.exit) {
	case EXIT_DEBUG: outl((uint16_t)w->args.exit_port, code); break;
	case EXIT_RESET: reset(); break;
	case EXIT_HALT: break;
	default: power_off(); reset();
	}
	for (;;)
		halt();
}
