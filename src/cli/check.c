/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the VMM compares; this shows each mismatch as a line on stdout, and what
 * couldn't be compared on stderr. Scripts look at the exit code. A host behind ssh:// says first
 * what the guest needs and isn't there.
 */
#include "base/option.h"
#include "base/owned.h"
#include "cli/cli.h"
#include "cli/migrate_tls.h"
#include "cli/remote/remote.h"

#include <errno.h>

#define ANSWER_SECONDS 30

static void lines(FILE *out, const char *name, const char *kind, const json_t *sentences)
{
	size_t i;
	json_t *one;

	json_array_foreach ((json_t *)(uintptr_t)sentences, i, one)
		fprintf(out, "%s: %s%s\n", name, kind, json_string_value(one));
}

static void show(const struct cli_args *args, json_t *answer)
{
	const char *name = args->words[0], *target = option_str(answer, "target", "");
	const json_t *found = json_object_get(answer, "mismatches");
	const json_t *unchecked = json_object_get(answer, "unchecked");

	if (args->json) {
		cli_print_json(answer);
		return;
	}
	lines(stdout, name, "", found);
	lines(stderr, name, "not checked: ", unchecked);
	if (json_array_size(unchecked) && args->words_len > 1)
		fprintf(stderr,
			"%s: no Outlive answers there: a QEMU, or datagrams don't get through\n",
			name);
	if (!json_array_size(found) && !json_array_size(unchecked))
		printf("%s: nothing stands in the way of going to Outlive %s\n", name, target);
	else if (!json_array_size(found))
		printf("%s: nothing on this side stands in the way\n", name);
}

static int compare(struct qmp *q, const char *uri, json_t **ret, struct err *e)
{
	return qmp_command(q, "outlive-check-migration",
			   uri ? json_pack("{s:s}", "uri", uri) : NULL, ret, e);
}

static int ask(const struct cli_args *args, const struct guest *g, json_t **ret, struct err *e)
{
	struct migrate_tls tls;
	struct qmp q;
	int r = qmp_open(g, ANSWER_SECONDS, &q, e);

	if (r < 0)
		return r;
	r = migrate_tls_set(&q, args, &tls, e);
	if (r >= 0)
		r = compare(&q, args->words_len > 1 ? args->words[1] : NULL, ret, e);
	migrate_tls_undo(&q, &tls);
	qmp_close(&q);
	return r;
}

static int ask_waiting(struct remote *r, const struct guest *g, json_t **ret, struct err *e)
{
	struct migrate_tls tls;
	struct qmp q;
	int failed = qmp_open(g, ANSWER_SECONDS, &q, e);

	if (failed < 0)
		return failed;
	failed = migrate_tls_off(&q, &tls, e);
	if (failed >= 0)
		failed = remote_give(r, &q, e);
	if (failed >= 0)
		failed = compare(&q, "fd:" REMOTE_FD, ret, e);
	if (failed < 0)
		remote_take_back(&q);
	migrate_tls_undo(&q, &tls);
	qmp_close(&q);
	return failed;
}

static int ask_remote(const struct cli_args *args, const struct guest *g, json_t **ret,
		      struct err *e)
{
	struct remote remote;
	int r = remote_open(&remote, args, g, e);

	if (r >= 0 && json_array_size(remote.blockers))
		*ret = json_pack("{s:s, s:O, s:[]}", "target", remote.place.host, "mismatches",
				 remote.blockers, "unchecked");
	else if (r >= 0)
		r = ask_waiting(&remote, g, ret, e);
	if (r >= 0)
		json_object_set(*ret, "notes", remote.notes);
	remote_stop(&remote);
	return r;
}

/**
 * cmd_check() - outlive check
 * @args:	Parsed
 *
 * Return: enum cli_exit; CLI_REFUSED if something stands in the way
 */
int cmd_check(const struct cli_args *args)
{
	OWNED_JSON *answer = NULL;
	struct err e = {0};
	struct guest g;
	int r = guest_open_running(args->words[0], &g, &e);

	if (r < 0)
		return cli_fail(guest_exit_code(r), &e);
	r = remote_options_check(args, &e);
	if (r >= 0 && args->words_len > 1 && remote_is(args->words[1]))
		r = ask_remote(args, &g, &answer, &e);
	else if (r >= 0)
		r = ask(args, &g, &answer, &e);
	if (r < 0)
		err_in(&e, "%s", g.name);
	guest_release(&g);
	if (r < 0)
		return cli_fail(r == -ETIMEDOUT ? CLI_TIMEOUT
				: r == -EINVAL  ? CLI_USAGE
						: CLI_FAILED,
				&e);
	show(args, answer);
	return json_array_size(json_object_get(answer, "mismatches")) ? CLI_REFUSED : CLI_OK;
}
