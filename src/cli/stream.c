/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: the row of "outlive inspect" in front of the reader of streams. */
#include "cli/cli.h"
#include "cli/inspect/inspect.h"

/**
 * cmd_inspect() - outlive inspect
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_inspect(const struct cli_args *args)
{
	char name[] = "inspect", json[] = "--json", sections[] = "--sections";
	char *argv[5] = {name};
	int argc = 1;

	if (args->json)
		argv[argc++] = json;
	if (cli_switch(args, "sections"))
		argv[argc++] = sections;
	argv[argc++] = (char *)(uintptr_t)args->words[0];
	return inspect_main(argc, argv);
}
