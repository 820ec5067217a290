/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what the guest wrote may be in this host's page cache only. Before another
 * host has the guest, all of it must be stored, which takes as long as the storage needs: seconds
 * where it is slow and much was written. So it isn't for the main thread, which would answer no
 * monitor meanwhile. That one says which files there are, by descriptors of their own, since nodes
 * may go while another thread is at it.
 */
#include "base/owned.h"
#include "block/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/**
 * struct block_store - Files of images that the guest may write
 * @fds:	Owned
 * @names:	Of the images, owned
 * @len:	How many
 */
struct block_store {
	int *fds;
	char **names;
	size_t len;
};

/**
 * struct walk - Over all nodes
 * @s:		What is found
 * @ret, @e:	First failure
 */
struct walk {
	struct block_store *s;
	int ret;
	struct err *e;
};

static void count_one(struct block_node *n, void *opaque)
{
	++*(size_t *)opaque;
}

static void add_one(struct block_node *n, void *opaque)
{
	struct walk *w = opaque;
	struct block_store *s = w->s;
	int fd = n->user && n->writable ? block_fd(n) : -1;

	if (fd < 0 || w->ret < 0)
		return;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0) {
		w->ret = err_sys(w->e, "a second descriptor of %s", block_filename(n));
		return;
	}
	s->fds[s->len] = fd;
	s->names[s->len++] = str_dup(block_filename(n));
}

/**
 * block_store_open() - Which images there are
 * @ret:	Set on success; block_store_close() it
 * @e:		Set on failure only
 *
 * Main thread.
 *
 * Errors: as dup(2)
 * Return: 0, or a negative errno
 */
int block_store_open(struct block_store **ret, struct err *e)
{
	struct block_store *s = mem_zalloc(sizeof(*s));
	struct walk w = {.s = s, .e = e};
	size_t most = 0;

	block_each(count_one, &most);
	s->fds = mem_calloc(most + 1, sizeof(*s->fds));
	s->names = mem_calloc(most + 1, sizeof(*s->names));
	block_each(add_one, &w);
	if (w.ret < 0) {
		block_store_close(s);
		return w.ret;
	}
	*ret = s;
	return 0;
}

/**
 * block_store_run() - Return when all that was written before is stored
 * @s:		From any thread; may take long
 * @e:		Set on failure only: names the image
 *
 * Errors: as fdatasync(2)
 * Return: 0, or a negative errno
 */
int block_store_run(const struct block_store *s, struct err *e)
{
	for (size_t i = 0; i < s->len; i++)
		if (fdatasync(s->fds[i]) < 0)
			return err_sys(e, "store what was written to %s", s->names[i]);
	return 0;
}

/**
 * block_store_close() - Let it go
 * @s:	May be NULL
 */
void block_store_close(struct block_store *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->len; i++) {
		close(s->fds[i]);
		free(s->names[i]);
	}
	free(s->fds);
	free(s->names);
	free(s);
}
