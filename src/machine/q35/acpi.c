/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the tables are one blob; pointers in it are offsets, and a script beside it
 * tells the firmware where to allocate, which pointers to add an address to and which checksums to
 * compute. The same script is run here when a kernel is booted without firmware. Contents and order
 * are those of QEMU's pc-q35-7.2, OEM strings included, since operating systems tell machines apart
 * by them. Sources: ACPI 6.5 chapter 5; docs/specs/fw_cfg (table-loader); IA-PC HPET 1.0a 3.2.4;
 * PCI Firmware 3.2, 4.1.2 (MCFG)
 */
#include "machine/q35/acpi.h"

#include "base/bytes.h"
#include "device/vmgenid.h"

#include <errno.h>
#include <string.h>

#define GAS_MEMORY 0
#define GAS_IO     1

enum { LOADER_ALLOCATE = 1, LOADER_POINTER, LOADER_CHECKSUM, LOADER_WRITE_POINTER };

static void loader_name(struct aml *l, const char *file)
{
	char name[56] = {0};

	memcpy(name, file, strlen(file));
	aml_bytes(l, name, sizeof(name));
}

static void loader_pad(struct aml *l)
{
	while (l->len % 128)
		aml_byte(l, 0);
}

static void loader_allocate(struct aml *l, const char *file, uint32_t align, uint8_t zone)
{
	aml_le(l, LOADER_ALLOCATE, 4);
	loader_name(l, file);
	aml_le(l, align, 4);
	aml_byte(l, zone);
	loader_pad(l);
}

static void loader_pointer(struct aml *l, const char *in, size_t offset, uint8_t size,
			   const char *to)
{
	aml_le(l, LOADER_POINTER, 4);
	loader_name(l, in);
	loader_name(l, to);
	aml_le(l, offset, 4);
	aml_byte(l, size);
	loader_pad(l);
}

/* The firmware writes into @in, which is ours, where it has put @to, plus @add. */
static void loader_write_pointer(struct aml *l, const char *in, const char *to, uint32_t add)
{
	aml_le(l, LOADER_WRITE_POINTER, 4);
	loader_name(l, in);
	loader_name(l, to);
	aml_le(l, 0, 4);
	aml_le(l, add, 4);
	aml_byte(l, 8);
	loader_pad(l);
}

static void loader_checksum(struct aml *l, const char *file, size_t at, size_t start, size_t len)
{
	aml_le(l, LOADER_CHECKSUM, 4);
	loader_name(l, file);
	aml_le(l, at, 4);
	aml_le(l, start, 4);
	aml_le(l, len, 4);
	loader_pad(l);
}

/* A table's header; its length and checksum are filled in by table_end(). Returns where it begins.
 */
static size_t table_begin(struct aml *a, const char *signature, uint8_t revision)
{
	size_t at = a->len;

	aml_bytes(a, signature, 4);
	aml_le(a, 0, 4);
	aml_byte(a, revision);
	aml_byte(a, 0);
	aml_bytes(a, "BOCHS BXPC    ", 14);
	aml_le(a, 1, 4);
	aml_bytes(a, "BXPC", 4);
	aml_le(a, 1, 4);
	return at;
}

/* The second "BXPC    " of the header gives way to the table's own name. */
static size_t table_begin_named(struct aml *a, const char *signature, uint8_t revision,
				const char name[8])
{
	size_t at = table_begin(a, signature, revision);

	memcpy(a->buf + at + 16, name, 8);
	return at;
}

static void table_end(struct acpi_tables *t, size_t at)
{
	store_le32(t->tables.buf + at + 4, (uint32_t)(t->tables.len - at));
	loader_checksum(&t->loader, ACPI_TABLES_FILE, at + 9, at, t->tables.len - at);
}

static void gas(struct aml *a, uint8_t space, uint8_t bits, uint64_t addr)
{
	aml_byte(a, space);
	aml_byte(a, bits);
	aml_le(a, 0, 2);
	aml_le(a, addr, 8);
}

static void facs(struct aml *a)
{
	aml_bytes(a, "FACS", 4);
	aml_le(a, 64, 4);
	for (size_t i = 8; i < 64; i++)
		aml_byte(a, 0);
}

static void fadt_blocks(struct aml *a, uint16_t pmbase)
{
	aml_le(a, pmbase, 4); /* PM1a event */
	aml_le(a, 0, 4);
	aml_le(a, pmbase + 4U, 4); /* PM1a control */
	aml_le(a, 0, 4);
	aml_le(a, 0, 4);
	aml_le(a, pmbase + 8U, 4);    /* PM timer */
	aml_le(a, pmbase + 0x20U, 4); /* GPE0 */
	aml_le(a, 0, 4);
	aml_bytes(a, "\4\2\0\4\20\0\0\0", 8); /* lengths of these; GPE1 base, _CST */
}

static void fadt_wide_blocks(struct aml *a, uint16_t pmbase)
{
	gas(a, GAS_IO, 32, pmbase);
	gas(a, GAS_MEMORY, 0, 0);
	gas(a, GAS_IO, 16, pmbase + 4U);
	gas(a, GAS_MEMORY, 0, 0);
	gas(a, GAS_MEMORY, 0, 0);
	gas(a, GAS_IO, 32, pmbase + 8U);
	gas(a, GAS_IO, 128, pmbase + 0x20U);
	gas(a, GAS_MEMORY, 0, 0);
}

static size_t fadt(const struct acpi_config *c, struct acpi_tables *t, size_t facs_at,
		   size_t dsdt_at)
{
	struct aml *a = &t->tables;
	size_t at = table_begin(a, "FACP", 3);

	aml_le(a, facs_at, 4);
	aml_le(a, dsdt_at, 4);
	aml_byte(a, 1); /* interrupt model */
	aml_byte(a, 0);
	aml_le(a, 9, 2); /* SCI */
	aml_le(a, c->smm ? 0xb2 : 0, 4);
	aml_byte(a, c->smm ? 2 : 0);
	aml_byte(a, c->smm ? 3 : 0);
	aml_le(a, 0, 2);
	fadt_blocks(a, c->pmbase);
	aml_le(a, 0xfff, 2); /* no C2 */
	aml_le(a, 0xfff, 2); /* no C3 */
	aml_le(a, 0, 8);     /* flush, duty, alarms of day and month */
	aml_byte(a, 0x32);   /* century */
	aml_le(a, 2, 2);     /* there is an 8042 */
	aml_byte(a, 0);
	/* WBINVD, C1, sleep button and RTC wake as QEMU has them, reset register, platform timer;
	 * many CPUs: cluster */
	aml_le(a, 0x84a5 | (c->max_vcpus > 8 ? 1 << 18 : 0), 4);
	gas(a, GAS_IO, 8, 0xcf9);
	aml_byte(a, 0xf);
	aml_le(a, 0, 3);
	aml_le(a, 0, 8);
	aml_le(a, dsdt_at, 8);
	fadt_wide_blocks(a, c->pmbase);
	loader_pointer(&t->loader, ACPI_TABLES_FILE, at + 36, 4, ACPI_TABLES_FILE);
	loader_pointer(&t->loader, ACPI_TABLES_FILE, at + 40, 4, ACPI_TABLES_FILE);
	loader_pointer(&t->loader, ACPI_TABLES_FILE, at + 140, 8, ACPI_TABLES_FILE);
	table_end(t, at);
	return at;
}

/**
 * madt_local_apic() - The MADT entry of a vCPU, which its _MAT method returns as well
 * @entry:	Filled in
 * @uid:	ACPI processor number
 * @apic_id:	Local APIC ID; from 255 on an x2APIC entry is made
 * @enabled:	Present at start
 *
 * Return: bytes of it
 */
size_t madt_local_apic(uint8_t entry[16], uint32_t uid, uint32_t apic_id, bool enabled)
{
	memset(entry, 0, 16);
	if (apic_id < 255) {
		entry[0] = 0;
		entry[1] = 8;
		entry[2] = (uint8_t)uid;
		entry[3] = (uint8_t)apic_id;
		store_le32(entry + 4, enabled);
		return 8;
	}
	entry[0] = 9;
	entry[1] = 16;
	store_le32(entry + 4, apic_id);
	store_le32(entry + 8, enabled);
	store_le32(entry + 12, uid);
	return 16;
}

static void madt_override(struct aml *a, uint8_t irq, uint32_t gsi, uint16_t flags)
{
	aml_byte(a, 2);
	aml_byte(a, 10);
	aml_byte(a, 0);
	aml_byte(a, irq);
	aml_le(a, gsi, 4);
	aml_le(a, flags, 2);
}

static size_t madt(const struct acpi_config *c, struct acpi_tables *t)
{
	static const uint8_t level[] = {5, 9, 10, 11};
	struct aml *a = &t->tables;
	size_t at = table_begin(a, "APIC", 1);
	bool x2apic = false;

	aml_le(a, 0xfee00000, 4);
	aml_le(a, 1, 4); /* there are 8259s */
	for (unsigned int i = 0; i < c->max_vcpus; i++) {
		uint8_t entry[16];

		aml_bytes(a, entry, madt_local_apic(entry, i, c->apic_ids[i], c->present[i]));
		x2apic |= c->apic_ids[i] >= 255;
	}
	aml_bytes(a, "\1\14\0\0\0\0\300\376\0\0\0\0", 12); /* IOAPIC 0 at 0xfec00000, GSI 0 */
	madt_override(a, 0, 2, 0);
	for (size_t i = 0; i < sizeof(level); i++)
		madt_override(a, level[i], level[i], 0xd);
	if (x2apic)
		aml_bytes(a, "\12\14\0\0\377\377\377\377\1\0\0\0",
			  12); /* NMI at LINT1 of every x2APIC */
	else
		aml_bytes(a, "\4\6\377\0\0\1", 6); /* NMI at LINT1 of every vCPU */
	table_end(t, at);
	return at;
}

static size_t vmgenid(struct acpi_tables *t)
{
	size_t at = table_begin_named(&t->tables, "SSDT", 1, "VMGENID");
	size_t address = ssdt_vmgenid(&t->tables);

	loader_write_pointer(&t->loader, VMGENID_ADDR_FILE, VMGENID_GUID_FILE, VMGENID_GUID_OFFSET);
	loader_pointer(&t->loader, ACPI_TABLES_FILE, address, 4, VMGENID_GUID_FILE);
	table_end(t, at);
	return at;
}

static size_t hpet(struct acpi_tables *t)
{
	struct aml *a = &t->tables;
	size_t at = table_begin(a, "HPET", 1);

	aml_le(a, 0x8086a201, 4);
	gas(a, GAS_MEMORY, 0, 0xfed00000);
	aml_le(a, 0, 4); /* number 0, minimum tick 0, no protection */
	table_end(t, at);
	return at;
}

static size_t mcfg(const struct acpi_config *c, struct acpi_tables *t)
{
	struct aml *a = &t->tables;
	size_t at = table_begin(a, "MCFG", 1);

	aml_le(a, 0, 8);
	aml_le(a, c->ecam, 8);
	aml_le(a, 0, 2);
	aml_byte(a, 0);
	aml_byte(a, 255);
	aml_le(a, 0, 4);
	table_end(t, at);
	return at;
}

static void srat_cpu(const struct acpi_config *c, struct aml *a, unsigned int i)
{
	uint32_t node = c->vcpu_nodes ? c->vcpu_nodes[i] : 0, apic_id = c->apic_ids[i];

	aml_byte(a, apic_id < 255 ? 0 : 2);
	aml_byte(a, apic_id < 255 ? 16 : 24);
	if (apic_id < 255) {
		aml_byte(a, (uint8_t)node);
		aml_byte(a, (uint8_t)apic_id);
		aml_le(a, 1, 4);
		aml_byte(a, 0);
		aml_le(a, node >> 8, 3);
		aml_le(a, 0, 4);
		return;
	}
	aml_le(a, 0, 2);
	aml_le(a, node, 4);
	aml_le(a, apic_id, 4);
	aml_le(a, 1, 4);
	aml_le(a, 0, 8);
}

static size_t srat(const struct acpi_config *c, struct acpi_tables *t)
{
	struct aml *a = &t->tables;
	size_t at = table_begin(a, "SRAT", 1);

	aml_le(a, 1, 4);
	aml_le(a, 0, 8);
	for (unsigned int i = 0; i < c->max_vcpus; i++)
		srat_cpu(c, a, i);
	for (size_t i = 0; i < c->nodes_len; i++) {
		aml_byte(a, 1);
		aml_byte(a, 40);
		aml_le(a, c->nodes[i].node, 4);
		aml_le(a, 0, 2);
		aml_le(a, c->nodes[i].base, 8);
		aml_le(a, c->nodes[i].size, 8);
		aml_le(a, 0, 4);
		aml_le(a, c->nodes[i].size ? 1 : 0, 4);
		aml_le(a, 0, 8);
	}
	table_end(t, at);
	return at;
}

static size_t slit(const struct q35_numa *n, struct acpi_tables *t)
{
	size_t at = table_begin(&t->tables, "SLIT", 1);

	aml_le(&t->tables, n->nodes, 8);
	for (unsigned int i = 0; i < n->nodes; i++)
		aml_bytes(&t->tables, n->distance[i], n->nodes);
	table_end(t, at);
	return at;
}

static size_t waet(struct acpi_tables *t)
{
	size_t at = table_begin(&t->tables, "WAET", 1);

	aml_le(&t->tables, 2, 4); /* one read of the PM timer is enough */
	table_end(t, at);
	return at;
}

static size_t rsdt(struct acpi_tables *t, const size_t *at, size_t n)
{
	size_t self = table_begin(&t->tables, "RSDT", 1);

	for (size_t i = 0; i < n; i++) {
		loader_pointer(&t->loader, ACPI_TABLES_FILE, t->tables.len, 4, ACPI_TABLES_FILE);
		aml_le(&t->tables, at[i], 4);
	}
	table_end(t, self);
	return self;
}

static void rsdp(struct acpi_tables *t, size_t rsdt_at)
{
	memset(t->rsdp, 0, sizeof(t->rsdp));
	memcpy(t->rsdp, "RSD PTR \0BOCHS ", 15);
	store_le32(t->rsdp + 16, (uint32_t)rsdt_at);
	loader_pointer(&t->loader, ACPI_RSDP_FILE, 16, 4, ACPI_TABLES_FILE);
	loader_checksum(&t->loader, ACPI_RSDP_FILE, 8, 0, ACPI_RSDP_BYTES);
}

/**
 * acpi_build() - Make the tables
 * @c:		What they say
 * @ret:	Filled in; release with acpi_destroy()
 */
void acpi_build(const struct acpi_config *c, struct acpi_tables *ret)
{
	size_t at[10], n = 0, facs_at, dsdt_at;

	*ret = (struct acpi_tables){0};
	loader_allocate(&ret->loader, ACPI_RSDP_FILE, 16, 2);
	if (c->vmgenid)
		loader_allocate(&ret->loader, VMGENID_GUID_FILE, VMGENID_PAGE_BYTES, 1);
	loader_allocate(&ret->loader, ACPI_TABLES_FILE, 64, 1);
	facs_at = ret->tables.len;
	facs(&ret->tables);
	dsdt_at = table_begin(&ret->tables, "DSDT", 1);
	dsdt_build(c, &ret->tables);
	table_end(ret, dsdt_at);
	at[n++] = fadt(c, ret, facs_at, dsdt_at);
	at[n++] = madt(c, ret);
	if (c->vmgenid)
		at[n++] = vmgenid(ret);
	if (c->hpet)
		at[n++] = hpet(ret);
	if (c->nodes_len)
		at[n++] = srat(c, ret);
	if (c->numa && c->numa->distances)
		at[n++] = slit(c->numa, ret);
	if (c->ecam)
		at[n++] = mcfg(c, ret);
	at[n++] = waet(ret);
	rsdp(ret, rsdt(ret, at, n));
}

/**
 * acpi_destroy() - Free the blobs
 * @t:		The tables
 */
void acpi_destroy(struct acpi_tables *t)
{
	aml_destroy(&t->tables);
	aml_destroy(&t->loader);
}

struct blob {
	uint8_t *bytes;
	size_t len;
	uint64_t gpa;
};

static bool blob_find(struct acpi_tables *t, const uint8_t *name, const struct acpi_places *p,
		      struct blob *ret)
{
	const char *file = (const char *)name;

	if (strcmp(file, ACPI_TABLES_FILE) == 0)
		*ret = (struct blob){t->tables.buf, t->tables.len, p->tables};
	else if (strcmp(file, ACPI_RSDP_FILE) == 0)
		*ret = (struct blob){t->rsdp, sizeof(t->rsdp), p->rsdp};
	else if (strcmp(file, VMGENID_GUID_FILE) == 0 || strcmp(file, VMGENID_ADDR_FILE) == 0)
		*ret = (struct blob){.gpa = p->vmgenid}; /* its device's, see vmgenid_place() */
	else
		return false;
	return true;
}

static void add_pointer(const struct blob *b, uint32_t offset, uint8_t size, uint64_t gpa)
{
	if (size == 8)
		store_le64(b->bytes + offset, load_le64(b->bytes + offset) + gpa);
	else
		store_le32(b->bytes + offset, load_le32(b->bytes + offset) + (uint32_t)gpa);
}

static void add_checksum(const struct blob *b, const uint8_t *command)
{
	uint32_t at = load_le32(command + 60), start = load_le32(command + 64),
		 len = load_le32(command + 68);
	uint8_t sum = 0;

	b->bytes[at] = 0;
	for (uint32_t i = start; i < start + len; i++)
		sum = (uint8_t)(sum + b->bytes[i]);
	b->bytes[at] = (uint8_t)-sum;
}

/**
 * acpi_link() - Do what the loader script tells firmware to do
 * @t:		Tables as built; changed in place
 * @p:		Where they will be
 * @e:		Set on failure only
 *
 * Errors: EINVAL the script names a file that isn't there (a mistake of ours)
 * Return: 0, or a negative errno
 */
int acpi_link(struct acpi_tables *t, const struct acpi_places *p, struct err *e)
{
	for (size_t at = 0; at < t->loader.len; at += 128) {
		const uint8_t *command = t->loader.buf + at;
		struct blob b, to;

		if (!blob_find(t, command + 4, p, &b))
			return err_set(e, EINVAL, "ACPI loader: no file '%.55s'", command + 4);
		if (load_le32(command) == LOADER_CHECKSUM)
			add_checksum(&b, command);
		if (load_le32(command) != LOADER_POINTER)
			continue;
		if (!blob_find(t, command + 60, p, &to))
			return err_set(e, EINVAL, "ACPI loader: no file '%.55s'", command + 60);
		add_pointer(&b, load_le32(command + 116), command[120], to.gpa);
	}
	return 0;
}
