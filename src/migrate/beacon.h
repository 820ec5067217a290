/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_BEACON_H
#define MIGRATE_BEACON_H

#include "base/loop.h"
#include "migrate/channel/uri.h"

/*
 * Theory of operation: a QEMU that waits takes any connection for its stream, and ends if it isn't
 * one. So whoever only wants to ask must know before connecting that an Outlive waits. An Outlive
 * that listens therefore answers datagrams at the same address, too: UDP at the same port, or for a
 * unix socket the abstract name "outlive-incoming:PATH". The answer is the question's 8 bytes
 * followed by 8 of its own, so nobody gets more than was sent twice.
 */

struct beacon;

/* Where a socket listens, main loop. NULL if it can't be: nobody can ask then. */
struct beacon *beacon_create(struct loop *loop, int listen_fd);
void beacon_destroy(struct beacon *b); /* may be NULL */
/* Does an Outlive wait there? Takes up to a second. */
bool beacon_answers(const struct uri *u);

#endif
