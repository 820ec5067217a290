/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the PCI core through the host bridge's ports, as a guest uses it: BARs are
 * sized and moved, bridges forward, interrupts are counted and rerouted, MSI-X vectors are masked.
 */
#include "device/classes.h"
#include "device/pci/pcie_port.h"
#include "device_env.h"
#include "machine/q35/lpc.h"

#include <errno.h>
#include <sys/eventfd.h>

/**
 * struct board - A root bus with its host bridge and LPC
 */
struct board {
	struct bench *b;
	struct pci_host *host;
	struct lpc *lpc;
};

static struct board board_create(void)
{
	static const uint32_t cpu = 0;
	struct board o = {.b = bench_create()};

	o.host = (struct pci_host *)device_create(&pci_host_class, &o.b->env);
	o.host->root = o.b->root;
	bench_realize(o.b, &o.host->dev);
	o.lpc = (struct lpc *)device_create(&lpc_class, &o.b->env);
	o.lpc->host = o.host;
	lpc_set_cpus(o.lpc, &cpu, 1, 1);
	bench_realize(o.b, &o.lpc->pci.dev);
	guest_clock_run(o.b->clock);
	return o;
}

static void board_destroy(struct board *o)
{
	device_destroy(&o->lpc->pci.dev);
	device_destroy(&o->host->dev);
	bench_destroy(o->b);
}

static uint32_t cfg_in(struct board *o, uint32_t bdf, uint32_t reg, unsigned int size)
{
	port_out(o->b, 0xcf8, 1u << 31 | bdf << 8 | (reg & 0xfc), 4);
	return port_in(o->b, (uint16_t)(0xcfc + (reg & 3)), size);
}

static void cfg_out(struct board *o, uint32_t bdf, uint32_t reg, uint32_t value, unsigned int size)
{
	port_out(o->b, 0xcf8, 1u << 31 | bdf << 8 | (reg & 0xfc), 4);
	port_out(o->b, (uint16_t)(0xcfc + (reg & 3)), value, size);
}

static struct pcie_port *port_create(struct board *o, const char *id, const char *bus)
{
	struct device *dev = device_create(&pcie_port_class, &o->b->env);
	struct err e;

	assert_ok(device_set(dev, "id", id, &e), &e);
	if (bus)
		assert_ok(device_set(dev, "bus", bus, &e), &e);
	return bench_realize(o->b, dev);
}

static void absent_functions_read_as_ones(void **state)
{
	struct board o = board_create();

	assert_int_equal(cfg_in(&o, PCI_DEVFN(5, 0), 0, 4), 0xffffffff);
	assert_int_equal(cfg_in(&o, 0x0700, 0, 2), 0xffff);
	assert_int_equal(cfg_in(&o, PCI_DEVFN(31, 0), 0, 4), 0x29188086);
	board_destroy(&o);
}

static void bars_are_sized_and_moved(void **state)
{
	struct board o = board_create();
	struct pcie_port *p = port_create(&o, "rp0", NULL);
	uint32_t bdf = (uint32_t)p->pci.devfn;

	cfg_out(&o, bdf, PCI_BASE_ADDRESS_0, UINT32_MAX, 4);
	assert_int_equal(cfg_in(&o, bdf, PCI_BASE_ADDRESS_0, 4), 0xfffff000);
	cfg_out(&o, bdf, PCI_BASE_ADDRESS_0, 0xfe000000, 4);
	assert_int_equal(mem_in(o.b, 0xfe00000c, 4), 0xffffffff);
	cfg_out(&o, bdf, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	assert_int_equal(mem_in(o.b, 0xfe00000c, 4), 1); /* MSI-X: vector masked */
	cfg_out(&o, bdf, PCI_BASE_ADDRESS_0, 0xfd000000, 4);
	assert_int_equal(mem_in(o.b, 0xfe00000c, 4), 0xffffffff);
	assert_int_equal(mem_in(o.b, 0xfd00000c, 4), 1);
	device_reset(&p->pci.dev);
	assert_int_equal(mem_in(o.b, 0xfd00000c, 4), 0xffffffff);
	device_destroy(&p->pci.dev);
	board_destroy(&o);
}

static void bridges_forward_what_their_windows_cover(void **state)
{
	struct board o = board_create();
	struct pcie_port *up = port_create(&o, "up", NULL), *down = port_create(&o, "down", "up");
	uint32_t bdf = (uint32_t)up->pci.devfn;

	assert_int_equal(cfg_in(&o, 0x0100, 0, 2), 0xffff);
	cfg_out(&o, bdf, PCI_PRIMARY_BUS, 0x00010100, 4);
	assert_int_equal(cfg_in(&o, 0x0100, 0, 2), 0x1b36);
	cfg_out(&o, 0x0100, PCI_BASE_ADDRESS_0, 0xfe100000, 4);
	cfg_out(&o, 0x0100, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	assert_int_equal(mem_in(o.b, 0xfe10000c, 4), 0xffffffff);
	cfg_out(&o, bdf, PCI_MEMORY_BASE, 0xfe10fe10, 4);
	assert_int_equal(mem_in(o.b, 0xfe10000c, 4), 0xffffffff);
	cfg_out(&o, bdf, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	assert_int_equal(mem_in(o.b, 0xfe10000c, 4), 1);
	device_destroy(&down->pci.dev);
	device_destroy(&up->pci.dev);
	board_destroy(&o);
}

static void intx_is_counted_and_follows_the_routing(void **state)
{
	struct board o = board_create();
	struct pcie_port *a = port_create(&o, "a", NULL), *c = port_create(&o, "c", NULL);

	/* Slots 0 and 1: pin A is PIRQE and PIRQF, IOAPIC inputs 20 and 21. */
	pci_intx_set(&a->pci, true);
	pci_intx_set(&c->pci, true);
	assert_true(o.b->gsi[20] && o.b->gsi[21]);
	assert_true(cfg_in(&o, (uint32_t)a->pci.devfn, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	cfg_out(&o, PCI_DEVFN(31, 0), 0x68, 0x0a, 1); /* PIRQE and F to ISA line 10 as well */
	cfg_out(&o, PCI_DEVFN(31, 0), 0x69, 0x0a, 1);
	assert_true(o.b->gsi[10]);
	pci_intx_set(&a->pci, false);
	assert_true(o.b->gsi[10] && !o.b->gsi[20]);
	cfg_out(&o, (uint32_t)c->pci.devfn, PCI_COMMAND, PCI_COMMAND_INTX_DISABLE, 2);
	assert_false(o.b->gsi[10] || o.b->gsi[21]);
	cfg_out(&o, (uint32_t)c->pci.devfn, PCI_COMMAND, 0, 2);
	assert_true(o.b->gsi[10]);
	device_destroy(&c->pci.dev);
	assert_false(o.b->gsi[10] || o.b->gsi[21]);
	device_destroy(&a->pci.dev);
	board_destroy(&o);
}

static void masked_vectors_stay_pending(void **state)
{
	struct board o = board_create();
	struct pcie_port *p = port_create(&o, "rp0", NULL);
	uint32_t bdf = (uint32_t)p->pci.devfn;

	cfg_out(&o, bdf, PCI_BASE_ADDRESS_0, 0xfe000000, 4);
	cfg_out(&o, bdf, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	cfg_out(&o, bdf, p->pci.msix.cap + 2u, 0x8000, 2);
	mem_out(o.b, 0xfe000000, 0xfee00000, 4);
	mem_out(o.b, 0xfe000008, 0x41, 4);
	pci_msix_notify(&p->pci, 0);
	pci_msix_notify(&p->pci, 99); /* a vector that isn't there */
	assert_int_equal(o.b->msi_sent, 0);
	assert_int_equal(mem_in(o.b, 0xfe000800, 4), 1);
	mem_out(o.b, 0xfe00000c, 0, 4);
	assert_int_equal(o.b->msi_sent, 1);
	assert_int_equal(o.b->msi_last.addr, 0xfee00000);
	assert_int_equal(o.b->msi_last.data, 0x41);
	assert_int_equal(mem_in(o.b, 0xfe000800, 4), 0);
	pci_msix_notify(&p->pci, 0);
	assert_int_equal(o.b->msi_sent, 2);
	device_destroy(&p->pci.dev);
	board_destroy(&o);
}

static bool routes_left;

static int route_or_none(void *opaque, int *route, const struct msi_message *m, int fd)
{
	if (!routes_left)
		return -ENOSPC;
	*route = 7;
	return 0;
}

static void unroute(void *opaque, int route, int fd)
{
	assert_int_equal(route, 7);
}

static void bench_ring(struct board *o, int fd, unsigned int sent)
{
	assert_int_equal(eventfd_write(fd, 1), 0);
	for (int i = 0; i < 6 && o->b->msi_sent < sent; i++)
		sd_event_run(loop_event(o->b->loop), 10000);
	assert_int_equal(o->b->msi_sent, sent);
}

/* The kernel is out of routes: the main loop sends what back ends signal, until there is one. */
static void vectors_without_a_route_are_raised(void **state)
{
	struct board o = board_create();
	struct msi_ops ops = *o.b->env.msi;

	ops.route = route_or_none;
	ops.unroute = unroute;
	o.b->env.msi = &ops;
	routes_left = false;

	struct pcie_port *p = port_create(&o, "rp0", NULL);
	uint32_t bdf = (uint32_t)p->pci.devfn;
	int fd = pci_msix_irqfd(&p->pci, 0);

	cfg_out(&o, bdf, PCI_BASE_ADDRESS_0, 0xfe000000, 4);
	cfg_out(&o, bdf, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	cfg_out(&o, bdf, p->pci.msix.cap + 2u, 0x8000, 2);
	mem_out(o.b, 0xfe000000, 0xfee00000, 4);
	mem_out(o.b, 0xfe000008, 0x41, 4);
	mem_out(o.b, 0xfe00000c, 0, 4);
	bench_ring(&o, fd, 1);
	bench_ring(&o, fd, 2);
	assert_int_equal(o.b->msi_last.data, 0x41);
	routes_left = true;
	mem_out(o.b, 0xfe00000c, 1, 4);
	mem_out(o.b, 0xfe00000c, 0, 4);
	assert_true(p->pci.msix.vectors[0].live);
	routes_left = false;
	mem_out(o.b, 0xfe00000c, 1, 4);
	mem_out(o.b, 0xfe00000c, 0, 4);
	device_destroy(&p->pci.dev); /* before the main loop has seen that it is asked for */
	sd_event_run(loop_event(o.b->loop), 0);
	board_destroy(&o);
}

/* 6.7.3 of the specification: button, indicator off and power off by the guest, device gone. */
static void native_unplug_goes_by_the_button(void **state)
{
	struct board o = board_create();
	struct pcie_port *p = port_create(&o, "rp0", NULL);
	uint32_t bdf = (uint32_t)p->pci.devfn, slot = p->pci.exp_cap;
	struct err e;

	p->native = true;
	struct pcie_port *child = port_create(&o, "c", "rp0");

	assert_true(cfg_in(&o, bdf, slot + PCI_EXP_SLTSTA, 2) & PCI_EXP_SLTSTA_PDS);
	device_reset(&p->pci.dev);
	assert_ok(pcie_port_unplug_request(p, &e), &e);
	assert_true(cfg_in(&o, bdf, slot + PCI_EXP_SLTSTA, 2) & PCI_EXP_SLTSTA_ABP);
	cfg_out(&o, bdf, slot + PCI_EXP_SLTCTL, PCI_EXP_SLTCTL_PWR_IND_BLINK, 2);
	assert_int_equal(pcie_port_unplug_request(p, &e), -EBUSY);
	cfg_out(&o, bdf, slot + PCI_EXP_SLTCTL, PCI_EXP_SLTCTL_PWR_IND_OFF | PCI_EXP_SLTCTL_PCC, 2);
	assert_true(cfg_in(&o, bdf, slot + PCI_EXP_SLTSTA, 2) & PCI_EXP_SLTSTA_PDC);
	assert_false(cfg_in(&o, bdf, slot + PCI_EXP_SLTSTA, 2) & PCI_EXP_SLTSTA_PDS);
	assert_null(o.b->ejected); /* a port is not hot-pluggable itself: only its slot is empty */
	device_destroy(&child->pci.dev);
	device_destroy(&p->pci.dev);
	board_destroy(&o);
}

static void places_are_checked(void **state)
{
	struct board o = board_create();
	struct pcie_port *p = port_create(&o, "rp0", NULL);
	struct device *d = device_create(&pcie_port_class, &o.b->env);
	struct err e;

	assert_ok(device_set(d, "addr", "0x1f.1", &e), &e);
	assert_ok(device_set(d, "bus", "rp0", &e), &e);
	assert_int_equal(device_realize(d, &e), -EINVAL); /* only slot 0 behind a port */
	assert_int_equal(device_set(d, "bsu", "rp0", &e), -ENOENT);
	assert_non_null(strstr(e.msg, "did you mean 'bus'"));
	assert_int_equal(device_set(d, "addr", "32", &e), -EINVAL);
	assert_int_equal(device_set(d, "slot", "9000", &e), -ERANGE);
	assert_ok(device_set(d, "bus", "nosuch", &e), &e);
	assert_int_equal(device_realize(d, &e), -ENOENT);
	device_destroy(d);
	device_destroy(&p->pci.dev);
	board_destroy(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(absent_functions_read_as_ones),
		cmocka_unit_test(bars_are_sized_and_moved),
		cmocka_unit_test(bridges_forward_what_their_windows_cover),
		cmocka_unit_test(intx_is_counted_and_follows_the_routing),
		cmocka_unit_test(masked_vectors_stay_pending),
		cmocka_unit_test(native_unplug_goes_by_the_button),
		cmocka_unit_test(vectors_without_a_route_are_raised),
		cmocka_unit_test(places_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
