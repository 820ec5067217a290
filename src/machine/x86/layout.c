/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: q35 has ECAM at 0xb0000000, so RAM ends there; a guest with more gets 2 GiB
 * below 4 GiB, which keeps the border at a multiple of 1 GiB for huge pages, and the rest above.
 */
#include "machine/x86/layout.h"

/**
 * x86_layout_q35() - Divide RAM as QEMU's q35 does
 * @ram_size:	Bytes
 *
 * Return: the two parts
 */
struct x86_layout x86_layout_q35(uint64_t ram_size)
{
	uint64_t low = ram_size >= 0xb0000000ULL ? 0x80000000ULL : 0xb0000000ULL;

	if (ram_size <= low)
		return (struct x86_layout){.below_4g = ram_size};
	return (struct x86_layout){.below_4g = low, .above_4g = ram_size - low};
}

/**
 * x86_e820() - The memory map for a kernel that is started without firmware
 * @l:		RAM
 * @ret:	Filled in, ordered
 * @room:	Its length, 8 suffices
 *
 * Return: entries
 */
size_t x86_e820(const struct x86_layout *l, struct e820_entry *ret, size_t room)
{
	const struct e820_entry all[] = {
		{0, X86_VMGENID_GPA, E820_RAM},
		{X86_VMGENID_GPA, 0xa0000 - X86_VMGENID_GPA, E820_RESERVED},
		{0xf0000, 0x10000, E820_RESERVED},
		{0x100000, l->below_4g - 0x100000, E820_RAM},
		{X86_ECAM_GPA, X86_ECAM_SIZE, E820_RESERVED},
		{X86_KVM_PAGES_GPA, X86_KVM_PAGES_SIZE, E820_RESERVED},
		{X86_4GIB, l->above_4g, E820_RAM},
		{X86_HT_GPA, l->hypertransport ? X86_HT_SIZE : 0, E820_RESERVED},
	};
	size_t n = 0;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && n < room; i++)
		if (all[i].size)
			ret[n++] = all[i];
	return n;
}
