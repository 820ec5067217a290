/* SPDX-License-Identifier: Apache-2.0 */
/* Every class of the registry: continuity stated, state covered, and QEMU's bytes read and written
 * again. */
#include "device/device.h"
#include "machine/q35/q35_chipset.h"

#include "section.h"

static void every_class_says_what_becomes_of_its_state(void **unused)
{
	const struct device_class *const *c;

	for (c = device_classes(); *c; c++) {
		if (!(*c)->continuity)
			fail_msg("%s doesn't say what becomes of its state", (*c)->name);
		if ((*c)->continuity == CONTINUITY_STATE)
			assert_true((*c)->state && (*c)->section && (*c)->capture && (*c)->apply);
		else if (!(*c)->why)
			fail_msg("%s doesn't say why it has no state", (*c)->name);
	}
}

static void every_state_is_covered(void **unused)
{
	const struct device_class *const *c;
	struct err e;

	for (c = device_classes(); *c; c++)
		if ((*c)->state && state_cover_check((*c)->state, &e) < 0)
			fail_msg("%s: %s", (*c)->name, e.msg);
}

static void qemus_sections_come_out_as_they_went_in(void **unused)
{
	const struct device_class *const *c;
	unsigned int sections = 0;

	/* What a virtio section holds depends on the device's queues: wire/virtio.c has devices. */
	for (c = device_classes(); *c; c++)
		if ((*c)->state && strncmp((*c)->section, "virtio-", 7))
			sections += section_round_trip((*c)->state, (*c)->section, NULL);
	assert_true(sections > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_class_says_what_becomes_of_its_state),
		cmocka_unit_test(every_state_is_covered),
		cmocka_unit_test(qemus_sections_come_out_as_they_went_in),
	};

	device_classes_add(q35_classes);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
