/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: QEMU 7.2 wrote the sections in data/q35-7.2 before a pc-q35-7.2 machine ran
 * its first instruction. A device of ours after power-on must write the same bytes, and must take
 * over QEMU's bytes and write them out again.
 */
#include "../unit/device_env.h"
#include "device/classes.h"
#include "device/i8042.h"
#include "device/vmport.h"
#include "machine/q35/lpc.h"

#define DATA_MAX 65536

/**
 * struct sample - What QEMU wrote
 * @bytes, @len: The section's payload
 */
struct sample {
	uint8_t bytes[DATA_MAX];
	size_t len;
};

static void sample_read(struct sample *s, const char *name)
{
	char *path = str_printf("%s/tests/wire/data/q35-7.2/%s.bin", SOURCE_ROOT, name);
	FILE *f = fopen(path, "rb");

	if (!f)
		fail_msg("%s can't be opened", path);
	s->len = fread(s->bytes, 1, DATA_MAX, f);
	fclose(f);
	free(path);
}

static void save(struct device *dev, struct state_writer *w)
{
	void *state = mem_zalloc(dev->class->state->size);

	dev->class->capture(dev, state);
	state_save(dev->class->state, state, w);
	free(state);
}

static void load(struct device *dev, const struct sample *s)
{
	void *scratch = mem_zalloc(dev->class->state->size);
	struct state_reader r = {.buf = s->bytes, .len = s->len};
	struct err e;

	dev->class->capture(dev, scratch);
	assert_ok(state_load(dev->class->state, scratch, dev->class->state->version, &r, &e), &e);
	assert_int_equal(r.at, s->len);
	if (dev->class->validate)
		assert_ok(dev->class->validate(dev, scratch, &e), &e);
	dev->class->apply(dev, scratch);
	free(scratch);
}

static void compare(const struct sample *s, const struct state_writer *w, const char *name)
{
	assert_int_equal(w->len, s->len);
	for (size_t i = 0; i < s->len; i++)
		if (w->buf[i] != s->bytes[i])
			fail_msg("%s: byte %zu is %#x, QEMU's %#x", name, i, w->buf[i],
				 s->bytes[i]);
}

/* @fresh: its power-on state holds no time, so it is compared as well. */
static void check(struct device *dev, const char *name, bool fresh)
{
	static struct sample s;
	struct state_writer w = {0};
	struct err e;

	sample_read(&s, name);
	assert_ok(state_cover_check(dev->class->state, &e), &e);
	if (fresh) {
		save(dev, &w);
		compare(&s, &w, name);
		state_writer_clear(&w);
	}
	load(dev, &s);
	save(dev, &w);
	compare(&s, &w, name);
	state_writer_destroy(&w);
}

static void check_class(const struct device_class *class, const char *name, bool fresh)
{
	struct bench *b = bench_create();
	struct device *dev = bench_device(b, class);

	check(dev, name, fresh);
	device_destroy(dev);
	bench_destroy(b);
}

static void serial_is_qemus(void **state)
{
	check_class(&serial_class, "serial", true);
}

static void port92_is_qemus(void **state)
{
	check_class(&port92_class, "port92", true);
}

static void hpet_is_qemus(void **state)
{
	check_class(&hpet_class, "hpet", true);
}

static void pcspk_is_qemus(void **state)
{
	check_class(&pcspk_class, "pcspk", true);
}

static void vmmouse_is_qemus(void **state)
{
	check_class(&vmmouse_class, "vmmouse", true);
}

static void dma_is_qemus(void **state)
{
	struct bench *b = bench_create();
	struct device *second = device_create(&dma_class, &b->env);
	struct err e;

	check_class(&dma_class, "dma", true);
	assert_ok(device_set(second, "second", "on", &e), &e);
	check(bench_realize(b, second), "dma-1", true);
	device_destroy(second);
	bench_destroy(b);
}

static void keyboard_controller_is_qemus(void **state)
{
	struct bench *b = bench_create();
	struct ps2_keyboard *k = bench_device(b, &ps2_keyboard_class);
	struct ps2_mouse *m = bench_device(b, &ps2_mouse_class);
	struct i8042 *d = (struct i8042 *)device_create(&i8042_class, &b->env);

	d->keyboard = k;
	d->mouse = m;
	bench_realize(b, &d->dev);
	check(&k->dev, "ps2kbd", true);
	check(&m->dev, "ps2mouse", true);
	check(&d->dev, "pckbd", true);
	device_destroy(&d->dev);
	device_destroy(&m->dev);
	device_destroy(&k->dev);
	bench_destroy(b);
}

static void fw_cfg_is_qemus(void **state)
{
	static uint8_t tables[8192];
	struct bench *b = bench_create();
	struct fw_cfg *f = bench_device(b, &fw_cfg_class);
	struct fw_cfg_blob blob = {.data = tables, .len = sizeof(tables)};
	struct err e;

	blob.len = 131072; /* as QEMU's; never read here */
	assert_ok(fw_cfg_add_shared(f, "etc/acpi/tables", &blob, &e), &e);
	blob.len = 4096;
	assert_ok(fw_cfg_add_shared(f, "etc/table-loader", &blob, &e), &e);
	assert_ok(fw_cfg_add_shared(f, "etc/acpi/rsdp", &blob, &e), &e);
	check(&f->dev, "fw_cfg", false);
	device_destroy(&f->dev);
	bench_destroy(b);
}

static void rtc_keeps_qemus(void **state)
{
	static struct sample s;
	struct bench *b = bench_create();
	struct device *dev = bench_device(b, &rtc_class);
	void *scratch = mem_zalloc(dev->class->state->size);
	struct state_writer w = {0};
	struct state_reader r;
	struct err e;

	sample_read(&s, "mc146818rtc");
	r = (struct state_reader){.buf = s.bytes, .len = s.len};
	assert_ok(state_cover_check(dev->class->state, &e), &e);
	assert_ok(state_load(dev->class->state, scratch, 3, &r, &e), &e);
	state_save(dev->class->state, scratch, &w);
	compare(&s, &w, "mc146818rtc");
	load(dev, &s);
	state_writer_destroy(&w);
	free(scratch);
	device_destroy(dev);
	bench_destroy(b);
}

static struct pci_host *host_create(struct bench *b)
{
	struct pci_host *h = (struct pci_host *)device_create(&pci_host_class, &b->env);

	h->root = b->root;
	return bench_realize(b, &h->dev);
}

static struct lpc *lpc_create(struct bench *b, struct pci_host *h)
{
	static const uint32_t cpu = 0;
	struct lpc *l = (struct lpc *)device_create(&lpc_class, &b->env);

	l->host = h;
	lpc_set_cpus(l, &cpu, 1, 1);
	bench_realize(b, &l->pci.dev);
	lpc_set_decode(l, 3); /* the sample has two serial ports */
	return l;
}

static void host_and_bus_are_qemus(void **state)
{
	struct bench *b = bench_create();
	struct pci_host *h = host_create(b);
	struct lpc *l = lpc_create(b, h);
	struct bus_section *bus = (struct bus_section *)device_create(&pci_bus_class, &b->env);

	bus->bus = b->root;
	bench_realize(b, &bus->dev);
	check(&h->dev, "PCIHost", true);
	check(&bus->dev, "PCIBUS", true);
	device_destroy(&bus->dev);
	device_destroy(&l->pci.dev);
	device_destroy(&h->dev);
	bench_destroy(b);
}

static void mch_is_qemus(void **state)
{
	struct bench *b = bench_create();
	struct pci_host *h = host_create(b);
	struct mch *m = (struct mch *)device_create(&mch_class, &b->env);

	m->host = h;
	check(bench_realize(b, &m->pci.dev), "mch", true);
	device_destroy(&m->pci.dev);
	device_destroy(&h->dev);
	bench_destroy(b);
}

/* The sample's port is 00:02.0 and has a device behind it; here another port stands for that. */
static void root_port_is_qemus(void **state)
{
	struct bench *b = bench_create();
	struct device *port = device_create(&pcie_port_class, &b->env);
	struct device *child = device_create(&pcie_port_class, &b->env);
	struct err e;

	assert_ok(device_set(port, "id", "rp0", &e), &e);
	assert_ok(device_set(port, "addr", "2", &e), &e);
	assert_ok(device_set(child, "bus", "rp0", &e), &e);
	bench_realize(b, port);
	bench_realize(b, child);
	assert_string_equal(child->path, "0000:00:02.0:00.0");
	device_reset(port);
	check(port, "pcie-root-port", true);
	device_destroy(child);
	device_destroy(port);
	bench_destroy(b);
}

static void lpc_is_qemus(void **state)
{
	struct bench *b = bench_create();
	struct pci_host *h = host_create(b);
	struct lpc *l = lpc_create(b, h);

	check(&l->pci.dev, "ICH9LPC", true);
	device_destroy(&l->pci.dev);
	device_destroy(&h->dev);
	bench_destroy(b);
}

static void ahci_is_qemus(void **state)
{
	check_class(&ahci_class, "ich9_ahci", true);
}

static void smbus_is_qemus(void **state)
{
	check_class(&smbus_class, "ich9_smb", true);
	check_class(&i2c_bus_class, "i2c_bus", true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(serial_is_qemus),
		cmocka_unit_test(hpet_is_qemus),
		cmocka_unit_test(pcspk_is_qemus),
		cmocka_unit_test(vmmouse_is_qemus),
		cmocka_unit_test(dma_is_qemus),
		cmocka_unit_test(keyboard_controller_is_qemus),
		cmocka_unit_test(port92_is_qemus),
		cmocka_unit_test(fw_cfg_is_qemus),
		cmocka_unit_test(rtc_keeps_qemus),
		cmocka_unit_test(mch_is_qemus),
		cmocka_unit_test(host_and_bus_are_qemus),
		cmocka_unit_test(lpc_is_qemus),
		cmocka_unit_test(root_port_is_qemus),
		cmocka_unit_test(ahci_is_qemus),
		cmocka_unit_test(smbus_is_qemus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
