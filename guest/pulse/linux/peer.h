/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PULSE_LINUX_PEER_H
#define PULSE_LINUX_PEER_H

#include "../core/witness.h"

/**
 * peer_start() - Exchange numbered packets with a peer that sends each back
 * @w:		Witness: figures, life, @args.net packets unanswered, @args.net_rate a second
 * @out:	Device of the report
 * @peer:	"udp:A.B.C.D:PORT", "tcp:A.B.C.D:PORT"; IPv4 only
 * Return: 0, or a negative errno; -EINVAL for a @peer that isn't one
 */
int peer_start(struct witness *w, struct pulse_device *out, const char *peer);

#endif
