/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: the registry of back ends: an ordinary array, the source of help, QMP and
 * docs. */
#include "char/backend.h"

#include <string.h>

const struct char_kind *const char_kinds[] = {
	&char_null, &char_stdio, &char_pty, &char_socket, &char_file, &char_ringbuf, NULL,
};

const struct option char_common_options[] = {
	{"id", OPTION_STRING, "name of the back end", .required = true},
	{"backend", OPTION_STRING, "kind of back end", .required = true},
	{"mux", OPTION_BOOL, "several front ends, switched by C-a c"},
	{"logfile", OPTION_STRING, "output is also written to this file"},
	{"logappend", OPTION_BOOL, "keep what is in the log file (default off)"},
	OPTIONS_END,
};

/**
 * char_help() - Print what there is
 * @out:	Where to
 * @kind:	Print the options of this kind; NULL: list the kinds
 */
void char_help(FILE *out, const char *kind)
{
	for (const struct char_kind *const *k = char_kinds; *k; k++) {
		if (!kind)
			fprintf(out, "  %-10s %s\n", (*k)->name, (*k)->help);
		else if (!strcmp(kind, (*k)->name))
			option_help(out, (*k)->options);
	}
	if (kind)
		option_help(out, char_common_options);
}
