/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: PCI in the DSDT: the hot-plug registers at 0xcc0 and the methods on them,
 * interrupt routing by link devices (LNKA-H programmed in the LPC bridge for the PICs, GSIA-H fixed
 * to GSI 16-23 for the IOAPIC), and the functions of the root bus with what hangs on them.
 */
#include "machine/q35/acpi.h"

#include <limits.h>
#include <stdio.h>

static void registers(struct aml *a, const char *region, uint16_t port, const char *first,
		      const char *second)
{
	aml_region(a, region, AML_SYSTEM_IO, port, second ? 8 : 4);
	aml_field(a, region, AML_DWORD_ACC | AML_WRITE_AS_ZEROS);
	aml_field_bits(a, first, 32);
	if (second)
		aml_field_bits(a, second, 32);
	aml_end(a);
}

/* Store (@value, @name), where the value is one operator byte. */
static void store_op(struct aml *a, enum aml_op value, const char *name)
{
	aml_op(a, AML_STORE);
	aml_op(a, value);
	aml_path(a, name);
}

/* @name = 1 << Arg1 */
static void store_bit(struct aml *a, const char *name)
{
	aml_op(a, AML_STORE);
	aml_op(a, AML_SHIFT_LEFT);
	aml_op(a, AML_ONE);
	aml_op(a, AML_ARG1);
	aml_op(a, AML_ZERO); /* no target of its own */
	aml_path(a, name);
}

static void eject_method(struct aml *a)
{
	aml_method(a, "PCEJ", 2, false);
	aml_acquire(a, "BLCK");
	store_op(a, AML_ARG0, "BNUM");
	store_bit(a, "B0EJ");
	aml_release(a, "BLCK");
	aml_return_int(a, 0);
	aml_end(a);
}

static void index_method(struct aml *a)
{
	aml_method(a, "AIDX", 2, false);
	aml_acquire(a, "BLCK");
	store_op(a, AML_ARG0, "BNUM");
	store_bit(a, "PIDX");
	aml_op(a, AML_STORE);
	aml_path(a, "PIDX");
	aml_op(a, AML_LOCAL0);
	aml_release(a, "BLCK");
	aml_op(a, AML_RETURN);
	aml_op(a, AML_LOCAL0);
	aml_end(a);
}

/* Local2 = AIDX (Arg4 [0], Arg4 [1]) */
static void call_index(struct aml *a)
{
	aml_op(a, AML_STORE);
	aml_path(a, "AIDX");
	aml_bytes(a, "\x83\x88\x6c\x00\x00", 5);
	aml_bytes(a, "\x83\x88\x6c\x01\x00", 5);
	aml_op(a, AML_LOCAL2);
}

/* If (Local2 is a number that somebody gave) */
static void if_index(struct aml *a, enum aml_op or_op)
{
	aml_if(a);
	aml_op(a, AML_LNOT);
	aml_op(a, or_op);
	aml_bytes(a, "\x93\x62\x00\x93\x62", 5);
	aml_int(a, 0xffffffff);
	if (or_op == AML_OR)
		aml_byte(a, 0); /* no target */
}

static void return_local0_if(struct aml *a)
{
	aml_op(a, AML_RETURN);
	aml_op(a, AML_LOCAL0);
	aml_end(a);
}

/* _DSM function 0: which functions there are; 7: the name of a device. PCI Firmware 3.2, 4.6 */
static void dsm_functions(struct aml *a)
{
	static const uint8_t none = 0;

	aml_if(a);
	aml_bytes(a, "\x93\x6a\x00\x70", 4); /* Arg2 == 0: Store ( */
	aml_buffer(a, &none, 1);
	aml_bytes(a, "\x60\x70\x00\x61", 4); /* , Local0), Local1 = 0 */
	aml_if(a);
	aml_bytes(a, "\x92\x93\x68", 3);
	aml_uuid(a, "e5c937d0-3553-4d7a-9117-ea4d19c3434d");
	return_local0_if(a);
	aml_if(a);
	aml_bytes(a, "\x95\x69\x0a\x02", 4); /* Arg1 < 2 */
	return_local0_if(a);
	call_index(a);
	if_index(a, AML_OR);
	aml_bytes(a, "\x7d\x61\x01\x61", 4);                 /* Local1 |= 1 */
	aml_bytes(a, "\x7d\x61\x79\x01\x0a\x07\x00\x61", 8); /* Local1 |= 1 << 7 */
	aml_end(a);
	aml_bytes(a, "\x70\x61\x88\x60\x00\x00", 6); /* Local0 [0] = Local1 */
	return_local0_if(a);
}

static void dsm_name(struct aml *a)
{
	aml_if(a);
	aml_bytes(a, "\x93\x6a\x0a\x07", 4); /* Arg2 == 7 */
	call_index(a);
	aml_op(a, AML_STORE);
	aml_package(a, 2);
	aml_end(a);
	aml_op(a, AML_LOCAL0);
	if_index(a, AML_LOR);
	aml_bytes(a, "\x70\x62\x88\x60\x00\x00", 6); /* Local0 [0] = Local2 */
	aml_op(a, AML_STORE);
	aml_str(a, "");
	aml_bytes(a, "\x88\x60\x01\x00", 4);
	aml_end(a);
	return_local0_if(a);
}

/**
 * dsdt_pci_hotplug() - The hot-plug registers and the methods on them
 * @a:		Where
 */
void dsdt_pci_hotplug(struct aml *a)
{
	aml_scope(a, "_SB.PCI0");
	registers(a, "PCST", 0xcc0, "PCIU", "PCID");
	registers(a, "SEJ", 0xcc8, "B0EJ", NULL);
	registers(a, "BNMR", 0xcd0, "BNUM", "PIDX");
	aml_mutex(a, "BLCK");
	eject_method(a);
	index_method(a);
	aml_method(a, "PDSM", 5, true);
	dsm_functions(a);
	dsm_name(a);
	aml_end(a);
	aml_end(a);
}

static void route(struct aml *a, unsigned int slot, unsigned int pin, const char *prefix,
		  unsigned int link)
{
	char name[5];

	snprintf(name, sizeof(name), "%s%c", prefix, 'A' + (int)(link & 7));
	aml_package(a, 4);
	aml_int(a, slot << 16 | 0xffff);
	aml_int(a, pin);
	aml_path(a, name);
	aml_int(a, 0);
	aml_end(a);
}

/* Slots 0-24 swizzle through links E-H; the chipset's slots aren't swizzled: 30 takes E-H, the
 * others A-D. As QEMU routes. */
static unsigned int link_of(unsigned int slot, unsigned int pin)
{
	if (slot < 25)
		return 4 + ((slot + pin) & 3);
	return slot == 30 ? 4 + pin : pin;
}

static void routes(struct aml *a, const char *name, const char *prefix)
{
	aml_name(a, name);
	aml_package(a, 128);
	for (unsigned int slot = 0; slot < 32; slot++)
		for (unsigned int pin = 0; pin < 4; pin++)
			route(a, slot, pin, prefix, link_of(slot, pin));
	aml_end(a);
}

static void routing_table(struct aml *a)
{
	aml_scope(a, "PCI0");
	routes(a, "PRTP", "LNK");
	routes(a, "PRTA", "GSI");
	aml_method(a, "_PRT", 0, false);
	aml_if(a);
	aml_op(a, AML_LEQUAL);
	aml_path(a, "PICF");
	aml_int(a, 0);
	aml_op(a, AML_RETURN);
	aml_path(a, "PRTP");
	aml_end(a);
	aml_else(a);
	aml_op(a, AML_RETURN);
	aml_path(a, "PRTA");
	aml_end(a);
	aml_end(a);
	aml_end(a);
}

static void link_helpers(struct aml *a)
{
	static const uint32_t none = 0;

	aml_method(a, "IQST", 1, false);
	aml_if(a);
	aml_op(a, AML_AND);
	aml_int(a, 0x80);
	aml_op(a, AML_ARG0);
	aml_byte(a, 0);
	aml_return_int(a, 9);
	aml_end(a);
	aml_return_int(a, 0xb);
	aml_end(a);
	aml_method(a, "IQCR", 1, true);
	aml_name(a, "PRR0");
	aml_resources(a);
	aml_res_gsi(a, &none, 1);
	aml_resources_end(a);
	aml_op(a, AML_CREATE_DWORD_FIELD);
	aml_path(a, "PRR0");
	aml_int(a, 5);
	aml_path(a, "PRRI");
	aml_op(a, AML_STORE);
	aml_op(a, AML_AND);
	aml_op(a, AML_ARG0);
	aml_int(a, 0xf);
	aml_op(a, AML_ZERO);
	aml_path(a, "PRRI");
	aml_op(a, AML_RETURN);
	aml_path(a, "PRR0");
	aml_end(a);
}

static void link_call(struct aml *a, const char *method, const char *helper, const char *reg)
{
	aml_method(a, method, 0, false);
	aml_op(a, AML_RETURN);
	aml_path(a, helper);
	aml_path(a, reg);
	aml_end(a);
}

static void pic_link(struct aml *a, unsigned int n)
{
	static const uint32_t possible[] = {5, 10, 11};
	char name[] = "LNKA", reg[] = "PRQA";

	name[3] = reg[3] = (char)('A' + n);
	aml_device(a, name);
	aml_name_eisa(a, "_HID", "PNP0C0F");
	aml_name_int(a, "_UID", n);
	aml_name(a, "_PRS");
	aml_resources(a);
	aml_res_gsi(a, possible, 3);
	aml_resources_end(a);
	link_call(a, "_STA", "IQST", reg);
	aml_method(a, "_DIS", 0, false);
	aml_op(a, AML_OR);
	aml_path(a, reg);
	aml_int(a, 0x80);
	aml_path(a, reg);
	aml_end(a);
	link_call(a, "_CRS", "IQCR", reg);
	aml_method(a, "_SRS", 1, false);
	aml_op(a, AML_CREATE_DWORD_FIELD);
	aml_op(a, AML_ARG0);
	aml_int(a, 5);
	aml_path(a, "PRRI");
	aml_op(a, AML_STORE);
	aml_path(a, "PRRI");
	aml_path(a, reg);
	aml_end(a);
	aml_end(a);
}

static void gsi_link(struct aml *a, unsigned int n)
{
	char name[] = "GSIA";
	uint32_t gsi = 16 + n;

	name[3] = (char)('A' + n);
	aml_device(a, name);
	aml_name_eisa(a, "_HID", "PNP0C0F");
	aml_name_int(a, "_UID", gsi);
	aml_name(a, "_PRS");
	aml_resources(a);
	aml_res_gsi(a, &gsi, 1);
	aml_resources_end(a);
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_gsi(a, &gsi, 1);
	aml_resources_end(a);
	aml_method(a, "_DIS", 0, false);
	aml_end(a);
	aml_method(a, "_SRS", 1, false);
	aml_end(a);
	aml_end(a);
}

/**
 * dsdt_pci_routing() - Which interrupt a slot's pin arrives at
 * @a:		Where
 */
void dsdt_pci_routing(struct aml *a)
{
	aml_name_int(a, "PICF", 0);
	aml_method(a, "_PIC", 1, false);
	store_op(a, AML_ARG0, "PICF");
	aml_end(a);
	aml_scope(a, "_SB");
	routing_table(a);
	link_helpers(a);
	for (unsigned int n = 0; n < 8; n++)
		pic_link(a, n);
	for (unsigned int n = 0; n < 8; n++)
		gsi_link(a, n);
	aml_end(a);
}

static void isa_device(struct aml *a, const char *name, const char *hid, int uid, bool sta)
{
	aml_device(a, name);
	aml_name_eisa(a, "_HID", hid);
	if (uid)
		aml_name_int(a, "_UID", (uint64_t)uid);
	if (sta)
		aml_name_int(a, "_STA", 0xf);
	aml_name(a, "_CRS");
	aml_resources(a);
}

static void isa_device_end(struct aml *a, unsigned int irq)
{
	aml_res_irq(a, irq);
	aml_resources_end(a);
	aml_end(a);
}

static void legacy_devices(const struct acpi_config *c, struct aml *a)
{
	static const struct {
		const char *name;
		uint16_t port;
		unsigned int irq;
	} serials[] = {
		{"COM1", 0x3f8, 4}, {"COM2", 0x2f8, 3}, {"COM3", 0x3e8, 4}, {"COM4", 0x2e8, 3}};

	isa_device(a, "KBD", "PNP0303", 0, true);
	aml_res_io(a, 0x60, 1, 1);
	aml_res_io(a, 0x64, 1, 1);
	isa_device_end(a, 1);
	isa_device(a, "MOU", "PNP0F13", 0, true);
	isa_device_end(a, 12);
	for (int i = 0; i < 4; i++) {
		if (!(c->serial >> i & 1))
			continue;
		isa_device(a, serials[i].name, "PNP0501", i + 1, true);
		aml_res_io(a, serials[i].port, 0, 8);
		isa_device_end(a, serials[i].irq);
	}
	isa_device(a, "RTC", "PNP0B00", 0, false);
	aml_res_io(a, 0x70, 1, 8);
	isa_device_end(a, 8);
}

/* The PIRQ registers of the LPC bridge, then what is behind it. */
static void lpc(const struct acpi_config *c, struct aml *a)
{
	char reg[] = "PRQA";

	aml_region(a, "PIRQ", AML_PCI_CONFIG, 0x60, 0xc);
	aml_scope(a, "\\_SB");
	aml_field(a, "PCI0.SF8.PIRQ", AML_BYTE_ACC);
	for (int n = 0; n < 8; n++) {
		if (n == 4)
			aml_field_bits(a, NULL, 32);
		reg[3] = (char)('A' + n);
		aml_field_bits(a, reg, 8);
	}
	aml_end(a);
	aml_end(a);
	legacy_devices(c, a);
}

/* The one slot behind a root port: what is there or may come. */
static void port_slot(struct aml *a)
{
	aml_device(a, "S00");
	aml_name_int(a, "_ADR", 0);
	aml_name_int(a, "ASUN", 0);
	aml_method(a, "_DSM", 4, true);
	aml_op(a, AML_STORE);
	aml_package(a, 2);
	aml_path(a, "BSEL");
	aml_path(a, "ASUN");
	aml_end(a);
	aml_op(a, AML_LOCAL0);
	aml_op(a, AML_RETURN);
	aml_path(a, "PDSM");
	aml_bytes(a, "\x68\x69\x6a\x6b\x60", 5);
	aml_end(a);
	aml_name_int(a, "_SUN", 0);
	aml_method(a, "_EJ0", 1, false);
	aml_path(a, "PCEJ");
	aml_path(a, "BSEL");
	aml_path(a, "_SUN");
	aml_end(a);
	aml_end(a);
}

static void notify_call(struct aml *a, const char *mask, uint64_t code)
{
	aml_path(a, "DVNT");
	aml_path(a, mask);
	aml_int(a, code);
}

/* A root port: its bus number for the hot-plug registers, its slot, and the methods that tell the
 * OS of changes. */
static void root_port(const struct acpi_slot *s, struct aml *a)
{
	if (s->bsel >= 0) {
		aml_name_int(a, "BSEL", (uint64_t)s->bsel);
		port_slot(a);
		aml_method(a, "DVNT", 2, false);
		aml_if(a);
		aml_bytes(a, "\x7b\x68\x01\x00", 4); /* Arg0 & 1 */
		aml_op(a, AML_NOTIFY);
		aml_path(a, "S00");
		aml_op(a, AML_ARG1);
		aml_end(a);
		aml_end(a);
	}
	aml_method(a, "PCNT", 0, false);
	if (s->bsel >= 0) {
		aml_op(a, AML_STORE);
		aml_int(a, (uint64_t)s->bsel);
		aml_path(a, "BNUM");
		notify_call(a, "PCIU", 1);
		notify_call(a, "PCID", 3);
	}
	aml_end(a);
}

/* The root port made last before @order. */
static const struct acpi_slot *port_before(const struct acpi_config *c, unsigned int order)
{
	const struct acpi_slot *best = NULL;

	for (size_t i = 0; i < c->slots_len; i++) {
		const struct acpi_slot *s = &c->slots[i];

		if (s->kind == ACPI_SLOT_ROOT_PORT && s->order < order &&
		    (!best || s->order > best->order))
			best = s;
	}
	return best;
}

/* The root bus takes no devices; what happened is behind one of its ports. */
static void all_ports_notify(const struct acpi_config *c, struct aml *a)
{
	const struct acpi_slot *s = NULL;
	char name[16];

	aml_method(a, "PCNT", 0, false);
	while ((s = port_before(c, s ? s->order : UINT_MAX))) {
		snprintf(name, sizeof(name), "^S%02X.PCNT", s->devfn);
		aml_path(a, name);
	}
	aml_end(a);
}

/**
 * dsdt_pci_slots() - The functions of the root bus
 * @c:		The machine
 * @a:		Where
 */
void dsdt_pci_slots(const struct acpi_config *c, struct aml *a)
{
	char name[16];

	aml_scope(a, "\\_SB");
	aml_scope(a, "PCI0");
	for (size_t i = 0; i < c->slots_len; i++) {
		const struct acpi_slot *s = &c->slots[i];
		bool plain = s->kind == ACPI_SLOT_PLAIN ||
			     (s->kind == ACPI_SLOT_ROOT_PORT && !c->pci_hotplug);

		if (s->devfn & 7 && plain && s->devfn != 0xfb)
			continue; /* other functions are found by probing; the SMBus is named for
				     its drivers */
		snprintf(name, sizeof(name), "S%02X", s->devfn);
		aml_device(a, name);
		aml_name_int(a, "_ADR", (uint64_t)(s->devfn >> 3) << 16 | (s->devfn & 7));
		if (s->kind == ACPI_SLOT_LPC)
			lpc(c, a);
		if (s->kind == ACPI_SLOT_ROOT_PORT && c->pci_hotplug)
			root_port(s, a);
		aml_end(a);
	}
	if (c->pci_hotplug)
		all_ports_notify(c, a);
	aml_end(a);
	aml_end(a);
}
