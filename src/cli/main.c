/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: finds the subcommand's row, parses by it, runs it. Its exit code is the
 * process's. */
#include "base/log.h"
#include "base/nearest.h"
#include "base/owned.h"
#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

static void help_all(FILE *out)
{
	fputs("Usage: outlive COMMAND [ARGUMENT...]\n\n"
	      "Guests that outlive what is beneath them.\n\nCommands:\n",
	      out);
	for (const struct cli_command *c = cli_commands; c->name; c++)
		fprintf(out, "  %-12s %s\n", c->name, c->help);
	fputs("\n'outlive COMMAND --help' explains one, with examples. All take --json.\n\n"
	      "Exit status: 0 done, 1 failed, 2 wrong usage, 3 no such guest, 4 refused,\n"
	      "5 not in time.\n",
	      out);
}

/* How many words of @argv are this command's name; 0: it is another. */
static int matches(const struct cli_command *c, int argc, char **argv)
{
	OWNED(char *) two = argc > 1 ? str_printf("%s %s", argv[0], argv[1]) : NULL;

	if (!strcmp(c->name, argv[0]))
		return 1;
	return two && !strcmp(c->name, two) ? 2 : 0;
}

static const char *name_at(const void *table, size_t index)
{
	return ((const struct cli_command *)table)[index].name;
}

/* "device" alone, or with a word that isn't one of its commands. */
static bool group_help(const char *word)
{
	size_t n = strlen(word);
	bool found = false;

	for (const struct cli_command *c = cli_commands; c->name; c++) {
		if (strncmp(c->name, word, n) || c->name[n] != ' ')
			continue;
		fprintf(stderr, "  outlive %-12s %s\n", c->name, c->help);
		found = true;
	}
	return found;
}

static int unknown(const char *word)
{
	struct err e;

	if (group_help(word))
		return CLI_USAGE;
	err_set(&e, EINVAL, "there is no command '%s'", word);
	err_nearest(&e, nearest(word, cli_commands, name_at));
	return cli_fail(CLI_USAGE, &e);
}

static int run(const struct cli_command *c, int argc, char **argv)
{
	struct cli_args args;
	struct err e;
	int code = CLI_OK;

	if (cli_parse(c, argc, argv, &args, &e) < 0)
		return cli_fail(CLI_USAGE, &e);
	if (cli_switch(&args, "help"))
		cli_help(stdout, c);
	else
		code = c->run(&args);
	cli_args_release(&args);
	return code;
}

/* For completion: the names of all commands, or the options of one. */
static int list_words(int argc, char **argv)
{
	for (const struct cli_command *c = cli_commands; c->name; c++) {
		if (!argc)
			puts(c->name);
		else if (matches(c, argc, argv))
			for (const struct cli_option *o = c->options; o && o->name; o++)
				printf("--%s\n", o->name);
	}
	return CLI_OK;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_DFL);
	log_set_program("outlive");
	if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
	    !strcmp(argv[1], "help")) {
		help_all(argc < 2 ? stderr : stdout);
		return argc < 2 ? CLI_USAGE : CLI_OK;
	}
	if (!strcmp(argv[1], "--version")) {
		puts("outlive " OUTLIVE_VERSION);
		return CLI_OK;
	}
	if (!strcmp(argv[1], "--list-words"))
		return list_words(argc - 2, argv + 2);
	for (const struct cli_command *c = cli_commands; c->name; c++) {
		int n = matches(c, argc - 1, argv + 1);

		if (n)
			return run(c, argc - 1 - n, argv + 1 + n);
	}
	return unknown(argv[1]);
}
