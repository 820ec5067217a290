/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_PRIVATE_H
#define MIGRATE_PRIVATE_H

#include "migrate/tls/library.h"
#include "migrate/tls/tls.h"

/**
 * struct tls_credentials - Loaded. Inside this room only
 * @gnutls:	The library
 * @options:	What they were loaded for; its texts are not kept but for @dir
 * @dir:	Owned
 * @priority:	For GnuTLS; owned
 * @x509, @psk_server, @psk_client: That of its kind; the others NULL
 */
struct tls_credentials {
	const struct tls_library *gnutls;
	struct tls_options options;
	char *dir, *priority;
	gnutls_certificate_credentials_t x509;
	gnutls_psk_server_credentials_t psk_server;
	gnutls_psk_client_credentials_t psk_client;
};

/* tls/credentials.c: purpose that a certificate of that side must allow, for GnuTLS. */
gnutls_typed_vdata_st tls_purpose(bool server);
/* tls/story.c: in words, with a remedy. @peer: it is the other side's certificate, else our own. */
int tls_certificate_story(const struct tls_credentials *t, unsigned int status, const char *host,
			  bool peer, gnutls_session_t s, struct err *e);
int tls_handshake_story(const struct tls_credentials *t, gnutls_session_t s, int code,
			const char *host, struct err *e);
int tls_alert_story(const struct tls_credentials *t, gnutls_session_t s, struct err *e);

#endif
