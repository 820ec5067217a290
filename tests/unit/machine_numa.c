/* SPDX-License-Identifier: Apache-2.0 */
/* Where the memory of NUMA nodes is seen: around the holes, and on from 4 GiB. */
#include "machine/q35/numa.h"

#include "base/owned.h"
#include "machine/q35/acpi.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void check(const uint64_t *bytes, unsigned int nodes, uint64_t below_4g,
		  const struct acpi_node *expected, size_t len)
{
	OWNED(struct q35_numa *) n = mem_zalloc(sizeof(*n));
	OWNED(struct acpi_node *) ranges = NULL;

	n->nodes = nodes;
	for (unsigned int i = 0; i < nodes; i++)
		n->bytes[i] = bytes[i];
	assert_int_equal(numa_ranges(n, below_4g, &ranges), len);
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(ranges[i].base, expected[i].base);
		assert_int_equal(ranges[i].size, expected[i].size);
		assert_int_equal(ranges[i].node, expected[i].node);
	}
}

static void one_node_is_cut_at_both_holes(void **state)
{
	const uint64_t bytes[] = {5 * GiB};
	const struct acpi_node expected[] = {
		{0, 640 * KiB, 0}, {MiB, 2 * GiB - MiB, 0}, {4 * GiB, 3 * GiB, 0}};

	check(bytes, 1, 2 * GiB, expected, ARRAY_SIZE(expected));
}

static void a_node_on_either_side_of_the_hole(void **state)
{
	const uint64_t bytes[] = {2 * GiB, 0, 3 * GiB};
	const struct acpi_node expected[] = {
		{0, 640 * KiB, 0}, {MiB, 2 * GiB - MiB, 0}, {4 * GiB, 3 * GiB, 2}, {0}, {0}};

	check(bytes, 3, 2 * GiB, expected, ARRAY_SIZE(expected));
}

static void the_second_node_reaches_over_the_hole(void **state)
{
	const uint64_t bytes[] = {GiB, 2 * GiB};
	const struct acpi_node expected[] = {
		{0, 640 * KiB, 0}, {MiB, GiB - MiB, 0}, {GiB, GiB, 1}, {4 * GiB, GiB, 1}};

	check(bytes, 2, 2 * GiB, expected, ARRAY_SIZE(expected));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_node_is_cut_at_both_holes),
		cmocka_unit_test(a_node_on_either_side_of_the_hole),
		cmocka_unit_test(the_second_node_reaches_over_the_hole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
