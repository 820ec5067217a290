/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_MIGRATION_H
#define CLI_MIGRATION_H

#include "cli/cli.h"
#include "cli/report/record.h"

/**
 * struct migration_watch - A migration that is watched
 * @name:	Of the guest, for what is shown
 * @json:	Each look as a line of JSON instead of a progress line
 * @quiet:	Neither
 * @record:	Where each look is written down, more often than it is shown; NULL: nowhere
 * @look_ms:	Time between two looks; 0: so that a person can read it
 */
struct migration_watch {
	const char *name;
	bool json, quiet;
	struct record *record;
	int look_ms;
};

/* An interrupt is noted from now on, and doesn't end this program. */
void migration_catch(void);
bool migration_interrupted(void);
/* Waits for its end, showing how far it is; an interrupt (Ctrl-C) cancels. Set @ret to the last
 * query-migrate. */
MUST_CHECK int migration_follow(struct qmp *q, const struct migration_watch *w, json_t **ret,
				struct err *e);

#endif
