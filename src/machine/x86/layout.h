/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_X86_LAYOUT_H
#define MACHINE_X86_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where RAM is on q35, and what the guest is told about it. */

#define X86_4GIB           0x100000000ULL
#define X86_VMGENID_GPA    0x9e000ULL /* without firmware: the generation id's page */
#define X86_ECAM_GPA       0xb0000000ULL
#define X86_ECAM_SIZE      0x10000000ULL
#define X86_KVM_PAGES_GPA  0xfeffc000ULL
#define X86_KVM_PAGES_SIZE 0x4000ULL
#define X86_HT_GPA         0xfd00000000ULL
#define X86_HT_SIZE        0x300000000ULL

/**
 * struct x86_layout - RAM below and above 4 GiB, bytes
 * @hypertransport: The CPU is AMD's: the 12 GiB below 1 TiB aren't memory
 */
struct x86_layout {
	uint64_t below_4g, above_4g;
	bool hypertransport;
};

enum e820_type { E820_RAM = 1, E820_RESERVED = 2, E820_ACPI = 3, E820_NVS = 4 };

/**
 * struct e820_entry - A range as firmware and boot protocols report it
 */
struct e820_entry {
	uint64_t addr, size;
	uint32_t type;
};

struct x86_layout x86_layout_q35(uint64_t ram_size);
size_t x86_e820(const struct x86_layout *l, struct e820_entry *ret, size_t room);

#endif
