/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: outlive dump opens the file and gives it to the VMM, so that it is made
 * where and as whom the operator calls it, whatever the VMM may reach. The VMM writes it while the
 * guest stands still; how far it is is asked for now and then.
 */
#include "base/clock.h"
#include "base/option.h"
#include "base/owned.h"
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_SECONDS 10
#define LOOK_SECONDS   0.2

/* Keeps what DUMP_COMPLETED says; the last one is ours. */
static void on_event(const json_t *event, void *opaque)
{
	json_t **completed = opaque;

	if (strcmp(option_str(event, "event", ""), "DUMP_COMPLETED") != 0)
		return;
	json_decref(*completed);
	*completed = json_incref(json_object_get(event, "data"));
}

static void show(const json_t *status, bool last)
{
	double total = (double)option_int(status, "total", 0);
	double done = (double)option_int(status, "completed", 0);
	OWNED(char *) size = cli_size((uint64_t)total);

	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%3.0f %% of %s%s", total > 0 ? 100 * done / total : 0, size,
			last ? "\n" : "");
}

static int wait_end(struct qmp *q, bool quiet, json_t **ret, struct err *e)
{
	const char *status = "active";
	int r = 0;

	while (r == 0 && !strcmp(status, "active")) {
		json_decref(*ret);
		*ret = NULL;
		r = qmp_command(q, "query-dump", NULL, ret, e);
		status = option_str(*ret, "status", "");
		if (r == 0 && !quiet)
			show(*ret, strcmp(status, "active") != 0);
		if (r == 0 && !strcmp(status, "active"))
			usleep((useconds_t)(LOOK_SECONDS * 1e6));
	}
	return r;
}

/* @completed: the event of its end, as q.opaque has it. */
static int dump_to(struct qmp *q, int fd, bool quiet, json_t **completed, json_t **ret,
		   struct err *e)
{
	int r = qmp_give_fd(q, "outlive-dump", fd, e);

	if (r < 0)
		return r;
	q->on_event = on_event;
	q->opaque = completed;
	r = qmp_command(q, "dump-guest-memory",
			json_pack("{s:b, s:s, s:b}", "paging", 0, "protocol", "fd:outlive-dump",
				  "detach", 1),
			NULL, e);
	if (r >= 0)
		r = wait_end(q, quiet, ret, e);
	if (r >= 0 && strcmp(option_str(*ret, "status", ""), "completed") != 0)
		r = err_set(e, EIO, "%s",
			    option_str(*completed, "error", "the VMM doesn't say why"));
	q->on_event = NULL;
	return r;
}

static int dump(const struct guest *g, const struct cli_args *args, json_t **ret, struct err *e)
{
	OWNED_JSON *completed = NULL;
	const char *path = args->words[1];
	OWNED_FD fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct qmp q;
	int r;

	if (fd < 0)
		return err_sys(e, "%s", path);
	r = qmp_open(g, ANSWER_SECONDS, &q, e);
	if (r >= 0) {
		r = dump_to(&q, fd, args->json, &completed, ret, e);
		qmp_close(&q);
	}
	if (r < 0)
		unlink(path);
	return r;
}

/**
 * cmd_dump() - outlive dump: the guest's memory and registers as a core file
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_dump(const struct cli_args *args)
{
	OWNED_JSON *status = NULL, *result = NULL;
	OWNED(char *) size = NULL;
	struct guest g;
	struct err e;
	int r = guest_open_running(args->words[0], &g, &e);

	if (r < 0)
		return cli_fail(guest_exit_code(r), &e);
	r = dump(&g, args, &status, &e);
	guest_release(&g);
	if (r < 0)
		return cli_fail(CLI_FAILED, &e);
	result = json_pack("{s:s, s:s, s:I}", "name", args->words[0], "file", args->words[1],
			   "memory-bytes", (json_int_t)option_int(status, "total", 0));
	size = cli_size((uint64_t)option_int(status, "total", 0));
	if (args->json)
		cli_print_json(result);
	else
		printf("%s: %s of memory are in %s\n", args->words[0], size, args->words[1]);
	return CLI_OK;
}
