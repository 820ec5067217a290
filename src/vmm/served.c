/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what is read from a command line but can have one value only, since the
 * machine does it in one way. Any other value would give the guest, or the operator, something else
 * than was asked for, so it is refused with the reason and the other way. A guest that another
 * process hands over isn't asked: it runs already.
 */
#include "vmm/served.h"

#include "base/owned.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define IRQCHIP "interrupt controllers are KVM's own"
#define ALWAYS  "the chipset always has it"
#define PINNING "guest RAM isn't bound to nodes of the host: start the program by numactl --membind"

/**
 * struct served - The values of a key that are done
 * @key:	Of the option or object; NULL: the option as a whole
 * @values:	Separated by "|"; NULL: none is
 * @why:	Why no other is, and the other way
 */
struct served {
	const char *key, *values, *why;
};

static const struct served machine_served[] = {
	{"acpi", "on|auto", "a guest always has its ACPI tables"},
	{"kernel-irqchip", "on", IRQCHIP},
	{"i8042", "on", ALWAYS},
	{"sata", "on", ALWAYS},
	{"smbus", "on", ALWAYS},
	{"suppress-vmdesc", "off", "a stream always ends with its description"},
	{"max-ram-below-4g", NULL, "the memory map is the machine type's"},
	{0},
};
static const struct served accel_served[] = {{"kernel-irqchip", "on", IRQCHIP}, {0}};
static const struct served memory_served[] = {
	{"slots", "0", "memory can't be plugged; -device virtio-balloon-pci takes and gives it"},
	{0},
};
static const struct served numa_served[] = {
	{"mem", NULL, "give the node an -object memory-backend-... by memdev="},
	{"initiator", NULL, "there is no table of memory's speed (HMAT)"},
	{0},
};
static const struct served drive_served[] = {
	{"snapshot", "off",
	 "writes would reach the image: use outlive snapshot point, and rollback afterwards"},
	{"detect-zeroes", "off", "zeroes are written as they are"},
	{0},
};
static const struct served rtc_served[] = {
	{"clock", "host", "the guest's real-time clock follows the host's"},
	{0},
};
static const struct served smbios_served[] = {
	{"file", NULL, "tables are made from fields"},
	{"type", "0|1|2|3|4|8|11|17", "there are no other tables with fields"},
	{0},
};
static const struct served overcommit_served[] = {
	{"cpu-pm", "off", "an idle vCPU always gives its CPU back"},
	{0},
};
static const struct served msg_served[] = {
	{"guest-name", "off", "each guest has a log of its own"},
	{0},
};

static const struct {
	enum vmm_group group;
	const struct served *served;
} groups[] = {
	{VMM_MACHINE, machine_served}, {VMM_ACCEL, accel_served},
	{VMM_MEMORY, memory_served},   {VMM_NUMA, numa_served},
	{VMM_DRIVE, drive_served},     {VMM_RTC, rtc_served},
	{VMM_SMBIOS, smbios_served},   {VMM_OVERCOMMIT, overcommit_served},
	{VMM_MSG, msg_served},
};

static const struct served object_served[] = {
	{"host-nodes", NULL, PINNING},
	{"policy", "default", PINNING},
	{"offset", "0", "the file is guest RAM from its first byte on"},
	{"pmem", "off", "guest RAM is given back to the page cache only"},
	{"readonly", "off", "guest RAM is written"},
	{"discard-data", "off", "the file keeps what the guest had"},
	{0},
};

static bool among(const char *word, const char *values)
{
	size_t len = strlen(word);

	for (const char *p = values; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
		if (!strncmp(p, word, len) && (!p[len] || p[len] == '|'))
			return true;
	return false;
}

/* As one would write it on a command line. */
static void text_of(const json_t *v, char text[64])
{
	if (json_is_boolean(v))
		snprintf(text, 64, "%s", json_is_true(v) ? "on" : "off");
	else if (json_is_integer(v))
		snprintf(text, 64, "%lld", (long long)json_integer_value(v));
	else
		snprintf(text, 64, "%s", json_is_string(v) ? json_string_value(v) : "...");
}

static int values_check(const struct served *s, const json_t *values, struct err *e)
{
	char text[64];

	for (; s->why; s++) {
		const json_t *v = s->key ? json_object_get(values, s->key) : NULL;

		if (!s->key)
			return err_set(e, ENOTSUP, "%s", s->why);
		if (!v)
			continue;
		text_of(v, text);
		if (!among(text, s->values))
			return err_set(e, ENOTSUP, "%s=%s isn't here: %s", s->key, text, s->why);
	}
	return 0;
}

/* Where there is no RAM to come, maxmem is the size. */
static int maxmem_check(const struct vmm_options *o, struct err *e)
{
	if (o->max_ram_bytes == o->ram_bytes)
		return 0;
	err_set(e, ENOTSUP, "maxmem is more than size: %s", memory_served[0].why);
	return vmm_err_item(e, o->groups[VMM_MEMORY].items);
}

/**
 * served_check() - Refuse what was read but wouldn't be done
 * @o:		Parsed and finished
 * @e:		Set on failure only: names the argument
 *
 * Errors: ENOTSUP
 * Return: 0, or -ENOTSUP
 */
int served_check(const struct vmm_options *o, struct err *e)
{
	for (size_t g = 0; g < ARRAY_SIZE(groups); g++) {
		const struct vmm_items *all = &o->groups[groups[g].group];

		for (size_t i = 0; i < all->len; i++)
			if (values_check(groups[g].served, all->items[i].values, e) < 0)
				return vmm_err_item(e, &all->items[i]);
	}
	return maxmem_check(o, e);
}

/**
 * served_object_check() - The same for an object
 * @values:	Checked against its kind's table
 * @e:		Set on failure only
 *
 * Errors: ENOTSUP
 * Return: 0, or -ENOTSUP
 */
int served_object_check(const json_t *values, struct err *e)
{
	return values_check(object_served, values, e);
}
