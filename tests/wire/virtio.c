/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: each virtio device against sections of QEMU 7.2: "cold" before the first
 * instruction (what a device is when made), "bios" and "linux" after drivers ran.
 */
#include "device/virtio/balloon.h"
#include "device/virtio/blk_state.h"
#include "device/virtio/console.h"
#include "device/virtio/net.h"
#include "device/virtio/rng.h"
#include "device/virtio/scsi.h"
#include "wire/virtio_sections.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct test_machine machine;

static void disk_open(const char *name)
{
	json_t *options = json_pack("{s:s,s:s,s:I}", "driver", "null-co", "node-name", name, "size",
				    (json_int_t)(64 * MiB));
	struct block_node *n;
	struct err e;

	if (block_open(options, &n, &e))
		fail_msg("%s", e.msg);
	json_decref(options);
}

static int setup(void **state)
{
	machine_open(&machine, 64 * MiB);
	disk_open("d0");
	disk_open("d1");
	return 0;
}

static int teardown(void **state)
{
	struct err e;

	assert_int_equal(block_remove("d0", &e), 0);
	assert_int_equal(block_remove("d1", &e), 0);
	machine_close(&machine);
	return 0;
}

static void blk(void **state)
{
	static const char *const props[] = {"drive=d0", "serial=abc", NULL};
	struct device *dev = machine_add(&machine, &virtio_blk_class, props);

	assert_writes(dev, "cold-virtio-blk-v2.bin");
	assert_carries(dev, "linux-virtio-blk-v2.bin");
	assert_carries(dev, "cold-virtio-blk-v2.bin");
	device_destroy(dev);
}

static void rng(void **state)
{
	struct device *dev = machine_add(&machine, &virtio_rng_class, NULL);

	assert_writes(dev, "cold-virtio-rng-v1.bin");
	assert_carries(dev, "linux-virtio-rng-v1.bin");
	assert_carries(dev, "bios-virtio-rng-v1.bin");
	device_destroy(dev);
}

static void balloon(void **state)
{
	struct device *dev = machine_add(&machine, &virtio_balloon_class, NULL);

	assert_writes(dev, "cold-virtio-balloon-v1.bin");
	assert_carries(dev, "linux-virtio-balloon-v1.bin");
	assert_carries(dev, "bios-virtio-balloon-v1.bin");
	device_destroy(dev);
}

static void net(void **state)
{
	static const char *const props[] = {"mac=52:54:00:12:34:56", NULL};
	struct device *dev = machine_add(&machine, &virtio_net_class, props);

	assert_writes(dev, "cold-virtio-net-v11.bin");
	assert_carries(dev, "linux-virtio-net-v11.bin");
	assert_carries(dev, "bios-virtio-net-v11.bin");
	device_destroy(dev);
}

static void console(void **state)
{
	static const char *const port_props[] = {"name=org.x", "bus=vs.0", NULL};
	struct device *dev = device_create(&virtio_serial_class, &machine.env);
	struct device *port;
	struct err e;

	dev->id = strdup("vs");
	assert_int_equal(device_realize(dev, &e), 0);
	port = machine_add(&machine, &virtserialport_class, port_props);
	assert_writes(dev, "cold-virtio-console-v3.bin");
	assert_carries(dev, "linux-virtio-console-v3.bin");
	device_destroy(port);
	device_destroy(dev);
}

static void scsi(void **state)
{
	static const char *const disk_props[] = {"drive=d1", "bus=scsi.0", NULL};
	static const char *const two_queues[] = {"num_queues=2", NULL};
	struct device *dev = machine_add(&machine, &virtio_scsi_class, NULL);
	struct device *disk = machine_add(&machine, &scsi_hd_class, disk_props);

	assert_writes(dev, "cold-virtio-scsi-v1.bin");
	assert_writes(disk, "cold-scsi-disk-v1.bin");
	assert_carries(dev, "linux-virtio-scsi-v1.bin");
	assert_carries(disk, "linux-scsi-disk-v1.bin");
	assert_string_equal(strchr(disk->path, '/'), "/0:0:0");
	device_destroy(disk);
	device_destroy(dev);
	dev = machine_add(&machine, &virtio_scsi_class, two_queues);
	assert_carries(dev, "bios-virtio-scsi-v1.bin");
	device_destroy(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(blk, setup, teardown),
		cmocka_unit_test_setup_teardown(net, setup, teardown),
		cmocka_unit_test_setup_teardown(console, setup, teardown),
		cmocka_unit_test_setup_teardown(scsi, setup, teardown),
		cmocka_unit_test_setup_teardown(rng, setup, teardown),
		cmocka_unit_test_setup_teardown(balloon, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
