/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_URI_H
#define MIGRATE_URI_H

#include "migrate/tls/tls.h"

#include <jansson.h>

/**
 * enum uri_kind - Where a stream goes or comes from
 */
enum uri_kind {
	URI_TCP = 1, /* tcp:HOST:PORT */
	URI_UNIX,    /* unix:PATH */
	URI_FD,      /* fd:NAME, passed or inherited */
	URI_EXEC,    /* exec:COMMAND, by /bin/sh */
	URI_FILE,    /* file:PATH[,offset=N]: a snapshot, see migrate_snapshot_save() */
	URI_LAZY,    /* lazy:PATH[,offset=N]: the same, the guest runs before its memory is read */
};

/**
 * struct uri - A parsed URI
 * @kind:	What it is
 * @text:	All of it; owned
 * @rest:	Behind the colon; borrowed from @text
 * @offset:	Of a file: where in it the stream begins
 * @address:	Of a socket, for address_connect(); owned, or NULL
 */
struct uri {
	enum uri_kind kind;
	char *text;
	const char *rest;
	uint64_t offset;
	json_t *address;
};

MUST_CHECK int uri_parse(const char *text, struct uri *ret, struct err *e);
void uri_destroy(struct uri *u);
/* EINVAL: there can't be TLS. */
MUST_CHECK int uri_may_encrypt(const struct uri *u, struct err *e);
/*
 * The channel to a target; waits for a connection, and asks @cancelled (may be NULL) ten times a
 * second whether to go on. With TLS (@tls, may be NULL) channel_handshake() comes next. Not for
 * URI_FILE.
 */
MUST_CHECK int uri_connect(const struct uri *u, const struct tls_client *tls,
			   bool (*cancelled)(void *opaque), void *opaque, struct channel **ret,
			   struct err *e);
/*
 * Does a source come later (uri_listen(), accept(2), channel_open_fd()), or is it there
 * (uri_open())?
 */
bool uri_waits(const struct uri *u);
MUST_CHECK int uri_listen(const struct uri *u, int *ret_fd, struct err *e);
/* With TLS if @t isn't NULL; then channel_handshake() comes next. */
MUST_CHECK int uri_open(const struct uri *u, const struct tls_credentials *t, struct channel **ret,
			struct err *e);

#endif
