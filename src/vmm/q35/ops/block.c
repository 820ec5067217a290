/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: disks as devices have them. A disk is a device of the user's with a property
 * that names a node (virtio-blk, SCSI disks). It goes by "qdev": QEMU's path of the object that has
 * the node, which for virtio is the child "virtio-backend".
 */
#include "vmm/q35/ops/ops.h"

#include "block/on_error.h"
#include "block/throttle.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct block_node *drive_of(const struct device *dev)
{
	const struct prop *p = device_prop_find(dev->class, "drive");

	if (!p || p->kind != PROP_DRIVE)
		return NULL;
	return *(struct block_node *const *)((const char *)dev + p->offset);
}

static void qdev_of(const struct device *dev, size_t place, char ret[160])
{
	bool virtio = !strncmp(dev->class->name, "virtio-", 7);

	if (dev->id && !virtio)
		snprintf(ret, 160, "%s", dev->id);
	else if (dev->id)
		snprintf(ret, 160, "/machine/peripheral/%s/virtio-backend", dev->id);
	else
		snprintf(ret, 160, "/machine/peripheral-anon/device[%zu]%s", place,
			 virtio ? "/virtio-backend" : "");
}

/* The @i-th of the user's devices if it is a disk. */
static struct block_node *disk_at(struct guest *g, size_t i, char qdev[160])
{
	struct device *dev = guest_device_at(g, i);
	struct block_node *n = dev ? drive_of(dev) : NULL;

	if (n)
		qdev_of(dev, i, qdev);
	return n;
}

/**
 * op_query_block() - QMP query-block
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	List of disks
 * @e:		Not set
 *
 * Return: 0
 */
int op_query_block(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		   struct err *e)
{
	static const char *const status_words[] = {
		[BLOCK_IO_OK] = "ok", [BLOCK_IO_FAILED] = "failed", [BLOCK_IO_NOSPACE] = "nospace"};
	struct guest *g = opaque;
	char qdev[160];

	*ret = json_array();
	for (size_t i = 0; guest_device_at(g, i); i++) {
		struct block_node *n = disk_at(g, i, qdev);

		if (n)
			json_array_append_new(
				*ret, json_pack("{s:s, s:s, s:s, s:b, s:b, s:o, s:s}", "device", "",
						"qdev", qdev, "type", "unknown", "removable", 0,
						"locked", 0, "inserted", control_block_info(n),
						"io-status", status_words[block_io_status(n)]));
	}
	return 0;
}

static json_t *counters(const struct block_node *n)
{
	static const struct {
		const char *word;
		enum block_op op;
	} kinds[] = {{"rd", BLOCK_READ},
		     {"wr", BLOCK_WRITE},
		     {"flush", BLOCK_FLUSH},
		     {"unmap", BLOCK_DISCARD},
		     {0}};
	struct block_stats s;
	json_t *o = json_object();

	block_stats(n, &s);
	for (size_t i = 0; kinds[i].op; i++) {
		const struct block_counter *c = &s.ops[kinds[i].op];
		char name[40];

		snprintf(name, sizeof(name), "%s_operations", kinds[i].word);
		json_object_set_new(o, name, json_integer((json_int_t)c->done));
		snprintf(name, sizeof(name), "failed_%s_operations", kinds[i].word);
		json_object_set_new(o, name, json_integer((json_int_t)c->failed));
		if (kinds[i].op == BLOCK_FLUSH)
			continue;
		snprintf(name, sizeof(name), "%s_bytes", kinds[i].word);
		json_object_set_new(o, name, json_integer((json_int_t)c->bytes));
	}
	json_object_set_new(o, "wr_highest_offset", json_integer((json_int_t)s.written_to));
	return o;
}

static json_t *node_stats(const struct block_node *n)
{
	const struct block_node *child = block_child(n);
	json_t *o = json_pack("{s:s, s:o}", "node-name", block_name(n), "stats", counters(n));

	if (child)
		json_object_set_new(o, "parent", node_stats(child));
	return o;
}

static void put_node(struct block_node *n, void *opaque)
{
	json_array_append_new(opaque, node_stats(n));
}

/**
 * op_query_blockstats() - QMP query-blockstats
 * @opaque:	The guest
 * @rq:		The command
 * @args:	Of all nodes, or of disks
 * @ret:	List of counters
 * @e:		Not set
 *
 * Return: 0
 */
int op_query_blockstats(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
			struct err *e)
{
	struct guest *g = opaque;
	char qdev[160];

	*ret = json_array();
	if (option_bool(args, "query-nodes", false)) {
		block_each(put_node, *ret);
		return 0;
	}
	for (size_t i = 0; guest_device_at(g, i); i++) {
		struct block_node *n = disk_at(g, i, qdev);
		json_t *one = n ? node_stats(n) : NULL;

		if (!n)
			continue;
		json_object_set_new(one, "device", json_string(""));
		json_object_set_new(one, "qdev", json_string(qdev));
		json_array_append_new(*ret, one);
	}
	return 0;
}

/* By the device's id or qdev path, or by the node's name. */
static struct block_node *disk_find(struct guest *g, const char *name)
{
	for (size_t i = 0; guest_device_at(g, i); i++) {
		char qdev[160];
		struct block_node *n = disk_at(g, i, qdev);
		const char *id = guest_device_at(g, i)->id;

		if (n && (!strcmp(qdev, name) || (id && !strcmp(id, name))))
			return n;
	}
	return block_find(name);
}

/**
 * op_block_set_io_throttle() - QMP block_set_io_throttle
 * @opaque:	The guest
 * @rq:		The command
 * @args:	The disk, and all its limits anew
 * @ret:	Stays NULL
 * @e:		Set on failure only
 *
 * Errors: ENXIO there is no such disk; ENOTSUP it has no throttle node
 * Return: 0, or a negative errno
 */
int op_block_set_io_throttle(void *opaque, struct control_request *rq, const json_t *args,
			     json_t **ret, struct err *e)
{
	const char *name = option_str(args, "id", option_str(args, "device", ""));
	struct block_node *n = disk_find(opaque, name);
	const struct block_limits_io l = {
		.bps_total = (uint64_t)option_int(args, "bps", 0),
		.bps_read = (uint64_t)option_int(args, "bps_rd", 0),
		.bps_write = (uint64_t)option_int(args, "bps_wr", 0),
		.iops_total = (uint64_t)option_int(args, "iops", 0),
		.iops_read = (uint64_t)option_int(args, "iops_rd", 0),
		.iops_write = (uint64_t)option_int(args, "iops_wr", 0),
	};

	if (!n)
		return err_set(e, ENXIO, "Device '%s' not found", name);
	return block_throttle_set(n, &l, e);
}
