/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_PREFLIGHT_H
#define MIGRATE_PREFLIGHT_H

#include "migrate/migrate.h"

/*
 * Do both sides fit? Asked in the stream, before a byte of RAM; docs/wire.md has the octets. Inside
 * this room, but for the numbers.
 */

enum {
	PREFLIGHT_HELLO = 0x4f75746c,  /* in a PING: are you an Outlive? QEMU says the same back */
	PREFLIGHT_ANSWER = 0x76694f75, /* in the PONG: yes */
	PREFLIGHT_COMMAND = 0x4f4c,    /* a piece of the description; also the type of the reply */
	PREFLIGHT_PIECE = 60000,       /* bytes of a piece at most */
	PREFLIGHT_HASHES = 0x4f4d,     /* a reply: hashes of pages that the target has in a file */
	PREFLIGHT_REFUSAL = 0x4f4e,    /* a reply: why the target will say that it failed */
};

/* The source. EPROTONOSUPPORT they don't fit; @job->preflight says what was found. */
MUST_CHECK int preflight_ask(struct migrate_job *job, struct err *e);
/* The target: one more piece of the description. ECANCELED: answered, and nothing more comes. */
MUST_CHECK int preflight_piece(struct migrate_job *job, uint16_t len, struct err *e);
void preflight_end(struct migrate_job *job);

#endif
