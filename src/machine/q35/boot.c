/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: two ways to begin. With firmware, everything it asks for is in fw_cfg:
 * sizes, counts, the memory map, ACPI tables (written anew when it selects them), the kernel if one
 * was given. Without firmware we do at each reset what it would have done as far as kernels rely on
 * it: switch on ACPI power management and the configuration space window, put the tables into the
 * option ROM area, load the kernel and enter it.
 */
#include "machine/q35/q35.h"

#include "base/bytes.h"
#include "base/owned.h"
#include "kvm/x86/irqchip.h"

#include <errno.h>
#include <string.h>

#define ACPI_CNTL_ENABLE 0x80
#define PCIEXBAR_ENABLE  1

static void on_tables_selected(void *opaque)
{
	q35_acpi_update(opaque);
}

static int add_blob(struct q35 *q, const char *name, struct ram_block *b, size_t len, struct err *e)
{
	const struct fw_cfg_blob blob = {
		.data = b->hva, .len = (uint32_t)len, .selected = on_tables_selected, .opaque = q};

	return fw_cfg_add_shared(q->fw_cfg, name, &blob, e);
}

static int add_e820(struct q35 *q, const struct x86_layout *l, struct err *e)
{
	uint8_t table[4 * 20];
	const struct e820_entry ram[] = {
		{X86_KVM_PAGES_GPA, X86_KVM_PAGES_SIZE, E820_RESERVED},
		{X86_HT_GPA, l->hypertransport ? X86_HT_SIZE : 0, E820_RESERVED},
		{0, l->below_4g, E820_RAM},
		{X86_4GIB, l->above_4g, E820_RAM}};
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(ram); i++) {
		if (!ram[i].size)
			continue;
		store_le64(table + n, ram[i].addr);
		store_le64(table + n + 8, ram[i].size);
		store_le32(table + n + 16, ram[i].type);
		n += 20;
	}
	return fw_cfg_add_file(q->fw_cfg, "etc/e820", table, n, e);
}

static void add_numbers(struct q35 *q, const struct q35_config *c)
{
	struct fw_cfg *f = q->fw_cfg;

	fw_cfg_add(f, FW_CFG_UUID, c->uuid, sizeof(c->uuid));
	fw_cfg_add_u64(f, FW_CFG_RAM_SIZE, q->ram.bytes);
	q35_numa_tell(q);
	fw_cfg_add_u16(f, FW_CFG_NOGRAPHIC, 1);
	fw_cfg_add_u16(f, FW_CFG_MAX_CPUS,
		       (uint16_t)(x86_apic_id(&q->cpuid.topology, q->max_cpus - 1) + 1));
	if (c->append) {
		fw_cfg_add_u32(f, FW_CFG_CMDLINE_SIZE, (uint32_t)strlen(c->append) + 1);
		fw_cfg_add(f, FW_CFG_CMDLINE_DATA, c->append, strlen(c->append) + 1);
	}
}

/* CMOS bytes that firmware reads: memory sizes in the units of their time, CPU count. */
static void fill_cmos(struct q35 *q, const struct x86_layout *l)
{
	uint64_t ext_kib = MIN((l->below_4g - MiB) / KiB, 65535ULL);
	uint64_t high = l->below_4g > 16 * MiB ? (l->below_4g - 16 * MiB) / (64 * KiB) : 0;
	const uint64_t above = l->above_4g / (64 * KiB);
	const struct {
		uint8_t index;
		uint64_t value;
	} words[] = {{0x15, 640},
		     {0x17, ext_kib},
		     {0x30, ext_kib},
		     {0x34, MIN(high, 65535ULL)},
		     {0x5b, above}};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		rtc_set_cmos(q->rtc, words[i].index, (uint8_t)words[i].value);
		rtc_set_cmos(q->rtc, words[i].index + 1U, (uint8_t)(words[i].value >> 8));
	}
	rtc_set_cmos(q->rtc, 0x5d, (uint8_t)(above >> 16));
	rtc_set_cmos(q->rtc, 0x14, 0x06); /* FPU and PS/2 mouse */
}

static int add_smbios(struct q35 *q, const struct q35_config *c, struct err *e)
{
	uint8_t anchor[SMBIOS_ANCHOR_BYTES];
	int r;

	q35_smbios_build(q, c, &q->smbios);
	smbios_anchor(&q->smbios, 0, anchor);
	r = fw_cfg_add_file(q->fw_cfg, SMBIOS_TABLES_FILE, q->smbios.buf, q->smbios.len, e);
	return r < 0 ? r
		     : fw_cfg_add_file(q->fw_cfg, SMBIOS_ANCHOR_FILE, anchor, sizeof(anchor), e);
}

/* Files that firmware or the guest looks for; empty ones say that there is nothing to tell. */
static int add_small_files(struct q35 *q, struct err *e)
{
	static const char *const empty[] = {"bios-geometry", "etc/tpm/log"};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(empty) && r >= 0; i++)
		r = fw_cfg_add_file(q->fw_cfg, empty[i], "", 0, e);
	return r;
}

static int fill_fw_cfg(struct q35 *q, const struct q35_config *c, const struct x86_layout *l,
		       struct err *e)
{
	int r;

	add_numbers(q, c);
	if (!c->ram.adopt) /* else the guest is there already, and may be reading them */
		q35_acpi_update(q);
	r = add_e820(q, l, e);
	if (r >= 0)
		r = add_blob(q, ACPI_TABLES_FILE, q->ram.tables, q->ram.tables->size, e);
	if (r >= 0)
		r = add_blob(q, ACPI_LOADER_FILE, q->ram.loader, q->ram.loader->size, e);
	if (r >= 0)
		r = add_blob(q, ACPI_RSDP_FILE, q->ram.rsdp, ACPI_RSDP_BYTES, e);
	if (r >= 0)
		r = add_small_files(q, e);
	if (r >= 0)
		r = q35_boot_order_fill(q, &c->boot, e);
	return r < 0 ? r : add_smbios(q, c, e);
}

/* An AMD CPU that can address it has HyperTransport's range below 1 TiB. Source: AMD IOMMU 2.1.2 */
static struct x86_layout layout(const struct q35 *q)
{
	const struct kvm_cpuid_entry2 *vendor = x86_cpuid_find(&q->cpuid, 0, 0);
	const struct kvm_cpuid_entry2 *sizes = x86_cpuid_find(&q->cpuid, 0x80000008, 0);
	struct x86_layout l = x86_layout_q35(q->ram.bytes);

	l.hypertransport = vendor && vendor->ebx == 0x68747541 && sizes &&
			   (sizes->eax & 0xff) >= 40;
	return l;
}

/**
 * q35_boot_prepare() - Everything for the first reset
 * @q:		The machine with its chipset
 * @c:		The configuration
 * @e:		Set on failure only
 *
 * Errors: EINVAL there is nothing to boot with
 * Return: 0, or a negative errno
 */
int q35_boot_prepare(struct q35 *q, const struct q35_config *c, struct err *e)
{
	struct x86_layout l = layout(q);
	int r;

	q->direct = c->kernel && !c->ram.bios && !c->ram.pflash[0];
	fill_cmos(q, &l);
	q35_vcpus_count(q);
	r = fill_fw_cfg(q, c, &l, e);
	if (r < 0 || !q->direct)
		return r;
	q->kernel = str_dup(c->kernel);
	q->initrd = str_dup(c->initrd);
	q->append = str_dup(c->append);
	q->boot = (struct boot_options){.kernel = q->kernel,
					.initrd = q->initrd,
					.cmdline = q->append,
					.layout = l,
					.rsdp = Q35_RSDP_GPA};
	return 0;
}

/* Interrupts of PIRQA to PIRQH, as SeaBIOS routes them, and the trigger mode at the PIC to
 * match. */
static int route_pirqs(struct q35 *q, struct err *e)
{
	static const uint8_t irqs[] = {10, 10, 11, 11};
	struct kvm_irqchip chip;
	int r = x86_chip_get(q->kvm, X86_PIC_SLAVE, &chip, e);

	pthread_mutex_lock(&q->chipset_lock);
	for (unsigned int i = 0; i < 4; i++) {
		pci_config_write(&q->lpc->pci, 0x60 + i, irqs[i], 1);
		pci_config_write(&q->lpc->pci, 0x68 + i, irqs[i], 1);
	}
	pthread_mutex_unlock(&q->chipset_lock);
	if (r < 0)
		return r;
	chip.chip.pic.elcr |= 1 << (10 - 8) | 1 << (11 - 8);
	return x86_chip_set(q->kvm, X86_PIC_SLAVE, &chip, e);
}

/* What firmware programs and kernels rely on. */
static void play_firmware(struct q35 *q)
{
	pthread_mutex_lock(&q->chipset_lock);
	pci_config_write(&q->lpc->pci, 0x40, Q35_PMBASE | 1, 4);
	pci_config_write(&q->lpc->pci, 0x44, ACPI_CNTL_ENABLE, 1);
	pci_config_write(&q->mch->pci, 0x64, 0, 4);
	pci_config_write(&q->mch->pci, 0x60, (uint32_t)Q35_ECAM | PCIEXBAR_ENABLE, 4);
	pthread_mutex_unlock(&q->chipset_lock);
}

static int place_tables(struct q35 *q, struct err *e)
{
	static const struct acpi_places places = {Q35_TABLES_GPA, Q35_RSDP_GPA, X86_VMGENID_GPA};
	uint8_t *at = q->ram.rom->hva;
	struct acpi_tables t;
	int r;

	q35_acpi_build(q, &t);
	r = acpi_link(&t, &places, e);
	if (r >= 0 && t.tables.len > q->ram.rom->size - (Q35_TABLES_GPA - Q35_RSDP_GPA))
		r = err_set(e, ENOSPC, "the ACPI tables take %zu bytes, %ju are there",
			    t.tables.len, (uintmax_t)q->ram.rom->size);
	if (r >= 0) {
		memcpy(at, t.rsdp, sizeof(t.rsdp));
		memcpy(at + (Q35_TABLES_GPA - Q35_RSDP_GPA), t.tables.buf, t.tables.len);
	}
	acpi_destroy(&t);
	return r;
}

/* Where kernels look for the entry point if no firmware tells: the BIOS area, else empty. */
static void place_smbios(struct q35 *q)
{
	uint64_t offset = Q35_SMBIOS_GPA - (MiB - q->ram.bios->size);
	uint8_t *at = q->ram.bios->hva + offset;

	smbios_anchor(&q->smbios, Q35_SMBIOS_GPA + ALIGN_UP(SMBIOS_ANCHOR_BYTES, 16), at);
	memcpy(at + ALIGN_UP(SMBIOS_ANCHOR_BYTES, 16), q->smbios.buf, MIN(q->smbios.len, 0x8000UL));
}

/**
 * q35_boot_direct() - Start the kernel without firmware
 * @q:		Devices and vCPUs are reset, vCPUs parked
 * @e:		Set on failure only
 *
 * Errors: as boot_load()
 * Return: 0, or a negative errno
 */
int q35_boot_direct(struct q35 *q, struct err *e)
{
	struct x86_entry entry;
	int r;

	play_firmware(q);
	r = route_pirqs(q, e);
	if (r >= 0)
		r = place_tables(q, e);
	place_smbios(q);
	if (r >= 0 && q35_vmgenid(q))
		r = vmgenid_place(q35_vmgenid(q), X86_VMGENID_GPA, e);
	if (r >= 0)
		r = boot_load(&q->memory, &q->boot, &entry, e);
	return r < 0 ? r : x86_vcpu_enter(q->vm.vcpus[0]->kvm, &entry, e);
}
