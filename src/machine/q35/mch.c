/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the memory controller hub decides what is seen below 1 MiB and where ECAM
 * lies. Over 0xc0000-0xfffff the ROMs are seen unless a PAM register shows the RAM underneath: each
 * of 13 windows can be ROM, RAM read-only (shadowed firmware) or RAM.
 *
 * SMRAM is RAM for vCPUs in system management mode. TSEG, the top of the RAM below 4 GiB, and
 * QEMU's own, 128 KiB around the SMBASE that a vCPU has after reset, are holes for all others and
 * windows over these for SMM; a machine without SMM has the holes as well. The compatible 128 KiB
 * at 0xa0000 lie behind graphics memory, unless firmware opens them. There is none here, and so, as
 * on QEMU, all see the RAM; SMM can have it at 0xfeda0000 instead.
 *
 * A window that is written but not read (PAM value 2) shows the ROM, as on QEMU.
 *
 * Source: Intel 82P35 data sheet, 5.1; registers 0x50 and 0x9c are QEMU's own.
 */
#include "base/bytes.h"
#include "base/log.h"
#include "machine/q35/q35_chipset.h"

#include <errno.h>

enum mch_register {
	MCH_EXT_TSEG = 0x50,
	MCH_PCIEXBAR = 0x60,
	MCH_PAM0 = 0x90,
	MCH_F_SMBASE = 0x9c,
	MCH_SMRAM = 0x9d,
	MCH_ESMRAMC = 0x9e,
};

#define SMRAM_OPEN       0x40
#define SMRAM_CLOSED     0x20
#define SMRAM_LOCK       0x10
#define SMRAM_ENABLE     0x08
#define SMRAM_DEFAULT    0x02
#define ESMRAMC_HIGH     0x80
#define ESMRAMC_TSEG     0x01 /* bits 1 and 2: its size */
#define ESMRAMC_WMASK    0x87

#define LOW_SMRAM        0xa0000
#define HIGH_SMRAM       0xfeda0000u
#define SMBASE_DEFAULT   0x30000
#define SMRAM_BYTES      0x20000 /* of each of these three */
#define PRIORITY_CHIPSET 3
#define PRIORITY_SMRAM   4

#define PCIEXBAR_DEFAULT 0xb0000000u
#define SMBASE_QUERY     0xff
#define SMBASE_IN_RAM    0x01
#define SMBASE_LOCK      0x02

static bool touches(unsigned int offset, unsigned int size, unsigned int from, unsigned int len)
{
	return offset < from + len && from < offset + size;
}

/* What a guest does to its windows again and again. */
static void complain(const char *what, gpa_t gpa, const struct err *e)
{
	static struct log_limit limit;

	log_guest(&limit, "mch: %s at %#jx: %s", what, (uintmax_t)gpa, e->msg);
}

static void map_set(struct mch *m, struct memory_map *map, bool enabled, bool readonly)
{
	struct err e;

	if (map && memory_map_set(m->pci.dev.env->memory, map, map->gpa, enabled, readonly, &e))
		complain("window", map->gpa, &e);
}

/* Window 0 is 0xf0000, in the high half of register 0; 1 to 12 are 16 KiB each from 0xc0000, two in
 * a register. */
static uint8_t pam_of(const struct mch *m, int window)
{
	uint8_t reg = m->pci.config[MCH_PAM0 + (window + 1) / 2];

	return (window == 0 || window % 2 == 0 ? reg >> 4 : reg) & 3;
}

static void pam_update(struct mch *m)
{
	struct memory *memory = m->pci.dev.env->memory;
	struct err e;

	memory_begin(memory);
	for (int i = 0; i < MCH_PAM_WINDOWS; i++)
		map_set(m, m->pam[i], pam_of(m, i) & 1, !(pam_of(m, i) & 2));
	if (memory_commit(memory, &e))
		complain("PAM", 0xc0000, &e);
}

static void ecam_update(struct mch *m)
{
	uint64_t reg = load_le64(m->pci.config + MCH_PCIEXBAR);
	unsigned int length = reg >> 1 & 3;
	uint64_t bytes = 256 * MiB >> length;

	if (length == 3 || !m->host)
		return; /* reserved: stays as it was */
	pci_host_set_ecam(m->host, reg & 1, reg & 0xfffffffffULL & ~(bytes - 1), bytes);
}

static void window_show(struct mch *m, enum mch_window w, bool on)
{
	map_set(m, m->window[w], on, false);
}

static uint64_t tseg_bytes(const struct mch *m)
{
	const uint8_t mib[] = {1, 2, 8};
	const uint8_t *c = m->pci.config;
	unsigned int size = c[MCH_ESMRAMC] >> 1 & 3;
	uint64_t bytes = (size < ARRAY_SIZE(mib) ? mib[size] : m->tseg_mbytes) * MiB;

	if (!(c[MCH_ESMRAMC] & ESMRAMC_TSEG) || !(c[MCH_SMRAM] & SMRAM_ENABLE) || !m->ram)
		return 0;
	return bytes < m->below_4g && bytes <= m->top_bytes ? bytes : 0;
}

static struct memory_map *tseg_add(struct mch *m, uint64_t bytes, bool smm)
{
	const struct memory_map map = {.gpa = m->below_4g - bytes,
				       .size = bytes,
				       .block = smm ? m->top : NULL,
				       .offset = m->top_bytes - bytes,
				       .enabled = true,
				       .smm_only = smm,
				       .priority = smm ? PRIORITY_SMRAM : PRIORITY_CHIPSET};
	struct memory_map *ret = NULL;
	struct err e;

	if (memory_map_add(m->pci.dev.env->memory, &map, &ret, &e) < 0)
		complain("TSEG", map.gpa, &e);
	return ret;
}

static void tseg_place(struct mch *m)
{
	struct memory *memory = m->pci.dev.env->memory;
	uint64_t bytes = tseg_bytes(m);

	if (bytes == (m->tseg ? m->tseg->size : 0))
		return;
	memory_map_del(memory, m->tseg);
	memory_map_del(memory, m->tseg_hole);
	m->tseg_hole = bytes ? tseg_add(m, bytes, false) : NULL;
	m->tseg = bytes ? tseg_add(m, bytes, true) : NULL;
}

static void smram_update(struct mch *m)
{
	struct memory *memory = m->pci.dev.env->memory;
	uint8_t *c = m->pci.config;
	bool high = c[MCH_ESMRAMC] & ESMRAMC_HIGH, on = c[MCH_SMRAM] & SMRAM_ENABLE, open;
	struct err e;

	if (c[MCH_SMRAM] & SMRAM_LOCK) {
		c[MCH_SMRAM] &= (uint8_t)~SMRAM_OPEN;
		m->pci.wmask[MCH_SMRAM] = SMRAM_CLOSED;
		m->pci.wmask[MCH_ESMRAMC] = 0;
	}
	open = c[MCH_SMRAM] & SMRAM_OPEN;
	memory_begin(memory);
	window_show(m, MCH_OPEN_HIGH, open && high);
	window_show(m, MCH_LOW_SMRAM, on && !high);
	window_show(m, MCH_HIGH_SMRAM, on && high);
	tseg_place(m);
	if (memory_commit(memory, &e))
		complain("SMRAM", LOW_SMRAM, &e);
}

/* Firmware writes all ones to learn how many MiB an extended TSEG has. */
static void tseg_update(struct mch *m)
{
	uint8_t *reg = m->pci.config + MCH_EXT_TSEG;

	if (m->tseg_mbytes && load_le16(reg) == 0xffff)
		store_le16(reg, m->tseg_mbytes);
}

static void smbase_update(struct mch *m)
{
	uint8_t *reg = m->pci.config + MCH_F_SMBASE, *wmask = m->pci.wmask + MCH_F_SMBASE;
	struct memory *memory = m->pci.dev.env->memory;
	struct err e;

	if (!m->smbase_smram)
		return;
	if (*reg == SMBASE_QUERY) {
		*wmask = SMBASE_LOCK;
		*reg = SMBASE_IN_RAM;
		return;
	}
	if (*wmask == 0xff)
		*reg = 0;
	if (*reg & SMBASE_LOCK) {
		*wmask &= (uint8_t)~SMBASE_LOCK;
		*reg = SMBASE_LOCK;
	}
	memory_begin(memory);
	window_show(m, MCH_SMBASE_HOLE, *reg & SMBASE_LOCK);
	window_show(m, MCH_SMBASE, *reg & SMBASE_LOCK);
	if (memory_commit(memory, &e))
		complain("SMRAM", SMBASE_DEFAULT, &e);
}

static void update(struct mch *m)
{
	ecam_update(m);
	pam_update(m);
	smram_update(m);
	tseg_update(m);
	smbase_update(m);
}

static void mch_written(struct pci_device *pci, unsigned int offset, unsigned int size)
{
	struct mch *m = (struct mch *)pci;

	if (touches(offset, size, MCH_PAM0, 7))
		pam_update(m);
	if (touches(offset, size, MCH_PCIEXBAR, 8))
		ecam_update(m);
	if (touches(offset, size, MCH_SMRAM, 2))
		smram_update(m);
	if (touches(offset, size, MCH_EXT_TSEG, 2))
		tseg_update(m);
	if (touches(offset, size, MCH_F_SMBASE, 1))
		smbase_update(m);
}

static void mch_reset(struct device *dev)
{
	struct mch *m = (struct mch *)dev;
	uint8_t *c = m->pci.config;

	pci_device_reset(&m->pci);
	store_le64(c + MCH_PCIEXBAR, PCIEXBAR_DEFAULT);
	memset(c + MCH_PAM0, 0, 7);
	c[MCH_SMRAM] = SMRAM_DEFAULT;
	c[MCH_ESMRAMC] = 0x38; /* cache disabled for SMRAM, read-only */
	m->pci.wmask[MCH_SMRAM] = SMRAM_OPEN | SMRAM_CLOSED | SMRAM_LOCK | SMRAM_ENABLE;
	m->pci.wmask[MCH_ESMRAMC] = ESMRAMC_WMASK;
	if (m->tseg_mbytes)
		store_le16(c + MCH_EXT_TSEG, 0xffff);
	c[MCH_F_SMBASE] = 0;
	m->pci.wmask[MCH_F_SMBASE] = 0xff;
	update(m);
}

static int window_add(struct mch *m, struct memory_map **ret, gpa_t gpa, uint64_t size,
		      struct err *e)
{
	const struct memory_map map = {.gpa = gpa,
				       .size = size,
				       .block = m->ram,
				       .offset = gpa,
				       .priority = PRIORITY_CHIPSET};

	return memory_map_add(m->pci.dev.env->memory, &map, ret, e);
}

static int smram_add(struct mch *m, enum mch_window w, struct err *e)
{
	static const struct memory_map maps[MCH_WINDOWS] = {
		[MCH_OPEN_HIGH] = {.gpa = HIGH_SMRAM,
				   .offset = LOW_SMRAM,
				   .priority = PRIORITY_CHIPSET},
		[MCH_LOW_SMRAM] = {.gpa = LOW_SMRAM,
				   .offset = LOW_SMRAM,
				   .smm_only = true,
				   .priority = PRIORITY_SMRAM},
		[MCH_HIGH_SMRAM] = {.gpa = HIGH_SMRAM,
				    .offset = LOW_SMRAM,
				    .smm_only = true,
				    .priority = PRIORITY_SMRAM},
		[MCH_SMBASE_HOLE] = {.gpa = SMBASE_DEFAULT, .priority = PRIORITY_CHIPSET},
		[MCH_SMBASE] = {.gpa = SMBASE_DEFAULT,
				.offset = SMBASE_DEFAULT,
				.smm_only = true,
				.priority = PRIORITY_SMRAM},
	};
	struct memory_map map = maps[w];

	map.size = SMRAM_BYTES;
	map.block = w == MCH_SMBASE_HOLE ? NULL : m->ram;
	return memory_map_add(m->pci.dev.env->memory, &map, &m->window[w], e);
}

static int windows_add(struct mch *m, struct err *e)
{
	int r = window_add(m, &m->pam[0], 0xf0000, 0x10000, e);

	for (int i = 1; i < MCH_PAM_WINDOWS && !r; i++)
		r = window_add(m, &m->pam[i], 0xc0000 + (gpa_t)(i - 1) * 0x4000, 0x4000, e);
	for (int i = 0; i < MCH_WINDOWS && !r; i++)
		r = smram_add(m, (enum mch_window)i, e);
	return r;
}

static void windows_del(struct mch *m)
{
	struct memory *memory = m->pci.dev.env->memory;

	memory_map_del(memory, m->tseg);
	memory_map_del(memory, m->tseg_hole);
	for (int i = 0; i < MCH_WINDOWS; i++)
		memory_map_del(memory, m->window[i]);
	for (int i = 0; i < MCH_PAM_WINDOWS; i++)
		memory_map_del(memory, m->pam[i]);
}

static int mch_realize(struct device *dev, struct err *e)
{
	static const struct pci_ids ids = {.vendor = 0x8086,
					   .device = 0x29c0,
					   .subsystem_vendor = 0x1af4,
					   .subsystem = 0x1100,
					   .class_code = 0x060000};
	struct mch *m = (struct mch *)dev;
	int r;

	if (m->tseg_mbytes > 0xfff)
		return err_set(e, ERANGE, "extended-tseg-mbytes: %u, at most 4095", m->tseg_mbytes);
	r = pci_device_init(&m->pci, &ids, e);
	if (!r && m->ram)
		r = windows_add(m, e);
	if (!r) {
		m->pci.devfn = 0;
		m->pci.config_written = mch_written;
		r = pci_device_attach(&m->pci, m->host ? m->host->root : NULL, e);
	}
	if (r) {
		windows_del(m);
		pci_device_release(&m->pci);
		return r;
	}
	mch_reset(dev);
	return 0;
}

static void mch_unrealize(struct device *dev)
{
	struct mch *m = (struct mch *)dev;

	pci_device_detach(&m->pci);
	windows_del(m);
	pci_device_release(&m->pci);
}

static void mch_capture(const struct device *dev, void *state)
{
	pci_capture(&((const struct mch *)dev)->pci, &((struct mch_state *)state)->pci);
}

static int mch_validate(const struct device *dev, const void *state, struct err *e)
{
	return pci_validate(&((const struct mch *)dev)->pci,
			    &((const struct mch_state *)state)->pci, e);
}

static void mch_apply(struct device *dev, const void *state)
{
	struct mch *m = (struct mch *)dev;

	pci_apply(&m->pci, &((const struct mch_state *)state)->pci);
	if (m->pci.config[MCH_F_SMBASE]) /* past the query: else a lock would be taken off here */
		m->pci.wmask[MCH_F_SMBASE] = SMBASE_LOCK;
	update(m);
}

static const struct state_field mch_fields[] = {
	FIELD_STRUCT("parent_obj", struct mch_state, pci, &pci_device_state),
	PAD(1),
	FIELDS_END,
};

static const struct state_table mch_table = {
	.name = "mch",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct mch_state),
	.fields = mch_fields,
};

static const struct prop mch_props[] = {
	{.name = "extended-tseg-mbytes",
	 .kind = PROP_U16,
	 .offset = offsetof(struct mch, tseg_mbytes),
	 .def = "16",
	 .help = "MiB of SMRAM that firmware may ask for"},
	{.name = "smbase-smram",
	 .kind = PROP_BOOL,
	 .offset = offsetof(struct mch, smbase_smram),
	 .def = "on",
	 .help = "Offer lockable SMRAM at the default SMBASE"},
	PROPS_END,
};

const struct device_class mch_class = {
	.name = "mch",
	.help = "Host bridge",
	.bus = "PCI",
	.size = sizeof(struct mch),
	.continuity = CONTINUITY_STATE,
	.state = &mch_table,
	.section = "mch",
	.props = mch_props,
	.realize = mch_realize,
	.unrealize = mch_unrealize,
	.reset = mch_reset,
	.capture = mch_capture,
	.validate = mch_validate,
	.apply = mch_apply,
};
