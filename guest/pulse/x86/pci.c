/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration space by the old ports, bus 0; addresses for BARs that no firmware has placed. */
#include "pci.h"
#include "insn.h"

#define PORT_ADDRESS   0xcf8
#define PORT_DATA      0xcfc
#define COMMAND_MEMORY 2
#define COMMAND_MASTER 4
#define MULTIFUNCTION  (1u << 23)
#define BAR_IO         1
#define BAR_64         4
#define BAR_MASK       0xfffffff0u

/* Free on q35 whatever the memory size: above RAM and the configuration window, below the IOAPIC.
 */
#define WINDOW         0xe0000000u
#define WINDOW_END     0xfe000000u

static uint32_t next_free = WINDOW;

uint32_t pci_read(uint8_t devfn, uint8_t reg)
{
	outl(PORT_ADDRESS, 0x80000000u | (uint32_t)devfn << 8 | reg);
	return inl(PORT_DATA);
}

void pci_write(uint8_t devfn, uint8_t reg, uint32_t value)
{
	outl(PORT_ADDRESS, 0x80000000u | (uint32_t)devfn << 8 | reg);
	outl(PORT_DATA, value);
}

uint8_t pci_read8(uint8_t devfn, uint8_t reg)
{
	return (uint8_t)(pci_read(devfn, reg & 0xfc) >> 8 * (reg & 3));
}

int pci_next(int devfn, uint32_t *id)
{
	for (; devfn < 256; devfn++) {
		if (devfn % 8 && !(pci_read((uint8_t)(devfn & ~7), PCI_HEADER) & MULTIFUNCTION)) {
			devfn |= 7;
			continue;
		}
		*id = pci_read((uint8_t)devfn, PCI_ID);
		if (*id != UINT32_MAX)
			return devfn;
	}
	return -1;
}

uint64_t pci_bar(uint8_t devfn, unsigned int bar)
{
	uint8_t reg = (uint8_t)(PCI_BAR0 + 4 * bar);
	uint32_t low = pci_read(devfn, reg);
	uint64_t high = low & BAR_64 ? pci_read(devfn, (uint8_t)(reg + 4)) : 0;

	return high << 32 | (low & BAR_MASK);
}

/* Sizes one BAR by the all-ones probe, and places it; false when there is no room. */
static bool place(uint8_t devfn, uint8_t reg)
{
	uint32_t bytes, at;

	pci_write(devfn, reg, UINT32_MAX);
	bytes = ~(pci_read(devfn, reg) & BAR_MASK) + 1;
	if (!bytes)
		return true;
	at = (next_free + bytes - 1) & ~(bytes - 1);
	if (at < next_free || at + bytes > WINDOW_END)
		return false;
	pci_write(devfn, reg, at);
	next_free = at + bytes;
	return true;
}

void pci_enable(uint8_t devfn)
{
	for (unsigned int bar = 0; bar < 6; bar++) {
		uint8_t reg = (uint8_t)(PCI_BAR0 + 4 * bar);
		uint32_t value = pci_read(devfn, reg);
		bool wide = !(value & BAR_IO) && value & BAR_64;

		if (!(value & BAR_IO) && !pci_bar(devfn, bar)) {
			if (wide)
				pci_write(devfn, (uint8_t)(reg + 4), 0);
			place(devfn, reg);
		}
		bar += wide;
	}
	pci_write(devfn, PCI_COMMAND,
		  pci_read(devfn, PCI_COMMAND) | COMMAND_MEMORY | COMMAND_MASTER);
}
