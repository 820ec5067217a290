/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: disk nodes: made, removed, resized, listed. What a device makes of them is
 * asked of the machine. */
#include "block/block.h"
#include "block/on_error.h"
#include "block/throttle.h"
#include "control/command.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static const struct option blockdev_add_args[] = {
	{"driver", OPTION_STRING, "kind of node", .required = true},
	{"node-name", OPTION_STRING, "its name", .required = true},
	{"read-only", OPTION_BOOL, "no writes"},
	{"auto-read-only", OPTION_BOOL, "read-only if the file is"},
	{"discard", OPTION_STRING, "unmap or ignore"},
	{"detect-zeroes", OPTION_STRING, "off, on or unmap"},
	OPTIONS_END,
};

static const struct option node_args[] = {
	{"node-name", OPTION_STRING, "its name", .required = true},
	OPTIONS_END,
};

static const struct option resize_args[] = {
	{"node-name", OPTION_STRING, "name of the node"},
	{"device", OPTION_STRING, "the same, in older clients"},
	{"size", OPTION_SIZE, "bytes", .required = true},
	OPTIONS_END,
};

static const struct option flat_args[] = {
	{"flat", OPTION_BOOL, "without the nodes behind (always so)"},
	OPTIONS_END,
};

static const struct option stats_args[] = {
	{"query-nodes", OPTION_BOOL, "of all nodes, not of devices"},
	OPTIONS_END,
};

static int blockdev_add(struct control *c, struct control_request *rq, const json_t *args,
			json_t **ret, struct err *e)
{
	struct block_node *n;

	return block_open(args, &n, e);
}

static int blockdev_del(struct control *c, struct control_request *rq, const json_t *args,
			json_t **ret, struct err *e)
{
	const char *name = option_str(args, "node-name", "");

	if (!block_find(name))
		return err_set(e, EINVAL, "Failed to find node with node-name='%s'", name);
	return block_remove(name, e);
}

static int resize(struct control *c, struct control_request *rq, const json_t *args, json_t **ret,
		  struct err *e)
{
	const char *name = option_str(args, "node-name", option_str(args, "device", ""));
	struct block_node *n = block_find(name);

	if (!n)
		return err_set(e, ENXIO, "Device '%s' not found", name);
	return block_resize(n, (uint64_t)option_int(args, "size", 0), e);
}

static json_t *image_info(const struct block_node *n)
{
	const char *file = block_filename(n);
	json_t *image = json_pack("{s:s, s:s, s:I, s:b}", "filename", file, "format",
				  block_driver_name(n), "virtual-size", (json_int_t)block_size(n),
				  "dirty-flag", 0);
	struct stat st;

	if (*file && stat(file, &st) == 0)
		json_object_set_new(image, "actual-size",
				    json_integer((json_int_t)st.st_blocks * 512));
	return image;
}

static json_t *cache_info(const struct block_node *n)
{
	const json_t *cache = json_object_get(block_options(n), "cache");

	return json_pack("{s:b, s:b, s:b}", "writeback", !block_write_through(n), "direct",
			 option_bool(cache, "direct", false), "no-flush",
			 option_bool(cache, "no-flush", false));
}

static void put_limits(json_t *info, const struct block_node *n)
{
	struct block_limits_io l = {0};
	json_t *limits;

	block_throttle_get(n, &l);
	limits = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "iops", (json_int_t)l.iops_total,
			   "iops_rd", (json_int_t)l.iops_read, "iops_wr", (json_int_t)l.iops_write,
			   "bps", (json_int_t)l.bps_total, "bps_rd", (json_int_t)l.bps_read,
			   "bps_wr", (json_int_t)l.bps_write);
	json_object_update(info, limits);
	json_decref(limits);
}

/**
 * control_block_info() - What QMP says about a disk node
 * @n:		The node
 *
 * Return: a BlockDeviceInfo, new reference
 */
json_t *control_block_info(const struct block_node *n)
{
	json_t *info = json_pack(
		"{s:s, s:s, s:b, s:s, s:o, s:o, s:b, s:s}", "node-name", block_name(n), "drv",
		block_driver_name(n), "ro", block_read_only(n), "file", block_filename(n), "image",
		image_info(n), "cache", cache_info(n), "encrypted", 0, "detect_zeroes", "off");

	put_limits(info, n);
	json_object_set_new(info, "write_threshold", json_integer(0));
	json_object_set_new(info, "backing_file_depth", json_integer(0));
	return info;
}

static void put_node(struct block_node *n, void *opaque)
{
	json_array_append_new(opaque, control_block_info(n));
}

static int query_named_block_nodes(struct control *c, struct control_request *rq,
				   const json_t *args, json_t **ret, struct err *e)
{
	*ret = json_array();
	block_each(put_node, *ret);
	return 0;
}

static int query_block(struct control *c, struct control_request *rq, const json_t *args,
		       json_t **ret, struct err *e)
{
	if (c->ops && c->ops->query_block)
		return c->ops->query_block(c->ops->opaque, rq, args, ret, e);
	*ret = json_array();
	return 0;
}

static int query_blockstats(struct control *c, struct control_request *rq, const json_t *args,
			    json_t **ret, struct err *e)
{
	if (c->ops && c->ops->query_blockstats)
		return c->ops->query_blockstats(c->ops->opaque, rq, args, ret, e);
	*ret = json_array();
	return 0;
}

const struct command commands_block[] = {
	{"blockdev-add", blockdev_add_args, .fn = blockdev_add, .flags = COMMAND_OPEN,
	 .help = "make a disk node"},
	{"blockdev-del", node_args, .fn = blockdev_del, .help = "remove a disk node"},
	{"block_resize", resize_args, .fn = resize,
	 .help = "change a disk's size; the guest is told"},
	{"query-named-block-nodes", flat_args, "[BlockDeviceInfo]", query_named_block_nodes,
	 .help = "all disk nodes"},
	{"query-block", NULL, "[BlockInfo]", query_block, .help = "disks as devices have them"},
	{"query-blockstats", stats_args, "[BlockStats]", query_blockstats, .help = "I/O counters"},
	{"block_set_io_throttle", NULL, NULL, .op = COMMAND_OP(block_set_io_throttle),
	 .flags = COMMAND_OPEN, .help = "limit the I/O of a disk"},
	{0},
};
