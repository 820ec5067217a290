/* SPDX-License-Identifier: Apache-2.0 */
/* Prints all CPUID leaves that the CPU says it has, for a guest of test_differences.py. */
#include <cpuid.h>
#include <stdio.h>

static void leaf_print(unsigned int leaf, unsigned int sub)
{
	unsigned int a, b, c, d;

	__cpuid_count(leaf, sub, a, b, c, d);
	printf("%08x.%x: %08x %08x %08x %08x\n", leaf, sub, a, b, c, d);
}

static unsigned int subleaves(unsigned int leaf)
{
	switch (leaf) {
	case 0x4:
	case 0xb:
	case 0x8000001d: return 4;
	case 0x7:
	case 0x14: return 2;
	case 0xd: return 20;
	default: return 1;
	}
}

static void range_print(unsigned int base)
{
	unsigned int last, b, c, d;

	__cpuid_count(base, 0, last, b, c, d);
	if (last < base || last > base + 0x100)
		last = base;
	for (unsigned int leaf = base; leaf <= last; leaf++)
		for (unsigned int sub = 0; sub < subleaves(leaf); sub++)
			leaf_print(leaf, sub);
}

int main(void)
{
	range_print(0);
	range_print(0x40000000);
	range_print(0x80000000);
	return 0;
}
