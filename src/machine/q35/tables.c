/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the ACPI tables of a machine with its devices. They depend on what firmware
 * programs (where the power management block and the configuration space are), so they are written
 * when firmware first selects them in fw_cfg, as well as when the machine is made. The blobs live
 * in RAM blocks, because a guest that moves while its firmware is reading must find the same bytes
 * on the other side.
 */
#include "machine/q35/q35.h"

#include "base/bytes.h"
#include "base/owned.h"

#include <string.h>

#define SLOTS_MAX 256
#define CPUID_HTT (1U << 28)

static size_t slots_fill(const struct q35 *q, struct acpi_slot *slots)
{
	size_t n = 0;

	for (unsigned int devfn = 0; devfn < SLOTS_MAX; devfn++) {
		struct pci_device *d = q->root->devices[devfn];

		if (!d)
			continue;
		slots[n] = (struct acpi_slot){
			.devfn = (uint8_t)devfn, .kind = ACPI_SLOT_PLAIN, .bsel = -1};
		if (&q->lpc->pci == d)
			slots[n].kind = ACPI_SLOT_LPC;
		if (d->secondary) {
			slots[n].kind = ACPI_SLOT_ROOT_PORT;
			slots[n].bsel = lpc_pci_bus_selector(q->lpc, d->secondary);
			slots[n].order = d->secondary->order;
			slots[n].child = d->secondary->devices[0];
		}
		n++;
	}
	return n;
}

static void blob_write(struct ram_block *b, const void *bytes, size_t len)
{
	memset(b->hva, 0, b->size);
	memcpy(b->hva, bytes, MIN(len, (size_t)b->size));
}

/* ICH9 13.1.12: PMBASE, and 13.1.13: ACPI_CNTL with its enable bit. */
static uint16_t pmbase(const struct q35 *q)
{
	const uint8_t *config = q->lpc->pci.config;

	return config[0x44] & 0x80 ? load_le32(config + 0x40) & 0xff80 : 0;
}

/* Intel 3 Series MCH, 5.1.15: PCIEXBAR, bit 0 enables. */
static uint64_t ecam(const struct q35 *q)
{
	uint64_t reg = load_le64(q->mch->pci.config + 0x60);

	return reg & 1 ? reg & 0xff0000000ULL : 0;
}

/**
 * q35_vmgenid() - The machine's generation id
 * @q:		The machine
 *
 * Return: borrowed, or NULL: it has none
 */
struct vmgenid *q35_vmgenid(const struct q35 *q)
{
	struct device *dev;

	list_for_each (dev, &q->devices, link)
		if (dev->class == &vmgenid_class)
			return CONTAINER_OF(dev, struct vmgenid, dev);
	return NULL;
}

static void config_fill(const struct q35 *q, struct acpi_config *c)
{
	uint64_t high = q->ram.bytes - x86_layout_q35(q->ram.bytes).below_4g;

	*c = (struct acpi_config){
		.present = q->lpc->cpu_present,
		.max_vcpus = q->max_cpus,
		.pmbase = pmbase(q),
		.ecam = ecam(q),
		.hole = x86_layout_q35(q->ram.bytes).below_4g,
		.hole_end = Q35_IOAPIC,
		.hpet = q->hpet,
		.serial = q->serials,
		.smm = q->smm,
		.smi_plug = q->lpc->s.smi_negotiated & SMI_CPU_PLUG,
		.smi_unplug = q->lpc->s.smi_negotiated & SMI_CPU_UNPLUG,
		.vmgenid = q35_vmgenid(q) != NULL,
		.pci_hotplug = q->lpc->acpi_hotplug,
		.s3 = !q->lpc->s3_off,
		.s4 = !q->lpc->s4_off,
		.s4_type = q->lpc->s4_type,
	};
	c->hole64 = ALIGN_UP((1ULL << 32) + high, GiB);
	c->hole64_end = c->hole64 + Q35_HOLE64_BYTES;
}

/**
 * q35_acpi_build() - The tables as they are now
 * @q:		The machine
 * @ret:	Filled in; release with acpi_destroy()
 */
void q35_acpi_build(struct q35 *q, struct acpi_tables *ret)
{
	OWNED(struct acpi_node *) nodes = NULL;
	OWNED(struct acpi_slot *) slots = mem_calloc(SLOTS_MAX, sizeof(*slots));
	OWNED(uint32_t *) ids = mem_calloc(q->max_cpus, sizeof(*ids));
	struct acpi_config c;

	config_fill(q, &c);
	for (unsigned int i = 0; i < q->max_cpus; i++)
		ids[i] = x86_apic_id(&q->cpuid.topology, i);
	c.apic_ids = ids;
	c.slots = slots;
	c.slots_len = slots_fill(q, slots);
	if (q->numa) {
		c.numa = q->numa;
		c.vcpu_nodes = q->numa->vcpus;
		c.nodes_len = numa_ranges(q->numa, q->mch->below_4g, &nodes);
		c.nodes = nodes;
	}
	acpi_build(&c, ret);
}

/**
 * q35_acpi_update() - Write the tables into the blobs that firmware reads
 * @q:		The machine
 */
void q35_acpi_update(struct q35 *q)
{
	struct acpi_tables t;

	lpc_pci_tables_written(q->lpc);
	q35_acpi_build(q, &t);
	blob_write(q->ram.tables, t.tables.buf, t.tables.len);
	blob_write(q->ram.loader, t.loader.buf, t.loader.len);
	blob_write(q->ram.rsdp, t.rsdp, sizeof(t.rsdp));
	acpi_destroy(&t);
}

/**
 * q35_smbios_build() - What the machine says of itself in SMBIOS
 * @q:		Its CPUID and memory are there
 * @c:		The configuration
 * @ret:	Filled in; release with smbios_destroy()
 */
void q35_smbios_build(struct q35 *q, const struct q35_config *c, struct smbios *ret)
{
	const struct kvm_cpuid_entry2 *cpu = x86_cpuid_find(&q->cpuid, 1, 0);
	const struct x86_topology *t = &q->cpuid.topology;
	struct smbios_config config = {
		.machine = Q35_MACHINE,
		.cpu_signature = cpu ? cpu->eax : 0,
		.cpu_features = cpu ? cpu->edx & ~CPUID_HTT
				    : 0, /* as before the topology is told */
		.sockets = DIV_ROUND_UP(q->cpus, t->dies * t->cores * t->threads),
		.cores = t->cores * t->dies,
		.threads = t->threads * t->cores * t->dies,
		.ram_bytes = q->ram.bytes,
		.below_4g = x86_layout_q35(q->ram.bytes).below_4g,
		.direct = q->direct,
		.field = c->smbios,
		.nth = c->smbios_nth,
		.opaque = c->opaque,
	};

	memcpy(config.uuid, c->uuid, sizeof(config.uuid));
	smbios_build(ret, &config);
}
