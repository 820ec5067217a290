/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: at port 0xcd8 the guest first sees a bitmap of present CPUs by APIC id.
 * Writing 0 to its first byte switches, for good, to registers by which the ACPI code selects a
 * CPU, reads its events and ejects it. At 0xa00 the same exists for memory devices, of which there
 * are none here.
 *
 * Source: QEMU's docs/specs/acpi_cpu_hotplug and acpi_mem_hotplug.
 */
#include "base/bytes.h"
#include "machine/q35/lpc.h"

#include <assert.h>
#include <errno.h>

enum cpuhp_register {
	REG_SELECTOR = 0,
	REG_DATA2 = 0,
	REG_FLAGS = 4,
	REG_COMMAND = 5,
	REG_DATA = 8
};
enum cpuhp_command {
	COMMAND_NEXT = 0,
	COMMAND_OST_EVENT = 1,
	COMMAND_OST_STATUS = 2,
	COMMAND_ID = 3
};

#define FLAG_ENABLED   1
#define FLAG_INSERTING 2
#define FLAG_REMOVING  4
#define FLAG_EJECT     8
#define LEGACY_BYTES   32

static uint8_t bitmap_byte(const struct lpc *l, uint64_t byte)
{
	uint8_t bits = 0;

	for (uint32_t i = 0; i < l->s.pm.cpuhp_count; i++)
		if (l->cpu_present[i] && l->cpu_ids[i] / 8 == byte)
			bits |= (uint8_t)(1u << l->cpu_ids[i] % 8);
	return bits;
}

static uint64_t flags_read(const struct lpc *l)
{
	const struct pm_state *p = &l->s.pm;
	const struct cpuhp_status *c = &p->cpuhp[p->cpuhp_selector];

	return (l->cpu_present[p->cpuhp_selector] ? FLAG_ENABLED : 0u) |
	       (c->inserting ? FLAG_INSERTING : 0u) | (c->removing ? FLAG_REMOVING : 0u);
}

static uint64_t modern_read(const struct lpc *l, uint64_t offset)
{
	const struct pm_state *p = &l->s.pm;

	if (p->cpuhp_selector >= p->cpuhp_count)
		return 0;
	if (offset == REG_FLAGS)
		return flags_read(l);
	if (offset == REG_DATA && p->cpuhp_command == COMMAND_NEXT)
		return p->cpuhp_selector;
	if (offset == REG_DATA && p->cpuhp_command == COMMAND_ID)
		return l->cpu_ids[p->cpuhp_selector];
	return 0; /* REG_DATA2: APIC ids have 32 bits */
}

static uint64_t cpuhp_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct lpc *l = opaque;

	if (l->s.pm.cpuhp_modern)
		return offset < 12 ? modern_read(l, offset) : UINT64_MAX;
	return size == 1 ? bitmap_byte(l, offset) : UINT64_MAX;
}

/* It is gone for the guest at once, though the main thread has to take it away yet. */
static void eject(struct lpc *l, uint32_t i)
{
	const struct device_env *env = l->pci.dev.env;

	l->cpu_present[i] = false;
	if (env->eject)
		env->eject(env->opaque, l->cpu_dev[i]);
}

static void flags_write(struct lpc *l, uint8_t value)
{
	uint32_t i = l->s.pm.cpuhp_selector;
	struct cpuhp_status *c = &l->s.pm.cpuhp[i];

	if (value & FLAG_INSERTING)
		c->inserting = false;
	else if (value & FLAG_REMOVING)
		c->removing = false;
	else if (value & FLAG_EJECT && l->cpu_present[i] && l->cpu_dev[i])
		eject(l, i);
}

/* The next CPU, from the selected one on, that the guest has to look at. */
static void select_next(struct pm_state *p)
{
	for (uint32_t n = 0; n < p->cpuhp_count; n++) {
		uint32_t i = (p->cpuhp_selector + n) % p->cpuhp_count;

		if (p->cpuhp[i].inserting || p->cpuhp[i].removing) {
			p->cpuhp_selector = i;
			return;
		}
	}
}

static struct device_ost ost(const struct lpc *l, uint32_t i)
{
	const struct cpuhp_status *c = &l->s.pm.cpuhp[i];

	return (struct device_ost){.place = i, .source = c->ost_event, .status = c->ost_status};
}

static void data_write(struct lpc *l, uint32_t value)
{
	const struct device_env *env = l->pci.dev.env;
	struct pm_state *p = &l->s.pm;
	struct device_ost said;

	if (p->cpuhp_command == COMMAND_OST_EVENT)
		p->cpuhp[p->cpuhp_selector].ost_event = value;
	if (p->cpuhp_command != COMMAND_OST_STATUS)
		return;
	p->cpuhp[p->cpuhp_selector].ost_status = value;
	said = ost(l, p->cpuhp_selector);
	if (env->ost)
		env->ost(env->opaque, &said);
}

static void modern_write(struct lpc *l, uint64_t offset, uint64_t value)
{
	struct pm_state *p = &l->s.pm;

	if (offset == REG_SELECTOR)
		p->cpuhp_selector = (uint32_t)value;
	if (offset == REG_SELECTOR || p->cpuhp_selector >= p->cpuhp_count)
		return;
	if (offset == REG_FLAGS) {
		flags_write(l, (uint8_t)value);
	} else if (offset == REG_COMMAND && value <= COMMAND_ID) {
		p->cpuhp_command = (uint8_t)value;
		if (value == COMMAND_NEXT)
			select_next(p);
	} else if (offset == REG_DATA) {
		data_write(l, (uint32_t)value);
	}
}

static void cpuhp_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct lpc *l = opaque;

	if (l->s.pm.cpuhp_modern)
		modern_write(l, offset, value);
	else if (!offset && size == 1 && !value)
		l->s.pm.cpuhp_modern = true;
}

static uint64_t memhp_read(void *opaque, uint64_t offset, unsigned int size)
{
	return 0; /* the selector is beyond the last of no devices */
}

static void memhp_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	if (!offset && size == 4)
		((struct lpc *)opaque)->s.pm.memhp_selector = (uint32_t)value;
}

static const struct io_ops cpuhp_ops = {cpuhp_read, cpuhp_write, 1, 4};
static const struct io_ops memhp_ops = {memhp_read, memhp_write, 1, 4};

/**
 * cpuhp_init() - Show the registers
 * @l:		The LPC bridge
 */
void cpuhp_init(struct lpc *l)
{
	struct device *dev = &l->pci.dev;

	l->cpuhp_io = (struct io_region){.name = "acpi-cpu-hotplug",
					 .kind = IO_PORT,
					 .base = 0xcd8,
					 .size = LEGACY_BYTES,
					 .ops = &cpuhp_ops,
					 .opaque = l,
					 .lock = dev->lock,
					 .enabled = true};
	l->memhp_io = (struct io_region){.name = "acpi-mem-hotplug",
					 .kind = IO_PORT,
					 .base = 0xa00,
					 .size = 24,
					 .ops = &memhp_ops,
					 .opaque = l,
					 .lock = dev->lock,
					 .enabled = true};
	io_region_add(dev->env->io, &l->cpuhp_io);
	io_region_add(dev->env->io, &l->memhp_io);
}

/**
 * lpc_set_cpus() - Tell which CPUs there can be
 * @l:		The LPC bridge, not yet realized
 * @apic_ids:	In order; copied
 * @count:	At most CPUHP_MAX
 * @present:	The first so many are there from the start
 *
 * A CPU whose APIC id doesn't fit the bitmap makes the registers the only way, as on QEMU.
 */
void lpc_set_cpus(struct lpc *l, const uint32_t *apic_ids, unsigned int count, unsigned int present)
{
	assert(count <= CPUHP_MAX && present <= count);
	l->s.pm.cpuhp_count = count;
	for (unsigned int i = 0; i < count; i++) {
		l->cpu_ids[i] = apic_ids[i];
		l->cpu_present[i] = i < present;
		if (i < present && apic_ids[i] >= LEGACY_BYTES * 8)
			l->s.pm.cpuhp_modern = true;
	}
}

/**
 * lpc_cpu_can_plug() - Can vCPUs come and go while this guest runs?
 * @l:		The LPC bridge; main thread
 * @e:		Set on failure only
 *
 * Errors: EOPNOTSUPP its firmware keeps all vCPUs in system management mode: it would have to take
 * each into its care and let it go, which it isn't asked to here
 * Return: 0, or a negative errno
 */
int lpc_cpu_can_plug(struct lpc *l, struct err *e)
{
	bool kept;

	pthread_mutex_lock(l->pci.dev.lock);
	kept = l->s.smi_negotiated & SMI_BROADCAST;
	pthread_mutex_unlock(l->pci.dev.lock);
	return kept ? err_set(e, EOPNOTSUPP,
			      "the guest's firmware has all vCPUs in its system management mode: "
			      "start it with -machine smm=off, or with all its vCPUs")
		    : 0;
}

/**
 * lpc_cpu_plugged() - Show a CPU in the registers
 * @l:		The LPC bridge; main thread
 * @place:	Of lpc_set_cpus()
 * @dev:	What is ejected with it
 */
void lpc_cpu_plugged(struct lpc *l, unsigned int place, struct device *dev)
{
	pthread_mutex_lock(l->pci.dev.lock);
	l->cpu_present[place] = true;
	l->cpu_dev[place] = dev;
	if (l->cpu_ids[place] >= LEGACY_BYTES * 8)
		l->s.pm.cpuhp_modern = true;
	pthread_mutex_unlock(l->pci.dev.lock);
}

/**
 * lpc_cpu_announce() - Tell the guest that a CPU came
 * @l:		The LPC bridge; main thread
 * @place:	That was plugged
 */
void lpc_cpu_announce(struct lpc *l, unsigned int place)
{
	pthread_mutex_lock(l->pci.dev.lock);
	l->s.pm.cpuhp[place].inserting = true;
	pthread_mutex_unlock(l->pci.dev.lock);
	lpc_gpe_event(l, GPE_CPU_HOTPLUG);
}

/**
 * lpc_cpu_unplug_request() - Ask the guest to let a CPU go
 * @l:		The LPC bridge; main thread
 * @place:	That was plugged
 * @e:		Set on failure only
 *
 * Errors: EOPNOTSUPP the guest can't: it knows the presence bitmap only
 * Return: 0, or a negative errno
 */
int lpc_cpu_unplug_request(struct lpc *l, unsigned int place, struct err *e)
{
	bool modern;

	pthread_mutex_lock(l->pci.dev.lock);
	modern = l->s.pm.cpuhp_modern;
	l->s.pm.cpuhp[place].removing |= modern;
	pthread_mutex_unlock(l->pci.dev.lock);
	if (!modern)
		return err_set(e, EOPNOTSUPP,
			       "the guest can't let a vCPU go: it hasn't begun to use ACPI's "
			       "registers for that");
	lpc_gpe_event(l, GPE_CPU_HOTPLUG);
	return 0;
}

/**
 * lpc_cpu_unplugged() - Show a CPU no more
 * @l:		The LPC bridge; main thread
 * @place:	That was plugged
 */
void lpc_cpu_unplugged(struct lpc *l, unsigned int place)
{
	pthread_mutex_lock(l->pci.dev.lock);
	l->cpu_present[place] = false;
	l->cpu_dev[place] = NULL;
	pthread_mutex_unlock(l->pci.dev.lock);
}

/**
 * lpc_cpu_ost() - What the guest said last of a CPU
 * @l:		The LPC bridge; main thread
 * @place:	Of lpc_set_cpus()
 * @ret:	Filled in
 */
void lpc_cpu_ost(struct lpc *l, unsigned int place, struct device_ost *ret)
{
	pthread_mutex_lock(l->pci.dev.lock);
	*ret = ost(l, place);
	pthread_mutex_unlock(l->pci.dev.lock);
}
