/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the machine as the operating system's ACPI interpreter sees it: host bridge,
 * interrupt links, HPET, vCPUs, hot-plug registers, legacy devices. Names, order and methods follow
 * what QEMU's pc-q35-7.2 shows to guests, so a guest that moves finds the same name space. Parts:
 * dsdt_pci.c, dsdt_cpu.c.
 */
#include "machine/q35/acpi.h"

#include <stdio.h>

/* Scope (\): a method that prints to the debug port. */
static void debug_port(struct aml *a)
{
	aml_scope(a, "\\");
	aml_region(a, "DBG", AML_SYSTEM_IO, 0x402, 1);
	aml_field(a, "DBG", AML_BYTE_ACC);
	aml_field_bits(a, "DBGB", 8);
	aml_end(a);
	aml_method(a, "DBUG", 1, false);
	aml_bytes(a, "\x98\x68\x60\x96\x60\x60",
		  6); /* ToHexString (Arg0, Local0), ToBuffer (Local0, Local0) */
	aml_bytes(a, "\x74\x87\x60\x01\x61\x70\x00\x62",
		  8); /* Local1 = SizeOf (Local0) - 1, Local2 = 0 */
	aml_while(a);
	aml_bytes(a, "\x95\x62\x61\x70\x83\x88\x60\x62\x00",
		  9); /* Local2 < Local1: Store (DerefOf (Local0 [Local2]), */
	aml_path(a, "DBGB");
	aml_bytes(a, "\x75\x62", 2);
	aml_end(a);
	aml_op(a, AML_STORE);
	aml_int(a, 0xa);
	aml_path(a, "DBGB");
	aml_end(a);
	aml_end(a);
}

static void dword_field(struct aml *a, unsigned int offset, const char *name)
{
	aml_op(a, AML_CREATE_DWORD_FIELD);
	aml_op(a, AML_ARG3);
	aml_int(a, offset);
	aml_path(a, name);
}

/* CDW1 |= @bit */
static void osc_answer(struct aml *a, uint64_t bit)
{
	aml_op(a, AML_OR);
	aml_path(a, "CDW1");
	aml_int(a, bit);
	aml_path(a, "CDW1");
}

/* _OSC: the OS may have what 0x1e allows, and native hot-plug (1) where ACPI hot-plug doesn't
 * serve the root ports. */
static void osc(const struct acpi_config *c, struct aml *a)
{
	aml_method(a, "_OSC", 4, false);
	dword_field(a, 0, "CDW1");
	aml_if(a);
	aml_op(a, AML_LEQUAL);
	aml_op(a, AML_ARG0);
	aml_uuid(a, "33db4d5b-1ff7-401c-9657-7441c03dd766");
	dword_field(a, 4, "CDW2");
	dword_field(a, 8, "CDW3");
	aml_op(a, AML_STORE);
	aml_path(a, "CDW3");
	aml_op(a, AML_LOCAL0);
	aml_op(a, AML_AND);
	aml_op(a, AML_LOCAL0);
	aml_int(a, c->pci_hotplug ? 0x1e : 0x1f);
	aml_op(a, AML_LOCAL0);
	aml_if(a);
	aml_bytes(a, "\x92\x93\x69\x01", 4); /* Arg1 != 1: unknown revision */
	osc_answer(a, 8);
	aml_end(a);
	aml_if(a);
	aml_bytes(a, "\x92\x93", 2);
	aml_path(a, "CDW3");
	aml_op(a, AML_LOCAL0); /* something was masked */
	osc_answer(a, 0x10);
	aml_end(a);
	aml_op(a, AML_STORE);
	aml_op(a, AML_LOCAL0);
	aml_path(a, "CDW3");
	aml_end(a);
	aml_else(a);
	osc_answer(a, 4);
	aml_end(a);
	aml_op(a, AML_RETURN);
	aml_op(a, AML_ARG3);
	aml_end(a);
}

/* The memory-mapped configuration space belongs to the board, so that no BAR is put there. */
static void ecam_device(const struct acpi_config *c, struct aml *a)
{
	aml_device(a, "DRAC");
	aml_name_str(a, "_HID", "PNP0C01");
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_byte(a, 0x87); /* DWordMemory, producer, positive decode, fixed */
	aml_le(a, 23, 2);
	aml_bytes(a, "\0\x0c\1", 3);
	aml_le(a, 0, 4);
	aml_le(a, c->ecam, 4);
	aml_le(a, c->ecam + (256U << 20) - 1, 4);
	aml_le(a, 0, 4);
	aml_le(a, 256U << 20, 4);
	aml_resources_end(a);
	aml_end(a);
}

/* Ports of the SMI command, and the byte that calls firmware. */
static void smi_device(struct aml *a)
{
	aml_device(a, "PCI0.SMI0");
	aml_name_eisa(a, "_HID", "PNP0A06");
	aml_name_str(a, "_UID", "SMI resources");
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_io(a, 0xb2, 1, 2);
	aml_resources_end(a);
	aml_region(a, "SMIR", AML_SYSTEM_IO, 0xb2, 2);
	aml_field(a, "SMIR", AML_BYTE_ACC | AML_WRITE_AS_ZEROS);
	aml_field_bits(a, "SMIC", 8);
	aml_field_bits(a, NULL, 8);
	aml_end(a);
	aml_end(a);
}

static void host_bridge(const struct acpi_config *c, struct aml *a)
{
	aml_scope(a, "_SB");
	aml_device(a, "PCI0");
	aml_name_eisa(a, "_HID", "PNP0A08");
	aml_name_eisa(a, "_CID", "PNP0A03");
	aml_name_int(a, "_ADR", 0);
	aml_name_int(a, "_UID", 0);
	osc(c, a);
	aml_end(a);
	if (c->ecam)
		ecam_device(c, a);
	if (c->smi_plug)
		smi_device(a);
	aml_end(a);
}

/* Return (0) if Local0 or Local1 fails: @first == 0, or @first beyond what is sane. */
static void hpet_implausible(struct aml *a, enum aml_op local, enum aml_op than, uint64_t limit)
{
	aml_if(a);
	aml_op(a, AML_LOR);
	aml_op(a, AML_LEQUAL);
	aml_op(a, local);
	aml_int(a, 0);
	aml_op(a, than);
	aml_op(a, local);
	aml_int(a, limit);
	aml_return_int(a, 0);
	aml_end(a);
}

static void hpet_device(struct aml *a)
{
	aml_scope(a, "_SB");
	aml_device(a, "HPET");
	aml_name_eisa(a, "_HID", "PNP0103");
	aml_name_int(a, "_UID", 0);
	aml_region(a, "HPTM", AML_SYSTEM_MEMORY, 0xfed00000, 0x400);
	aml_field(a, "HPTM", AML_DWORD_ACC | AML_FIELD_LOCK);
	aml_field_bits(a, "VEND", 32);
	aml_field_bits(a, "PRD", 32);
	aml_end(a);
	aml_method(a, "_STA", 0, false);
	aml_op(a, AML_STORE);
	aml_path(a, "VEND");
	aml_op(a, AML_LOCAL0);
	aml_op(a, AML_STORE);
	aml_path(a, "PRD");
	aml_op(a, AML_LOCAL1);
	aml_bytes(a, "\x7a\x60\x0a\x10\x60", 5); /* Local0 >>= 16: the vendor */
	hpet_implausible(a, AML_LOCAL0, AML_LEQUAL, 0xffff);
	hpet_implausible(a, AML_LOCAL1, AML_LGREATER, 100000000); /* period, fs */
	aml_return_int(a, 0xf);
	aml_end(a);
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_memory32(a, 0xfed00000, 0x400, false);
	aml_resources_end(a);
	aml_end(a);
	aml_end(a);
}

/* The part of [first, last] that isn't configuration space. */
static void memory_windows(const struct acpi_config *c, struct aml *a)
{
	uint64_t first = c->hole, end = c->hole_end;

	if (c->ecam >= first && c->ecam < end) {
		if (c->ecam > first)
			aml_res_memory_window(a, first, c->ecam - 1, false, false);
		first = c->ecam + (256ULL << 20);
	}
	if (first < end)
		aml_res_memory_window(a, first, end - 1, false, false);
	if (c->hole64 < c->hole64_end)
		aml_res_memory_window(a, c->hole64, c->hole64_end - 1, true, true);
}

static void container(struct aml *a, const char *name, const char *uid, uint16_t base, uint8_t len)
{
	aml_device(a, name);
	aml_name_str(a, "_HID", "PNP0A06");
	aml_name_str(a, "_UID", uid);
	aml_name_int(a, "_STA", 0xb);
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_io(a, base, 1, len);
	aml_resources_end(a);
	aml_end(a);
}

static void root_resources(const struct acpi_config *c, struct aml *a)
{
	aml_scope(a, "\\_SB.PCI0");
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_bus(a, 0, 0xff);
	aml_res_io(a, 0xcf8, 1, 8);
	aml_res_io_window(a, 0, 0xcf7);
	aml_res_io_window(a, 0xd00, 0xffff);
	aml_res_memory_window(a, 0xa0000, 0xbffff, false, true);
	memory_windows(c, a);
	aml_resources_end(a);
	container(a, "GPE0", "GPE0 resources", (uint16_t)(c->pmbase + 0x20), 0x10);
	if (c->pci_hotplug)
		container(a, "PHPR", "PCI Hotplug resources", 0xcc0, 0x18);
	aml_end(a);
}

static void sleep_state(struct aml *a, const char *name, uint64_t type)
{
	aml_name(a, name);
	aml_package(a, 4);
	aml_int(a, type);
	aml_int(a, type);
	aml_int(a, 0);
	aml_int(a, 0);
	aml_end(a);
}

static void sleep_states(const struct acpi_config *c, struct aml *a)
{
	aml_scope(a, "\\");
	if (c->s3)
		sleep_state(a, "_S3", 1);
	if (c->s4)
		sleep_state(a, "_S4", c->s4_type);
	sleep_state(a, "_S5", 0);
	aml_end(a);
}

static void fw_cfg_device(struct aml *a)
{
	aml_scope(a, "\\_SB.PCI0");
	aml_device(a, "FWCF");
	aml_name_str(a, "_HID", "QEMU0002");
	aml_name_int(a, "_STA", 0xb);
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_io(a, 0x510, 1, 0xc);
	aml_resources_end(a);
	aml_end(a);
	aml_end(a);
}

static void gpe_handlers(struct aml *a)
{
	aml_scope(a, "_GPE");
	aml_method(a, "_E01", 0, false);
	aml_acquire(a, "\\_SB.PCI0.BLCK");
	aml_path(a, "\\_SB.PCI0.PCNT");
	aml_release(a, "\\_SB.PCI0.BLCK");
	aml_end(a);
	aml_end(a);
}

/**
 * dsdt_build() - Write the DSDT's body
 * @c:		The machine
 * @a:		Where, behind the header
 */
void dsdt_build(const struct acpi_config *c, struct aml *a)
{
	debug_port(a);
	host_bridge(c, a);
	if (c->pci_hotplug)
		dsdt_pci_hotplug(a);
	dsdt_pci_routing(a);
	if (c->hpet)
		hpet_device(a);
	aml_scope(a, "_GPE");
	aml_name_str(a, "_HID", "ACPI0006");
	aml_end(a);
	dsdt_cpus(c, a);
	root_resources(c, a);
	sleep_states(c, a);
	fw_cfg_device(a);
	dsdt_pci_slots(c, a);
	if (c->pci_hotplug)
		gpe_handlers(a);
}
