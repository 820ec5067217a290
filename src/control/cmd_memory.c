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

static const struct option pmemsave_args[] = {
	{"val", OPTION_INT, "first address", .required = true},
	{"size", OPTION_INT, "bytes", .required = true},
	{"filename", OPTION_STRING, "file to write", .required = true},
	OPTIONS_END,
};

static const struct option memsave_args[] = {
	{"val", OPTION_INT, "first address", .required = true},
	{"size", OPTION_INT, "bytes", .required = true},
	{"filename", OPTION_STRING, "file to write", .required = true},
	{"cpu-index", OPTION_INT, "vCPU whose page tables are used (default 0)", .min = 0,
	 .max = INT32_MAX},
	OPTIONS_END,
};

/* A piece of guest memory, up to 1 MiB. */
typedef int memory_read_fn(const struct control_ops *ops, const json_t *args, uint64_t at,
			   void *buf, uint64_t len, struct err *e);

static int read_physical(const struct control_ops *ops, const json_t *args, uint64_t at, void *buf,
			 uint64_t len, struct err *e)
{
	return ops->memory_read(ops->opaque, at, buf, len)
		       ? 0
		       : err_set(e, EFAULT, "there is no RAM at %#" PRIx64, at);
}

static int read_virtual(const struct control_ops *ops, const json_t *args, uint64_t at, void *buf,
			uint64_t len, struct err *e)
{
	return ops->memory_read_virtual(ops->opaque, (unsigned int)option_int(args, "cpu-index", 0),
					at, buf, len, e);
}

static int write_all(int fd, const uint8_t *buf, size_t len, struct err *e)
{
	for (size_t done = 0; done < len;) {
		ssize_t w = write(fd, buf + done, len - done);

		if (w < 0 && errno != EINTR)
			return err_sys(e, "write");
		done += w > 0 ? (size_t)w : 0;
	}
	return 0;
}

static int copy_out(const struct control_ops *ops, const json_t *args, memory_read_fn *read_some,
		    int fd, struct err *e)
{
	uint64_t at = (uint64_t)option_int(args, "val", 0);
	uint64_t left = (uint64_t)option_int(args, "size", 0), n;
	OWNED(uint8_t *) buf = malloc(MiB);
	int r = buf ? 0 : err_set(e, ENOMEM, "no memory for a buffer");

	for (; r >= 0 && left; left -= n, at += n) {
		n = MIN(left, (uint64_t)MiB);
		r = read_some(ops, args, at, buf, n, e);
		if (r >= 0)
			r = write_all(fd, buf, n, e);
	}
	return r;
}

static int save(struct control *c, const json_t *args, memory_read_fn *read_some, struct err *e)
{
	const char *path = option_str(args, "filename", "");
	OWNED_FD fd = -1;

	if (!c->ops || !c->ops->memory_read || !c->ops->memory_read_virtual)
		return err_set(e, ENOTSUP, "there is no machine with memory");
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, "%s", path);
	return copy_out(c->ops, args, read_some, fd, e);
}

static int pmemsave(struct control *c, struct control_request *rq, const json_t *args, json_t **ret,
		    struct err *e)
{
	return save(c, args, read_physical, e);
}

static int memsave(struct control *c, struct control_request *rq, const json_t *args, json_t **ret,
		   struct err *e)
{
	return save(c, args, read_virtual, e);
}

static const char *const dump_formats[] = {"elf", NULL};

static const struct option dump_args[] = {
	{"paging", OPTION_BOOL, "off: with page tables resolved is not to be had",
	 .required = true},
	{"protocol", OPTION_STRING, "file:PATH or fd:NAME", .required = true},
	{"detach", OPTION_BOOL, "answer at once; DUMP_COMPLETED says when it is written"},
	{"begin", OPTION_INT, "first address; all memory by default", .min = 0, .max = INT64_MAX},
	{"length", OPTION_INT, "bytes from there", .min = 1, .max = INT64_MAX},
	{"format", OPTION_ENUM, "elf", .names = dump_formats, .type = "DumpGuestMemoryFormat"},
	OPTIONS_END,
};

static int query_dump(struct control *c, struct control_request *rq, const json_t *args,
		      json_t **ret, struct err *e)
{
	if (c->ops && c->ops->query_dump)
		return c->ops->query_dump(c->ops->opaque, rq, args, ret, e);
	*ret = json_pack("{s:s, s:i, s:i}", "status", "none", "completed", 0, "total", 0);
	return 0;
}

static int query_dump_capability(struct control *c, struct control_request *rq, const json_t *args,
				 json_t **ret, struct err *e)
{
	*ret = json_pack("{s:[s]}", "formats", dump_formats[0]);
	return 0;
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
	{"pmemsave", pmemsave_args, NULL, pmemsave,
	 .help = "copy guest physical memory into a file"},
	{"memsave", memsave_args, NULL, memsave,
	 .help = "copy guest memory as a vCPU sees it into a file"},
	{"dump-guest-memory", dump_args, .op = COMMAND_OP(dump_guest_memory),
	 .help = "write the guest's memory and registers as a core file, while it stands still"},
	{"query-dump", NULL, "DumpQueryResult", query_dump, .help = "how far that is"},
	{"query-dump-guest-memory-capability", NULL, "DumpGuestMemoryCapability",
	 query_dump_capability, .help = "formats of such files"},
	{0},
};
