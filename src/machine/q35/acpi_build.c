/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: QEMU remembers whether it has written the ACPI tables since the last reset,
 * in a section of its own. Ours are written anew whenever the guest selects them, so there is
 * nothing to remember: what comes is taken and left alone, what goes says that the tables in the
 * stream are those the guest has.
 */
#include "machine/q35/q35_chipset.h"

/**
 * struct acpi_build_state - Section "acpi_build"
 * @patched:	The tables were written since the last reset
 */
struct acpi_build_state {
	uint8_t patched;
};

static void acpi_build_capture(const struct device *dev, void *state)
{
	((struct acpi_build_state *)state)->patched = 1;
}

static void acpi_build_apply(struct device *dev, const void *state)
{
}

static const struct state_field acpi_build_fields[] = {
	FIELD("patched", struct acpi_build_state, patched),
	FIELDS_END,
};

static const struct state_table acpi_build_table = {
	.name = "acpi_build",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct acpi_build_state),
	.fields = acpi_build_fields,
};

const struct device_class acpi_build_class = {
	.name = "acpi-build",
	.help = "Whether the ACPI tables were written",
	.bus = "System",
	.size = sizeof(struct device),
	.continuity = CONTINUITY_STATE,
	.state = &acpi_build_table,
	.section = "acpi_build",
	.capture = acpi_build_capture,
	.apply = acpi_build_apply,
};
