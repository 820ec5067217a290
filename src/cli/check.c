/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the VMM compares; this shows each mismatch as a line on stdout, and what
 * couldn't be compared on stderr. Scripts look at the exit code.
 */
#include "base/option.h"
#include "base/owned.h"
#include "cli/cli.h"

#include <errno.h>

#define ANSWER_SECONDS 30

static void lines(FILE *out, const char *name, const char *kind, const json_t *sentences)
{
	size_t i;
	json_t *one;

	json_array_foreach((json_t *)(uintptr_t)sentences, i, one)
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

static int ask(const struct cli_args *args, const struct guest *g, json_t **ret, struct err *e)
{
	json_t *uri = args->words_len > 1 ? json_pack("{s:s}", "uri", args->words[1]) : NULL;
	struct qmp q;
	int r = qmp_open(g, ANSWER_SECONDS, &q, e);

	if (r < 0) {
		json_decref(uri);
		return r;
	}
	r = qmp_command(&q, "outlive-check-migration", uri, ret, e);
	qmp_close(&q);
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
	r = ask(args, &g, &answer, &e);
	if (r < 0)
		err_in(&e, "%s", g.name);
	guest_release(&g);
	if (r < 0)
		return cli_fail(r == -ETIMEDOUT ? CLI_TIMEOUT : CLI_FAILED, &e);
	show(args, answer);
	return json_array_size(json_object_get(answer, "mismatches")) ? CLI_REFUSED : CLI_OK;
}
