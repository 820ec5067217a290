/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_MIGRATE_TLS_H
#define CLI_MIGRATE_TLS_H

#include "cli/cli.h"

#define CLI_TLS_OPTIONS                                                                       \
	{"tls-dir", 0, "FOLDER",                                                              \
	 "encrypt by TLS, with the certificates, or else the keys.psk, in a folder here"},    \
		{"tls-creds", 0, "ID", "the same with an object tls-creds-... of the VMM"},   \
	{                                                                                     \
		"tls-hostname", 0, "NAME",                                                    \
			"name in the target's certificate (default: the host that URI names)" \
	}

/**
 * struct migrate_tls - What the VMM's migration parameters were
 * @creds, @hostname: To be put back; owned. NULL: nothing was changed
 * @made:	Our object is there
 */
struct migrate_tls {
	char *creds, *hostname;
	bool made;
};

/* Have the VMM encrypt as the options say, or not at all. In any case, migrate_tls_undo(). */
MUST_CHECK int migrate_tls_set(struct qmp *q, const struct cli_args *args, struct migrate_tls *t,
			       struct err *e);
MUST_CHECK int migrate_tls_off(struct qmp *q, struct migrate_tls *t, struct err *e);
void migrate_tls_undo(struct qmp *q, struct migrate_tls *t);

#endif
