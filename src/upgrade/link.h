/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UPGRADE_LINK_H
#define UPGRADE_LINK_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * struct bundle - A message between source and target: a JSON object and named file descriptors
 * @body:	Owned
 * @names, @fds: Descriptors; owned; a taken one is -1
 * @len:	How many
 */
struct bundle {
	json_t *body;
	char **names;
	int *fds;
	size_t len;
};

void bundle_init(struct bundle *b);
void bundle_release(struct bundle *b);
/* @fd is duplicated, so the bundle can be released at any time. */
MUST_CHECK int bundle_add_fd(struct bundle *b, const char *name, int fd, struct err *e);
/* -1: there is none of this name (or it was taken before). The caller owns the result. */
int bundle_take_fd(struct bundle *b, const char *name);
/* Whether two say the same and name the same open files (not merely the same numbers). */
bool bundle_equal(const struct bundle *a, const struct bundle *b);

/*
 * Over a unix stream socket: 4 bytes length (big-endian), then JSON {"body":...,"fds":[names]};
 * then, 200 at a time, one byte with descriptors in ancillary data, in the order of the names.
 */
MUST_CHECK int link_send(int sock, const struct bundle *b, struct err *e);
/* Errors: ETIMEDOUT after @timeout_ms; ECONNRESET the other side is gone; EPROTO what came isn't a
 * message. */
MUST_CHECK int link_recv(int sock, struct bundle *b, int timeout_ms, struct err *e);
MUST_CHECK int link_send_json(int sock, json_t *stolen_body, struct err *e);

#endif
