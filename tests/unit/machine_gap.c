/* SPDX-License-Identifier: Apache-2.0 */
/* By how much a guest's clocks are moved over a pause, and what goes on with them. */
#include "base/bytes.h"
#include "base/clock.h"
#include "machine/gap.h"
#include "machine/x86/chips_section.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { LVT = 0x320, INITIAL = 0x380, CURRENT = 0x390, DIVIDE = 0x3e0, BY_1 = 0xb, BY_2 = 0 };

#define PERIODIC (1U << 17)
#define DEADLINE (2U << 17)
#define MASKED   (1U << 16)

static void a_pause_is_caught_up_with_unless_it_is_long(void **state)
{
	assert_int_equal(gap_of(1), 1);
	assert_int_equal(gap_of(GAP_MAX_NS), GAP_MAX_NS);
	assert_int_equal(gap_of(GAP_MAX_NS + 1), 0);
	assert_int_equal(gap_of(0), 0);
	assert_int_equal(gap_of(-5 * NS_PER_SEC), 0);
}

static void a_clock_is_never_wound_back_too_far(void **state)
{
	assert_int_equal(gap_overrun_of(0), 0);
	assert_int_equal(gap_overrun_of(-1), 0);
	assert_int_equal(gap_overrun_of(1), 0);
	assert_int_equal(gap_overrun_of(8192), 8191);
	assert_in_range(gap_overrun_of(NS_PER_SEC), NS_PER_SEC / 10000 * 9998,
			NS_PER_SEC / 10000 * 9999);
	assert_int_equal(gap_overrun_of(2 * GAP_MAX_NS), 0);
}

static void clocks_stand_still_unless_somebody_says_otherwise(void **state)
{
	int64_t now = time_ns();
	struct vm vm = {.stopped_ns = now - NS_PER_SEC};

	assert_int_equal(vm_gap_ns(&vm), 0);
	assert_int_equal(vm_overrun_ns(&vm, now), gap_overrun_of(NS_PER_SEC));
	vm_catch_up(&vm, vm.stopped_ns);
	assert_true(vm_gap_ns(&vm) >= NS_PER_SEC);
	vm_catch_up(&vm, 0);
	assert_int_equal(vm_gap_ns(&vm), 0);
	assert_int_equal(vm_overrun_ns(&vm, now), 0);
}

static uint32_t left_of(uint32_t lvt, uint32_t divide, uint32_t current, int64_t ns)
{
	struct kvm_lapic_state k = {0};

	store_le32(k.regs + LVT, lvt);
	store_le32(k.regs + DIVIDE, divide);
	store_le32(k.regs + INITIAL, 1000);
	store_le32(k.regs + CURRENT, current);
	apic_timer_pass(&k, ns);
	assert_int_equal(load_le32(k.regs + INITIAL), 1000);
	return load_le32(k.regs + CURRENT);
}

static void a_local_apics_count_goes_on(void **state)
{
	assert_int_equal(left_of(0, BY_1, 700, 0), 700);
	assert_int_equal(left_of(0, BY_1, 700, 300), 400);
	assert_int_equal(left_of(0, BY_2, 700, 300), 550);
	assert_int_equal(left_of(0, BY_1, 700, 700), 0);
	assert_int_equal(left_of(0, BY_1, 700, GAP_MAX_NS), 0);
}

static void a_periodic_count_keeps_its_phase(void **state)
{
	assert_int_equal(left_of(PERIODIC, BY_1, 700, 300), 400);
	assert_int_equal(left_of(PERIODIC, BY_1, 700, 700), 1000);
	assert_int_equal(left_of(PERIODIC, BY_1, 700, 701), 999);
	assert_int_equal(left_of(PERIODIC, BY_1, 700, 5000), 700);
}

static void a_count_that_does_not_run_stays(void **state)
{
	assert_int_equal(left_of(MASKED, BY_1, 700, 300), 700);
	assert_int_equal(left_of(DEADLINE, BY_1, 700, 300), 700);
	assert_int_equal(left_of(0, BY_1, 0, 300), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pause_is_caught_up_with_unless_it_is_long),
		cmocka_unit_test(a_clock_is_never_wound_back_too_far),
		cmocka_unit_test(clocks_stand_still_unless_somebody_says_otherwise),
		cmocka_unit_test(a_local_apics_count_goes_on),
		cmocka_unit_test(a_periodic_count_keeps_its_phase),
		cmocka_unit_test(a_count_that_does_not_run_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
