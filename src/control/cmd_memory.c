/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: guest memory: its sizes, the balloon, and copies of it into files. */
#include "base/owned.h"
#include "control/command.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

static const struct option balloon_args[] = {
	{"value", OPTION_INT, "RAM the guest shall keep, bytes", .required = true},
	OPTIONS_END,
};

static const struct option save_args[] = {
	{"val", OPTION_INT, "first address", .required = true},
	{"size", OPTION_INT, "bytes", .required = true},
	{"filename", OPTION_STRING, "file to write", .required = true},
	OPTIONS_END,
};

static int copy_out(const struct control_ops *ops, int fd, uint64_t gpa, uint64_t len,
		    struct err *e)
{
	OWNED(uint8_t *) buf = malloc(MiB);

	if (!buf)
		return err_set(e, ENOMEM, "no memory for a buffer");
	while (len) {
		size_t n = MIN(len, (uint64_t)MiB);

		if (!ops->memory_read(ops->opaque, gpa, buf, n))
			return err_set(e, EFAULT, "there is no RAM at %#" PRIx64, gpa);
		for (size_t done = 0; done < n;) {
			ssize_t w = write(fd, buf + done, n - done);

			if (w < 0 && errno != EINTR)
				return err_sys(e, "write");
			done += w > 0 ? (size_t)w : 0;
		}
		gpa += n;
		len -= n;
	}
	return 0;
}

static int pmemsave(struct control *c, struct control_request *rq, const json_t *args, json_t **ret,
		    struct err *e)
{
	const char *path = option_str(args, "filename", "");
	OWNED_FD fd = -1;

	if (!c->ops || !c->ops->memory_read)
		return err_set(e, ENOTSUP, "there is no machine with memory");
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, "%s", path);
	return copy_out(c->ops, fd, (uint64_t)option_int(args, "val", 0),
			(uint64_t)option_int(args, "size", 0), e);
}

const struct command commands_memory[] = {
	{"balloon", balloon_args, .op = COMMAND_OP(balloon), .help = "set the balloon's target"},
	{"query-balloon", NULL, "BalloonInfo", .op = COMMAND_OP(query_balloon),
	 .help = "RAM the guest has"},
	{"query-memory-size-summary", NULL, "MemoryInfo",
	 .op = COMMAND_OP(query_memory_size_summary), .help = "RAM at start and plugged"},
	{"query-memory-devices", NULL, "[any]", .op = COMMAND_OP(query_memory_devices),
	 .help = "plugged memory"},
	{"query-memdev", NULL, "[any]", .op = COMMAND_OP(query_memdev), .help = "memory objects"},
	{"pmemsave", save_args, NULL, pmemsave, .help = "copy guest physical memory into a file"},
	{0},
};
