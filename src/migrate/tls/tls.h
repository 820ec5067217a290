/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_TLS_H
#define MIGRATE_TLS_H

#include "migrate/channel/channel.h"

/*
 * Theory of operation: TLS below a channel, as QEMU's objects tls-creds-x509 and tls-creds-psk
 * describe it. Credentials are files in a folder, under the names QEMU gives them; they are read
 * and judged when they are loaded, so that what is missing or has expired shows before anything is
 * connected. Whoever connects is the client, whoever listens the server.
 *
 * A channel is TLS from its making on, but nothing may be read or written before its handshake is
 * done: by one thread that waits (channel_handshake()), or in steps from an event loop. In TLS 1.3
 * the client is done before the server has looked at its certificate; the server's refusal is then
 * the first thing that is read, and the channel's failure says so.
 */

enum tls_kind { TLS_X509 = 1, TLS_PSK };

/**
 * struct tls_options - What the properties of a tls-creds object say
 * @kind:	Which object
 * @server:	endpoint=server
 * @any_peer:	verify-peer=off: whoever comes is taken
 * @unchecked:	sanity-check=off: our own certificate isn't judged here
 * @dir:	Folder of the files
 * @priority:	GnuTLS' priority string, or NULL for "NORMAL"
 * @username:	Of a client's key in keys.psk, or NULL for "qemu"
 * @password:	Of an encrypted private key, or NULL
 */
struct tls_options {
	enum tls_kind kind;
	bool server, any_peer, unchecked;
	const char *dir, *priority, *username, *password;
};

struct tls_credentials;

MUST_CHECK int tls_credentials_load(struct tls_credentials **ret, const struct tls_options *o,
				    struct err *e);
void tls_credentials_free(struct tls_credentials *t); /* may be NULL; no channel uses it */

/**
 * struct tls_client - What a connection to a target is protected with
 * @credentials: Of a client; NULL: it isn't
 * @host:	Name that the target's certificate must have; NULL: the one that was connected to
 */
struct tls_client {
	const struct tls_credentials *credentials;
	const char *host;
};

/* channel/tls.c. The channel owns the connected socket @fd on success; @t stays longer than it. */
MUST_CHECK int channel_open_tls(struct channel **ret, int fd, const struct tls_credentials *t,
				const char *host, struct err *e);
/* Does nothing for a channel without TLS, or when it is done. */
MUST_CHECK int channel_handshake(struct channel *c, struct err *e);
/* -EAGAIN: again when the socket is ready for *events (POLLIN, POLLOUT). */
MUST_CHECK int channel_handshake_step(struct channel *c, short *events, struct err *e);
/* The first bytes, without taking them, as far as they are there. */
MUST_CHECK int channel_tls_look(struct channel *c, uint8_t bytes[4]);

/* Bytes of base64 text, which the caller frees. */
MUST_CHECK int tls_base64_decode(const char *text, uint8_t **ret, size_t *ret_len, struct err *e);
/* What libvirt encrypts secrets with: AES-256-CBC, padded. In place; @len becomes shorter. */
MUST_CHECK int tls_decrypt(const uint8_t key[32], uint8_t iv[16], uint8_t *bytes, size_t *len,
			   struct err *e);

#endif
