/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: see report.h. Here: a record is read, line by line. A line that a crash cut
 * off ends its run and is told; what was there before is drawn.
 */
#include "cli/report/report.h"

#include "base/owned.h"
#include "cli/report/record.h"

#include <errno.h>
#include <string.h>

/* What the next line is: a new run, or more of the last one. */
static int take_line(json_t *runs, json_t *line, struct err *e)
{
	if (json_object_get(line, "record"))
		json_array_append_new(runs, json_array());
	if (!json_array_size(runs))
		return err_set(
			e, EINVAL,
			"this is not a record: those are what --record of outlive upgrade and "
			"outlive migrate writes");
	json_array_append(json_array_get(runs, json_array_size(runs) - 1), line);
	return 0;
}

static int read_runs(FILE *in, json_t *runs, struct err *e)
{
	OWNED(char *) text = NULL;
	size_t room = 0;
	int r = 0;

	for (unsigned int n = 1; r == 0 && getline(&text, &room, in) > 0; n++) {
		json_error_t why;
		OWNED_JSON *line = json_loads(text, 0, &why);

		if (json_is_object(line))
			r = take_line(runs, line, e);
		else if (n == 1 || strchr(text, '\n'))
			r = err_set(e, EINVAL, "line %u is not a JSON object", n);
		else
			fprintf(stderr, "outlive: line %u is cut off\n", n);
	}
	if (r == 0 && !json_array_size(runs))
		return err_set(e, EINVAL, "there is no run in it");
	return r;
}

static json_t *pictures_of(const json_t *runs)
{
	json_t *all = json_array(), *run;
	size_t i;

	json_array_foreach ((json_t *)(uintptr_t)runs, i, run) {
		const char *kind =
			json_string_value(json_object_get(json_array_get(run, 0), "kind"));

		json_array_append_new(all, kind && !strcmp(kind, "upgrade")
						   ? picture_upgrade(run)
						   : picture_migration(run));
	}
	return all;
}

static int load(const char *path, json_t **ret, struct err *e)
{
	FILE *in = fopen(path, "re");
	OWNED_JSON *runs = json_array();
	int r;

	if (!in)
		return err_sys(e, "%s", path);
	r = read_runs(in, runs, e);
	fclose(in);
	if (r < 0) {
		err_in(e, "%s", path);
		return r;
	}
	*ret = pictures_of(runs);
	return 0;
}

static int show(const struct cli_args *args, const json_t *pictures, struct err *e)
{
	OWNED(char *) beside = str_printf("%s.html", args->words[0]);
	const char *path = cli_value(args, "output", beside);
	bool to_stdout = !strcmp(path, "-");
	int r;

	if (args->json)
		cli_print_json(pictures);
	else if (!to_stdout)
		report_text(stdout, pictures);
	if (cli_switch(args, "text") || (args->json && !cli_value(args, "output", NULL)))
		return 0;
	r = report_page(path, pictures, e);
	if (r == 0 && !to_stdout && !args->json)
		printf("\nwith pictures: %s\n", path);
	return r;
}

/**
 * cmd_report() - outlive report
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_report(const struct cli_args *args)
{
	OWNED_JSON *pictures = NULL;
	struct err e;
	int r = load(args->words[0], &pictures, &e);

	if (r == 0)
		r = show(args, pictures, &e);
	return r < 0 ? cli_fail(CLI_FAILED, &e) : CLI_OK;
}
