/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: "raw" shows a window of the node below (all of it by default) and is
 * otherwise transparent.
 */
#include "block/driver.h"

#include "base/owned.h"

#include <errno.h>

struct window {
	uint64_t offset;
	bool fixed; /* an explicit size: doesn't follow the file */
};

static const struct block_option raw_options[] = {
	{"file", BLOCK_OPTION_NODE, true, "node below"},
	{"offset", BLOCK_OPTION_SIZE, false, "where the disk begins in the node below, bytes"},
	{"size", BLOCK_OPTION_SIZE, false, "size of the disk, bytes"},
	{NULL, 0, false, NULL},
};

static int raw_fit(struct block_node *n, struct err *e)
{
	const struct window *w = n->priv;
	uint64_t below = block_size(n->child), size = below - MIN(below, w->offset);
	int r = block_option_size(n, "size", &size, e);

	if (r < 0)
		return r;
	if (w->offset > below || size > below - w->offset)
		return err_set(e, EINVAL, "offset %ju and size %ju lie outside '%s' (%ju bytes)",
			       (uintmax_t)w->offset, (uintmax_t)size, block_name(n->child),
			       (uintmax_t)below);
	n->size = size & ~511ULL;
	return 0;
}

static int raw_open(struct block_node *n, struct err *e)
{
	struct window *w = mem_zalloc(sizeof(*w));
	int r = block_option_size(n, "offset", &w->offset, e);

	n->priv = w;
	n->read_only = block_option_bool(n, "read-only", false) || block_read_only(n->child);
	w->fixed = json_object_get(n->options, "size");
	if (r >= 0)
		r = raw_fit(n, e);
	if (r < 0)
		free(w);
	return r;
}

static void priv_free(struct block_node *n)
{
	free(n->priv);
}

static void raw_submit(struct block_queue *q, struct block_request *r)
{
	const struct window *w = q->node->priv;

	r->offset += w->offset;
	block_forward(q, r);
}

static int raw_resize(struct block_node *n, uint64_t bytes, struct err *e)
{
	const struct window *w = n->priv;

	if (w->fixed || w->offset)
		return err_set(e, ENOTSUP, "a raw node with offset or size can't be resized");
	return raw_fit(n, e);
}

const struct block_driver block_raw = {
	.name = "raw",
	.help = "the disk's bytes as they are in the node below",
	.options = raw_options,
	.open = raw_open,
	.close = priv_free,
	.submit = raw_submit,
	.resize = raw_resize,
};
