/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: descriptors passed with commands (SCM_RIGHTS) and kept by name or in sets.
 */
#include "base/fdstore.h"
#include "base/owned.h"
#include "control/command.h"

#include <ctype.h>
#include <errno.h>
#include <unistd.h>

static const struct option fdname_args[] = {
	{"fdname", OPTION_STRING, "its name", .required = true},
	OPTIONS_END,
};

static const struct option add_fd_args[] = {
	{"fdset-id", OPTION_INT, "set it joins; a new one by default", .min = 0, .max = INT32_MAX},
	{"opaque", OPTION_STRING, "what the giver calls it"},
	OPTIONS_END,
};

static const struct option remove_fd_args[] = {
	{"fdset-id", OPTION_INT, "the set", .required = true, .min = 0, .max = INT32_MAX},
	{"fd", OPTION_INT, "which descriptor; all by default", .min = 0, .max = INT32_MAX},
	OPTIONS_END,
};

static int take(struct control_request *rq, int *ret_fd, struct err *e)
{
	*ret_fd = control_take_fd(rq);
	return *ret_fd < 0 ? err_set(e, EINVAL, "No file descriptor supplied via SCM_RIGHTS") : 0;
}

static int getfd(struct control *c, struct control_request *rq, const json_t *args, json_t **ret,
		 struct err *e)
{
	const char *name = option_str(args, "fdname", "");
	OWNED_FD fd = -1;
	int r = take(rq, &fd, e);

	if (r < 0)
		return r;
	if (isdigit((unsigned char)*name) || !*name)
		return err_set(e, EINVAL,
			       "Parameter 'fdname' expects a name not starting with a digit");
	fdstore_name(name, fd_take(&fd));
	return 0;
}

static int closefd(struct control *c, struct control_request *rq, const json_t *args, json_t **ret,
		   struct err *e)
{
	return fdstore_close(option_str(args, "fdname", ""), e);
}

static int add_fd(struct control *c, struct control_request *rq, const json_t *args, json_t **ret,
		  struct err *e)
{
	int64_t id = option_int(args, "fdset-id", -1);
	OWNED_FD fd = -1;
	int number;
	int r = take(rq, &fd, e);

	if (r < 0)
		return r;
	r = fdstore_set_add(&id, fd, option_str(args, "opaque", NULL), &number, e);
	if (r < 0)
		return r;
	fd_take(&fd);
	*ret = json_pack("{s:I, s:i}", "fdset-id", (json_int_t)id, "fd", number);
	return 0;
}

static int remove_fd(struct control *c, struct control_request *rq, const json_t *args,
		     json_t **ret, struct err *e)
{
	return fdstore_set_remove(option_int(args, "fdset-id", 0), (int)option_int(args, "fd", -1),
				  e);
}

static int query_fdsets(struct control *c, struct control_request *rq, const json_t *args,
			json_t **ret, struct err *e)
{
	const struct fdstore_set *s;
	const struct fdstore_fd *f;

	*ret = json_array();
	list_for_each (s, fdstore_sets(), link) {
		json_t *fds = json_array();

		list_for_each (f, &s->fds, link) {
			json_t *one = json_pack("{s:i}", "fd", f->number);

			if (f->opaque)
				json_object_set_new(one, "opaque", json_string(f->opaque));
			json_array_append_new(fds, one);
		}
		json_array_append_new(
			*ret, json_pack("{s:I, s:o}", "fdset-id", (json_int_t)s->id, "fds", fds));
	}
	return 0;
}

const struct command commands_fd[] = {
	{"getfd", fdname_args, NULL, getfd,
	 .help = "keep the descriptor that comes with it by name"},
	{"closefd", fdname_args, NULL, closefd, .help = "close a descriptor kept by name"},
	{"add-fd", add_fd_args, "AddfdInfo", add_fd,
	 .help = "put the descriptor that comes with it into a set (/dev/fdset/N)"},
	{"remove-fd", remove_fd_args, NULL, remove_fd, .help = "take descriptors out of a set"},
	{"query-fdsets", NULL, "[FdsetInfo]", query_fdsets, .help = "all sets"},
	{0},
};
