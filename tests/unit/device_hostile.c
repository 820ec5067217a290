/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a guest that writes anything anywhere. The whole chipset with two root ports
 * gets random accesses to its ports, memory and configuration spaces; timers run in between.
 * Nothing may crash (the sanitizers watch), stall or fire for ever, and every device's state must
 * still be one that its own table saves, loads and judges.
 *
 * The sequence follows from a seed, printed when a run fails.
 */
#include "device/classes.h"
#include "device/hpet.h"
#include "device/i8042.h"
#include "device/rtc.h"
#include "device/vmport.h"
#include "device_env.h"
#include "machine/q35/lpc.h"

#define ACCESSES 300000

/**
 * struct victim - A machine's chipset
 * @devices:	In the order they were made
 */
struct victim {
	struct bench *b;
	struct device *devices[32];
	size_t len;
	uint64_t random;
};

static uint64_t next(struct victim *v)
{
	v->random ^= v->random << 13;
	v->random ^= v->random >> 7;
	v->random ^= v->random << 17;
	return v->random;
}

static struct device *add(struct victim *v, struct device *dev)
{
	v->devices[v->len++] = dev;
	return bench_realize(v->b, dev);
}

static struct device *make(struct victim *v, const struct device_class *class)
{
	return device_create(class, &v->b->env);
}

static bool registers(void *opaque, uint32_t *regs, bool write)
{
	struct victim *v = opaque;

	for (int i = 0; i < VMPORT_REGISTERS && !write; i++)
		regs[i] = (uint32_t)(next(v) % 3 ? next(v) % 64 : next(v));
	if (!write && next(v) % 4)
		regs[VMPORT_EAX] = 0x564d5868;
	return true;
}

static void add_input(struct victim *v)
{
	struct i8042 *d = (struct i8042 *)make(v, &i8042_class);
	struct vmport *p = (struct vmport *)make(v, &vmport_class);

	d->keyboard = (struct ps2_keyboard *)add(v, make(v, &ps2_keyboard_class));
	d->mouse = (struct ps2_mouse *)add(v, make(v, &ps2_mouse_class));
	add(v, &d->dev);
	p->mouse = (struct vmmouse *)add(v, make(v, &vmmouse_class));
	p->registers = registers;
	p->registers_opaque = v;
	add(v, &p->dev);
}

static void add_port(struct victim *v, const char *id, const char *bus)
{
	struct device *dev = make(v, &pcie_port_class);
	struct err e;

	assert_ok(device_set(dev, "id", id, &e), &e);
	if (bus)
		assert_ok(device_set(dev, "bus", bus, &e), &e);
	add(v, dev);
}

static void add_pci(struct victim *v)
{
	static const uint32_t cpus[] = {0, 1};
	struct pci_host *h = (struct pci_host *)make(v, &pci_host_class);
	struct mch *m = (struct mch *)make(v, &mch_class);
	struct lpc *l = (struct lpc *)make(v, &lpc_class);

	h->root = v->b->root;
	add(v, &h->dev);
	m->host = l->host = h;
	m->ram = ram_find(&v->b->memory, "pc.ram");
	m->below_4g = m->ram->size;
	add(v, &m->pci.dev);
	lpc_set_cpus(l, cpus, 2, 2);
	add(v, &l->pci.dev);
	add(v, make(v, &ahci_class));
	add(v, make(v, &smbus_class));
	add_port(v, "rp0", NULL);
	add_port(v, "rp1", "rp0");
}

static struct victim *victim_create(uint64_t seed)
{
	const struct ram_options options = {.kind = RAM_MEMFD};
	struct victim *v = mem_zalloc(sizeof(*v));
	struct memory_map map = {.size = 2 * MiB, .enabled = true}, *mapped;
	struct err e;

	v->b = bench_create();
	v->random = seed;
	assert_ok(ram_create(&v->b->memory, "pc.ram", 2 * MiB, &options, &map.block, &e), &e);
	assert_ok(memory_map_add(&v->b->memory, &map, &mapped, &e), &e);
	add_pci(v);
	add(v, make(v, &fw_cfg_class));
	add(v, make(v, &serial_class));
	add(v, make(v, &rtc_class));
	add(v, make(v, &hpet_class));
	add(v, make(v, &dma_class));
	add(v, make(v, &pcspk_class));
	add_input(v);
	add(v, make(v, &port92_class));
	add(v, make(v, &pvpanic_class));
	return v;
}

static void victim_destroy(struct victim *v)
{
	while (v->len)
		device_destroy(v->devices[--v->len]);
	bench_destroy(v->b);
	free(v);
}

static uint16_t some_port(struct victim *v)
{
	static const uint16_t bases[] = {0x00,  0x08,  0x60,  0x64,  0x61,  0x70,   0x80,   0x92,
					 0xb2,  0x3f8, 0x505, 0x510, 0x514, 0x600,  0x660,  0xa00,
					 0xcc0, 0xcd8, 0xcf8, 0xcf9, 0xcfc, 0x5658, 0xc000, 0xc040};

	return (uint16_t)(bases[next(v) % ARRAY_SIZE(bases)] + next(v) % 16);
}

static void port_access(struct victim *v)
{
	unsigned int size = 1u << next(v) % 3, times = next(v) % 32 ? 1 : next(v) % 64;
	uint16_t port = some_port(v);
	bool in = next(v) & 1;

	while (times--) /* the same one again fills queues and buffers */
		if (in)
			port_in(v->b, port, size);
		else
			port_out(v->b, port, (uint32_t)next(v), size);
}

static void config_access(struct victim *v)
{
	static const uint8_t functions[] = {0x00, 0x08, 0x10, 0xf8, 0xfa, 0xfb};
	uint32_t at = functions[next(v) % ARRAY_SIZE(functions)] << 8 | (uint32_t)next(v) % 256;

	if (next(v) % 8 == 0)
		at |= 1u << 16;
	port_out(v->b, 0xcf8, 1u << 31 | (at & ~3u), 4);
	port_out(v->b, (uint16_t)(0xcfc + (at & 3)), (uint32_t)next(v), 1u << next(v) % 3);
}

static void memory_access(struct victim *v)
{
	static const uint64_t bases[] = {0xfed00000, 0xfed1c000, 0xb0000000, 0xb00f8000,
					 0xe0000000, 0xfe000000, 0xfe801000};
	uint64_t at = bases[next(v) % ARRAY_SIZE(bases)] + next(v) % 0x4000;
	unsigned int size = 1u << next(v) % 4;

	if (next(v) & 1)
		mem_in(v->b, at, size);
	else
		mem_out(v->b, at, next(v), size);
}

/* What firmware would set up, now and then, so that the accesses find something. */
static void set_up(struct victim *v)
{
	struct lpc *l = (struct lpc *)v->devices[2];

	pthread_mutex_lock(&v->b->chipset_lock);
	pci_config_write(&l->pci, 0x40, 0x600, 4);
	pci_config_write(&l->pci, 0x44, 0x80, 1);
	pci_config_write(&l->pci, 0xf0, 0xfed1c001, 4);
	for (size_t i = 3; i <= 6; i++) { /* add_pci() made them in this order */
		struct pci_device *d = (struct pci_device *)v->devices[i];

		pci_config_write(d, PCI_BASE_ADDRESS_4, i == 3 ? 0xc040 : 0xc000, 4);
		pci_config_write(d, PCI_BASE_ADDRESS_5, 0xfe801000, 4);
		pci_config_write(d, PCI_BASE_ADDRESS_0, 0xfe000000, 4);
		pci_config_write(d, PCI_COMMAND, 7, 2);
	}
	pthread_mutex_unlock(&v->b->chipset_lock);
}

static void run(struct victim *v)
{
	guest_clock_run(v->b->clock);
	for (int i = 0; i < ACCESSES; i++) {
		if (i % 5000 == 0)
			set_up(v);
		if (i % 64 == 0)
			config_access(v);
		else if (i & 1)
			port_access(v);
		else
			memory_access(v);
		if (i % 500 == 0)
			sd_event_run(loop_event(v->b->loop), 0);
	}
	guest_clock_stop(v->b->clock);
}

static void state_still_stands(struct device *dev)
{
	struct state_writer w = {0};
	struct state_reader r;
	uint8_t *state;
	struct err e;

	if (!dev->class->state)
		return;
	state = mem_zalloc(dev->class->state->size);
	dev->class->capture(dev, state);
	state_save(dev->class->state, state, &w);
	r = (struct state_reader){.buf = w.buf, .len = w.len};
	assert_ok(state_load(dev->class->state, state, dev->class->state->version, &r, &e), &e);
	assert_int_equal(r.at, w.len);
	if (dev->class->validate)
		assert_ok(dev->class->validate(dev, state, &e), &e);
	dev->class->apply(dev, state);
	state_writer_destroy(&w);
	free(state);
}

static void anything_anywhere_is_survived(void **state)
{
	static const uint64_t seeds[] = {0x9e3779b97f4a7c15, 0xdeadbeefcafef00d,
					 0x0123456789abcdef};

	for (size_t i = 0; i < ARRAY_SIZE(seeds); i++) {
		struct victim *v = victim_create(seeds[i]);

		print_message("seed %#jx\n", (uintmax_t)seeds[i]);
		run(v);
		for (size_t d = 0; d < v->len; d++)
			state_still_stands(v->devices[d]);
		for (size_t d = 0; d < v->len; d++)
			device_reset(v->devices[d]);
		for (int line = 0; line < 24; line++)
			assert_false(v->b->gsi[line]);
		victim_destroy(v);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(anything_anywhere_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
