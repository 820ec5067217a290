/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: the row of "outlive inspect" in front of the reader of streams. */
#include "base/option.h"
#include "cli/cli.h"
#include "cli/inspect/inspect.h"

#include <errno.h>

/**
 * cmd_inspect() - outlive inspect
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_inspect(const struct cli_args *args)
{
	struct inspect_options o = {.json = args->json, .sections = cli_switch(args, "sections")};
	struct err e = {0};

	if (option_parse_size(cli_value(args, "offset", "0"), 1, &o.begin) < 0) {
		err_set(&e, EINVAL, "--offset %s: no size", cli_value(args, "offset", ""));
		return cli_fail(CLI_USAGE, &e);
	}
	return inspect_file(args->words[0], &o, &e) < 0 ? cli_fail(CLI_FAILED, &e) : CLI_OK;
}
