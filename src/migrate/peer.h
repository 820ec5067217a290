/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_PEER_H
#define MIGRATE_PEER_H

#include "migrate/channel/channel.h"

#include <jansson.h>

/*
 * The process at the other end of a channel. Inside this room only.
 *
 * Theory of operation: the end of a connection isn't the end of the target. Whoever is in between
 * can end it: a program that carries the stream, a firewall that resets it. So a target says who it
 * is, before anything is sent: its process, and what it sees of the connection. On the same host
 * the source then keeps a descriptor of that process, which tells its end. From another host it
 * knows whether both see the same connection: then nobody carries the stream, and its orderly end
 * is the target's. A reset never is, since anybody on the way can send one.
 */

struct peer;

json_t *peer_describe(struct channel *c);
struct peer *peer_meet(const json_t *told, struct channel *c);
bool peer_is_direct(const struct peer *p);
bool peer_has_ended(const struct peer *p, int ret);
void peer_forget(struct peer *p);

#endif
