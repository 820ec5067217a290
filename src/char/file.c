/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: output goes to a file, which is written on the main loop; input never comes.
 */
#include "base/fdstore.h"
#include "base/owned.h"
#include "char/backend.h"

#include <errno.h>
#include <fcntl.h>

struct file {
	struct char_backend c;
	int fd;
};

static const struct option file_options[] = {
	{"path", OPTION_STRING, "file to write", .required = true},
	{"append", OPTION_BOOL, "keep what is in it (default off)"},
	OPTIONS_END,
};

static int file_open(struct char_backend *c, const json_t *options, struct err *e)
{
	struct file *f = (struct file *)c;
	int flags = O_WRONLY | O_CREAT |
		    (option_bool(options, "append", false) ? O_APPEND : O_TRUNC);

	f->fd = -1;
	back_set_filename(c, "file");
	c->connected = true;
	return fdstore_open(option_str(options, "path", NULL), flags, 0666, &f->fd, e);
}

static int file_adopt(struct char_backend *c, const json_t *state, const int *fds, size_t fds_len,
		      struct err *e)
{
	struct file *f = (struct file *)c;

	f->fd = -1;
	if (fds_len != 1)
		return err_set(e, EINVAL, "a file needs one descriptor, not %zu", fds_len);
	back_set_filename(c, "file");
	f->fd = fds[0];
	c->connected = true;
	return 0;
}

static void file_close(struct char_backend *c)
{
	fd_close(&((struct file *)c)->fd);
}

static ssize_t file_write(struct char_backend *c, const uint8_t *buf, size_t len)
{
	ssize_t n = write(((struct file *)c)->fd, buf, len);

	return n < 0 ? -errno : n;
}

static int file_handover(struct char_backend *c, struct char_handover *ret, struct err *e)
{
	ret->fds[ret->fds_len++] = ((struct file *)c)->fd;
	return 0;
}

const struct char_kind char_file = {
	.name = "file",
	.help = "output goes to a file",
	.options = file_options,
	.size = sizeof(struct file),
	.open = file_open,
	.adopt = file_adopt,
	.close = file_close,
	.write = file_write,
	.handover = file_handover,
};
