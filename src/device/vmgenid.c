/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a GUID in a page of guest memory, and an ACPI event when it changes, so that
 * a guest that goes on from a moment it has been at before (a snapshot, a clone) learns of it and
 * draws new random numbers, keys and leases. Firmware allocates the page, copies it from one fw_cfg
 * file and writes the GUID's address to another one, the only state there is. The ACPI device that
 * leads the guest to it is in machine/q35/acpi.c.
 *
 * A guest whose state is loaded gets this process' GUID. If that is the one it has (live upgrade;
 * guid= was given to both sides of a migration) nothing happens. Otherwise it is written, and the
 * event is raised, before the guest runs. A GUID that was drawn here is drawn anew if the guest ran
 * with it in this process already: then it is being taken back.
 *
 * Source: Microsoft, "Virtual Machine Generation ID", 2012; QEMU's docs/specs/vmgenid
 */
#include "device/vmgenid.h"

#include "base/bytes.h"
#include "base/log.h"
#include "device/fw_cfg.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define GPE_EVENT 5 /* \_GPE._E05 */

static struct vmgenid *vmgenid_of(struct device *dev)
{
	return CONTAINER_OF(dev, struct vmgenid, dev);
}

/* Random, with the marks of version 4. Source: RFC 4122 4.4 */
static int draw(struct vmgenid *v, struct err *e)
{
	uint8_t guid[sizeof(v->guid)];

	if (getrandom(guid, sizeof(guid), 0) != sizeof(guid))
		return err_sys(e, "getrandom");
	guid[6] = (uint8_t)((guid[6] & 0x0f) | 0x40);
	guid[8] = (uint8_t)((guid[8] & 0x3f) | 0x80);
	memcpy(v->guid, guid, sizeof(guid));
	v->drawn = true;
	return 0;
}

/* In memory a GUID's first three numbers are little-endian. */
static void guid_in_memory(const struct vmgenid *v, uint8_t ret[16])
{
	memcpy(ret, v->guid, 16);
	store_le32(ret, load_be32(v->guid));
	store_le16(ret + 4, load_be16(v->guid + 4));
	store_le16(ret + 6, load_be16(v->guid + 6));
}

static void page_fill(struct vmgenid *v)
{
	guid_in_memory(v, v->page + VMGENID_GUID_OFFSET);
}

static int add_files(struct vmgenid *v, struct err *e)
{
	const struct fw_cfg_blob page = {.data = v->page, .len = sizeof(v->page)};
	const struct fw_cfg_blob addr = {
		.data = v->s.addr, .len = sizeof(v->s.addr), .writable = true};
	struct fw_cfg *f = v->dev.env->fw_cfg;
	int r = fw_cfg_add_shared(f, VMGENID_GUID_FILE, &page, e);

	return r < 0 ? r : fw_cfg_add_shared(f, VMGENID_ADDR_FILE, &addr, e);
}

static bool guid_given(const struct vmgenid *v)
{
	static const uint8_t none[sizeof(v->guid)];

	return memcmp(v->guid, none, sizeof(none)) != 0;
}

static int vmgenid_realize(struct device *dev, struct err *e)
{
	struct vmgenid *v = vmgenid_of(dev);
	int r = 0;

	if (!dev->env->fw_cfg)
		return err_set(e, ENOTSUP, "the machine has no fw_cfg to tell firmware of it");
	if (fw_cfg_has_file(dev->env->fw_cfg, VMGENID_GUID_FILE))
		return err_set(e, EEXIST, "at most one vmgenid device is permitted");
	if (!guid_given(v))
		r = draw(v, e);
	page_fill(v);
	return r < 0 ? r : add_files(v, e);
}

static void vmgenid_reset(struct device *dev)
{
	memset(vmgenid_of(dev)->s.addr, 0, sizeof(vmgenid_of(dev)->s.addr));
}

static void vmgenid_run(struct device *dev)
{
	vmgenid_of(dev)->shown = true;
}

/* Does the guest have another GUID than ours? False as well if its address isn't memory: whatever
 * the guest made of it, nobody can be told. */
static bool differs(const struct vmgenid *v, gpa_t at, const uint8_t ours[16])
{
	uint8_t theirs[16];

	return memory_read(v->dev.env->memory, at, theirs, sizeof(theirs)) &&
	       memcmp(theirs, ours, sizeof(theirs)) != 0;
}

/* The low half of the address counts, as in QEMU: the ACPI tables have no more. */
static void tell_guest(struct vmgenid *v)
{
	struct irq gpe = v->dev.env->gpe;
	gpa_t at = load_le32(v->s.addr);
	uint8_t guid[16];

	guid_in_memory(v, guid);
	gpe.line = GPE_EVENT;
	if (at && differs(v, at, guid) && memory_write(v->dev.env->memory, at, guid, sizeof(guid)))
		irq_set(&gpe, true);
}

static void vmgenid_capture(const struct device *dev, void *state)
{
	*(struct vmgenid_state *)state = CONTAINER_OF(dev, struct vmgenid, dev)->s;
}

static void vmgenid_apply(struct device *dev, const void *state)
{
	struct vmgenid *v = vmgenid_of(dev);
	struct err e;

	v->s = *(const struct vmgenid_state *)state;
	if (v->drawn && v->shown && draw(v, &e) < 0)
		log_warn("vmgenid: %s: the guest keeps its generation id", e.msg);
	page_fill(v);
	tell_guest(v);
}

/**
 * vmgenid_place() - Put the page into guest memory and note where, as firmware would
 * @v:		Realized and reset; vCPUs parked
 * @gpa:	Aligned to a page; RAM that the guest is told to leave alone
 * @e:		Set on failure only
 *
 * Errors: EFAULT @gpa isn't RAM
 * Return: 0, or a negative errno
 */
int vmgenid_place(struct vmgenid *v, gpa_t gpa, struct err *e)
{
	if (!memory_write(v->dev.env->memory, gpa, v->page, sizeof(v->page)))
		return err_set(e, EFAULT, "vmgenid: no RAM at %#jx", (uintmax_t)gpa);
	store_le64(v->s.addr, gpa + VMGENID_GUID_OFFSET);
	return 0;
}

static const struct prop vmgenid_props[] = {
	{"guid", PROP_UUID, offsetof(struct vmgenid, guid), "auto",
	 "Generation id; auto: a random one"},
	{"x-outlive-drawn", PROP_BOOL, offsetof(struct vmgenid, drawn), "off",
	 "The id was a random one: it changes when the guest is taken back"},
	PROPS_END,
};

static const struct state_field vmgenid_fields[] = {
	FIELD("vmgenid_addr_le", struct vmgenid_state, addr),
	FIELDS_END,
};

static const struct state_table vmgenid_table = {
	.name = "vmgenid",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct vmgenid_state),
	.fields = vmgenid_fields,
};

const struct device_class vmgenid_class = {
	.name = "vmgenid",
	.help = "Virtual machine generation id",
	.bus = "System",
	.size = sizeof(struct vmgenid),
	.user = true,
	.continuity = CONTINUITY_STATE,
	.state = &vmgenid_table,
	.section = "vmgenid",
	.props = vmgenid_props,
	.realize = vmgenid_realize,
	.reset = vmgenid_reset,
	.capture = vmgenid_capture,
	.apply = vmgenid_apply,
	.run = vmgenid_run,
};
