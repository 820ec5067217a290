/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: vCPUs in the DSDT, each with its status asked from the hot-plug registers at
 * 0xcd8: a selector, flags (enabled, insert event, remove event, eject), a command byte and a data
 * word. CSCN walks the pending events after GPE 2. Firmware that lives in SMM may have asked to be
 * called first, by an SMI. Source: docs/specs/acpi_cpu_hotplug (register
 * interface)
 */
#include "machine/q35/acpi.h"

#include <stdio.h>

#define LOCK      "\\_SB.PCI0.PRES.CPLK"
#define REG(name) "\\_SB.PCI0.PRES." name

static void hotplug_registers(struct aml *a)
{
	static const char *const bits[] = {"CPEN", "CINS", "CRMV", "CEJ0", "CEJF"};

	aml_device(a, "\\_SB.PCI0.PRES");
	aml_name_eisa(a, "_HID", "PNP0A06");
	aml_name_str(a, "_UID", "CPU Hotplug resources");
	aml_mutex(a, "CPLK");
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_io(a, 0xcd8, 1, 0xc);
	aml_resources_end(a);
	aml_region(a, "PRST", AML_SYSTEM_IO, 0xcd8, 0xc);
	aml_field(a, "PRST", AML_BYTE_ACC | AML_WRITE_AS_ZEROS);
	aml_field_bits(a, NULL, 32);
	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		aml_field_bits(a, bits[i], 1);
	aml_field_bits(a, NULL, 3);
	aml_field_bits(a, "CCMD", 8);
	aml_end(a);
	aml_field(a, "PRST", AML_DWORD_ACC);
	aml_field_bits(a, "CSEL", 32);
	aml_field_bits(a, NULL, 32);
	aml_field_bits(a, "CDAT", 32);
	aml_end(a);
	aml_method(a, "_INI", 0, true);
	aml_op(a, AML_STORE);
	aml_int(a, 0);
	aml_path(a, "CSEL");
	aml_end(a);
	aml_end(a);
}

/* Store (@value, @reg) for a value of one operator byte (a local, an argument, 0, 1). */
static void set(struct aml *a, enum aml_op value, const char *reg)
{
	aml_op(a, AML_STORE);
	aml_op(a, value);
	aml_path(a, reg);
}

static void set_int(struct aml *a, uint64_t value, const char *reg)
{
	aml_op(a, AML_STORE);
	aml_int(a, value);
	aml_path(a, reg);
}

static void if_register_is_one(struct aml *a, const char *reg)
{
	aml_if(a);
	aml_op(a, AML_LEQUAL);
	aml_path(a, reg);
	aml_op(a, AML_ONE);
}

static void notify_method(const struct acpi_config *c, struct aml *a)
{
	char name[16];

	aml_method(a, "CTFY", 2, false);
	for (unsigned int i = 0; i < c->max_vcpus; i++) {
		snprintf(name, sizeof(name), "C%03X", i);
		aml_if(a);
		aml_op(a, AML_LEQUAL);
		aml_op(a, AML_ARG0);
		aml_int(a, i);
		aml_op(a, AML_NOTIFY);
		aml_path(a, name);
		aml_op(a, AML_ARG1);
		aml_end(a);
	}
	aml_end(a);
}

static void status_method(struct aml *a)
{
	aml_method(a, "CSTA", 1, true);
	aml_acquire(a, LOCK);
	set(a, AML_ARG0, REG("CSEL"));
	aml_bytes(a, "\x70\x00\x60", 3); /* Local0 = 0 */
	if_register_is_one(a, REG("CPEN"));
	aml_bytes(a, "\x70\x0a\x0f\x60", 4);
	aml_end(a);
	aml_release(a, LOCK);
	aml_op(a, AML_RETURN);
	aml_op(a, AML_LOCAL0);
	aml_end(a);
}

static void call_firmware(struct aml *a)
{
	set_int(a, 4, "\\_SB.PCI0.SMI0.SMIC");
}

static void eject_method(const struct acpi_config *c, struct aml *a)
{
	aml_method(a, "CEJ0", 1, true);
	aml_acquire(a, LOCK);
	set(a, AML_ARG0, REG("CSEL"));
	set(a, AML_ONE, c->smi_unplug ? REG("CEJF") : REG("CEJ0"));
	if (c->smi_unplug)
		call_firmware(a);
	aml_release(a, LOCK);
	aml_end(a);
}

static void call_notify(struct aml *a, uint64_t code)
{
	aml_path(a, "CTFY");
	aml_op(a, AML_LOCAL3);
	aml_int(a, code);
}

/* One selected vCPU: remember it if it was inserted, ask the OS to let go if it shall be removed.
 */
static void scan_one(struct aml *a)
{
	if_register_is_one(a, REG("CINS"));
	aml_bytes(a, "\x70\x63\x88", 3); /* CNEW [Local1] = Local3 */
	aml_path(a, "CNEW");
	aml_bytes(a, "\x61\x00\x75\x61\x70\x01\x60", 7); /* Local1++, Local0 = 1 */
	aml_end(a);
	aml_else(a);
	if_register_is_one(a, REG("CRMV"));
	call_notify(a, 3);
	set(a, AML_ONE, REG("CRMV"));
	aml_bytes(a, "\x70\x01\x60", 3);
	aml_end(a);
	aml_end(a);
}

/* While (events are left and the selector is in range): next event. */
static void scan_loop(const struct acpi_config *c, struct aml *a)
{
	aml_while(a);
	aml_bytes(a, "\x90\x93\x60\x01\x95\x63", 6); /* Local0 == 1 && Local3 < */
	aml_int(a, c->max_vcpus);
	aml_bytes(a, "\x70\x00\x60", 3);
	set(a, AML_LOCAL3, REG("CSEL"));
	set(a, AML_ZERO, REG("CCMD"));
	aml_if(a);
	aml_op(a, AML_LLESS);
	aml_path(a, REG("CDAT"));
	aml_op(a, AML_LOCAL3);
	aml_op(a, AML_BREAK);
	aml_end(a);
	aml_if(a);
	aml_bytes(a, "\x93\x61\x0a\xff\x70\x01\x64\xa5", 8); /* Local1 == 255: Local4 = 1, Break */
	aml_end(a);
	aml_op(a, AML_STORE);
	aml_path(a, REG("CDAT"));
	aml_op(a, AML_LOCAL3);
	scan_one(a);
	aml_bytes(a, "\x75\x63", 2); /* Local3++ */
	aml_end(a);
}

/* Tell the OS of the inserted ones and clear their events. */
static void announce_loop(struct aml *a)
{
	aml_bytes(a, "\x70\x00\x62", 3);
	aml_while(a);
	aml_bytes(a, "\x95\x62\x61\x70\x83\x88", 6); /* Local2 < Local1: Local3 = CNEW [Local2] */
	aml_path(a, "CNEW");
	aml_bytes(a, "\x62\x00\x63", 3);
	call_notify(a, 1);
	aml_op(a, AML_STORE);
	aml_op(a, AML_LOCAL3);
	aml_debug(a);
	set(a, AML_LOCAL3, REG("CSEL"));
	set(a, AML_ONE, REG("CINS"));
	aml_bytes(a, "\x75\x62", 2);
	aml_end(a);
}

static void scan_method(const struct acpi_config *c, struct aml *a)
{
	aml_method(a, "CSCN", 0, true);
	aml_acquire(a, LOCK);
	aml_name(a, "CNEW");
	aml_package(a, 0xff);
	aml_end(a);
	aml_bytes(a, "\x70\x00\x63\x70\x01\x64", 6); /* Local3 = 0, Local4 = 1 */
	aml_while(a);
	aml_bytes(a, "\x93\x64\x01\x70\x00\x64\x70\x01\x60\x70\x00\x61",
		  12); /* Local4 = 0, Local0 = 1, Local1 = 0 */
	scan_loop(c, a);
	if (c->smi_plug) { /* firmware takes them in before the OS wakes them */
		aml_if(a);
		aml_bytes(a, "\x94\x61\x00", 3); /* Local1 > 0 */
		call_firmware(a);
		aml_end(a);
	}
	announce_loop(a);
	aml_end(a);
	aml_release(a, LOCK);
	aml_end(a);
}

static void ost_method(struct aml *a)
{
	aml_method(a, "COST", 4, true);
	aml_acquire(a, LOCK);
	set(a, AML_ARG0, REG("CSEL"));
	set_int(a, 1, REG("CCMD"));
	set(a, AML_ARG1, REG("CDAT"));
	set_int(a, 2, REG("CCMD"));
	set(a, AML_ARG2, REG("CDAT"));
	aml_release(a, LOCK);
	aml_end(a);
}

static void one_vcpu_methods(struct aml *a, unsigned int i)
{
	if (i) { /* the first one stays */
		aml_method(a, "_EJ0", 1, false);
		aml_path(a, "CEJ0");
		aml_int(a, i);
		aml_end(a);
	}
	aml_method(a, "_OST", 3, true);
	aml_path(a, "COST");
	aml_int(a, i);
	aml_bytes(a, "\x68\x69\x6a", 3);
	aml_end(a);
}

static void one_vcpu(const struct acpi_config *c, struct aml *a, unsigned int i)
{
	uint8_t entry[16];
	size_t len = madt_local_apic(entry, i, c->apic_ids[i], true);
	char name[16];

	snprintf(name, sizeof(name), "C%03X", i);
	if (c->apic_ids[i] < 255) {
		aml_processor(a, name, (uint8_t)i);
	} else {
		aml_device(a, name);
		aml_name_str(a, "_HID", "ACPI0007");
		aml_name_int(a, "_UID", i);
	}
	aml_method(a, "_STA", 0, true);
	aml_op(a, AML_RETURN);
	aml_path(a, "CSTA");
	aml_int(a, i);
	aml_end(a);
	aml_name(a, "_MAT");
	aml_buffer(a, entry, len);
	one_vcpu_methods(a, i);
	if (c->vcpu_nodes && c->nodes_len)
		aml_name_int(a, "_PXM", c->vcpu_nodes[i]);
	aml_end(a);
}

/**
 * dsdt_cpus() - vCPUs, their hot-plug, and GPE 2
 * @c:		The machine
 * @a:		Where
 */
void dsdt_cpus(const struct acpi_config *c, struct aml *a)
{
	aml_scope(a, "_SB");
	hotplug_registers(a);
	aml_device(a, "\\_SB.CPUS");
	aml_name_str(a, "_HID", "ACPI0010");
	aml_name_eisa(a, "_CID", "PNP0A05");
	notify_method(c, a);
	status_method(a);
	eject_method(c, a);
	scan_method(c, a);
	ost_method(a);
	for (unsigned int i = 0; i < c->max_vcpus; i++)
		one_vcpu(c, a, i);
	aml_end(a);
	aml_end(a);
	aml_method(a, "\\_GPE._E02", 0, false);
	aml_path(a, "\\_SB.CPUS.CSCN");
	aml_end(a);
}
