/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what GnuTLS says when two sides don't come together, in the words of whoever
 * has to mend it. A side sees its own judgement of the other's certificate in detail, and the
 * other's judgement of its own as one of TLS' alerts.
 */
#include "base/owned.h"
#include "migrate/tls/private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The names in the other side's certificate, as "a, b". */
static void peer_names(const struct tls_library *gnutls, gnutls_session_t s, char *text,
		       size_t room)
{
	unsigned int n = 0;
	const gnutls_datum_t *der = gnutls->gnutls_certificate_get_peers(s, &n);
	gnutls_x509_crt_t crt;
	size_t used = 0;

	snprintf(text, room, "no name");
	if (!n || gnutls->gnutls_x509_crt_init(&crt) < 0)
		return;
	if (gnutls->gnutls_x509_crt_import(crt, der, GNUTLS_X509_FMT_DER) == 0)
		for (unsigned int i = 0; used < room; i++) {
			char name[128] = "";
			size_t len = sizeof(name) - 1;
			int kind = gnutls->gnutls_x509_crt_get_subject_alt_name(crt, i, name, &len,
										NULL);

			if (kind < 0)
				break;
			if (kind == GNUTLS_SAN_DNSNAME)
				used += (size_t)snprintf(text + used, room - used, "%s%s",
							 used ? ", " : "", name);
		}
	gnutls->gnutls_x509_crt_deinit(crt);
}

/**
 * tls_certificate_story() - Why a certificate isn't taken
 * @t:		Of this side
 * @status:	GnuTLS' bits
 * @host:	Name it should have, or NULL
 * @peer:	It is the other side's, shown in @s; else our own
 * @s:		Session, or NULL
 * @e:		Filled in
 *
 * Return: a negative errno
 */
int tls_certificate_story(const struct tls_credentials *t, unsigned int status, const char *host,
			  bool peer, gnutls_session_t s, struct err *e)
{
	const char *whose = !peer               ? "it"
			    : t->options.server ? "the source's certificate"
						: "the target's certificate";
	char names[256];

	if (status & GNUTLS_CERT_SIGNER_NOT_FOUND || status & GNUTLS_CERT_SIGNER_NOT_CA)
		return err_set(e, EKEYREJECTED, "%s isn't signed by a CA of %s/ca-cert.pem", whose,
			       t->dir);
	if (status & GNUTLS_CERT_EXPIRED)
		return err_set(e, EKEYEXPIRED, "%s, or its CA's, has expired: renew it", whose);
	if (status & GNUTLS_CERT_NOT_ACTIVATED)
		return err_set(e, EKEYREJECTED,
			       "%s isn't valid yet: see whether the clocks are right", whose);
	if (status & GNUTLS_CERT_REVOKED)
		return err_set(e, EKEYREVOKED, "%s has been revoked in %s/ca-crl.pem", whose,
			       t->dir);
	if (status & GNUTLS_CERT_UNEXPECTED_OWNER) {
		peer_names(t->gnutls, s, names, sizeof(names));
		return err_set(e, EKEYREJECTED,
			       "%s is for %s, not for %s: connect by that name, or set "
			       "tls-hostname to it",
			       whose, names, host);
	}
	if (status & GNUTLS_CERT_PURPOSE_MISMATCH)
		return err_set(e, EKEYREJECTED, "%s isn't for a TLS %s (%s)", whose,
			       peer != t->options.server ? "server" : "client",
			       peer != t->options.server ? "tls_www_server" : "tls_www_client");
	return err_set(e, EKEYREJECTED, "%s isn't good (GnuTLS status %#x)", whose, status);
}

static const struct {
	gnutls_alert_description_t alert;
	const char *why;
} alerts[] = {
	{GNUTLS_A_CERTIFICATE_REQUIRED,
	 "it wants a certificate: put client-cert.pem and client-key.pem into the folder here, or "
	 "set verify-peer=off there"},
	{GNUTLS_A_UNKNOWN_CA, "it doesn't know the CA of this side's certificate"},
	{GNUTLS_A_BAD_CERTIFICATE,
	 "it doesn't take this side's certificate: both need certificates of one CA"},
	{GNUTLS_A_CERTIFICATE_EXPIRED, "this side's certificate has expired for it"},
	{GNUTLS_A_CERTIFICATE_REVOKED, "this side's certificate has been revoked there"},
	{GNUTLS_A_UNKNOWN_PSK_IDENTITY, "its keys.psk doesn't have this side's username"},
	{GNUTLS_A_DECRYPT_ERROR, "its key is another one: keys.psk must be the same on both sides"},
	{GNUTLS_A_BAD_RECORD_MAC,
	 "its key is another one: keys.psk must be the same on both sides"},
	{GNUTLS_A_HANDSHAKE_FAILURE,
	 "there is no common way: both sides need tls-creds of the same kind, and priorities that "
	 "overlap"},
	{GNUTLS_A_ILLEGAL_PARAMETER,
	 "it doesn't take what this side proves: keys.psk must be the same on both sides"},
};

/**
 * tls_alert_story() - What the other side's alert means
 * @t:	Of this side
 * @s:	Session that has got one
 * @e:	Filled in
 *
 * Return: a negative errno
 */
int tls_alert_story(const struct tls_credentials *t, gnutls_session_t s, struct err *e)
{
	const char *who = t->options.server ? "the source" : "the target";
	gnutls_alert_description_t alert = t->gnutls->gnutls_alert_get(s);
	const char *name = t->gnutls->gnutls_alert_get_name(alert);

	for (size_t i = 0; i < ARRAY_SIZE(alerts); i++)
		if (alerts[i].alert == alert)
			return err_set(e, EACCES, "TLS: %s refuses: %s (%s)", who, alerts[i].why,
				       name);
	return err_set(e, EACCES, "TLS: %s refuses: %s", who, name ? name : "unknown alert");
}

static bool is_no_tls(int code)
{
	return code == GNUTLS_E_UNEXPECTED_PACKET_LENGTH || code == GNUTLS_E_UNEXPECTED_PACKET ||
	       code == GNUTLS_E_UNSUPPORTED_VERSION_PACKET || code == GNUTLS_E_RECORD_OVERFLOW;
}

static bool is_no_common_way(int code)
{
	return code == GNUTLS_E_NO_CIPHER_SUITES || code == GNUTLS_E_INSUFFICIENT_CREDENTIALS ||
	       code == GNUTLS_E_NO_COMMON_KEY_SHARE;
}

/**
 * tls_handshake_story() - Why a handshake didn't come to its end
 * @t:		Of this side
 * @s:		Session
 * @code:	GnuTLS'
 * @host:	Name the target should have, or NULL
 * @e:		Filled in
 *
 * Return: a negative errno
 */
int tls_handshake_story(const struct tls_credentials *t, gnutls_session_t s, int code,
			const char *host, struct err *e)
{
	const char *who = t->options.server ? "the source" : "the target";
	unsigned int status;

	if (code == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR) {
		status = t->gnutls->gnutls_session_get_verify_cert_status(s);
		tls_certificate_story(t, status, host, true, s, e);
		return err_in(e, "TLS");
	}
	if (code == GNUTLS_E_FATAL_ALERT_RECEIVED || code == GNUTLS_E_WARNING_ALERT_RECEIVED)
		return tls_alert_story(t, s, e);
	if (code == GNUTLS_E_PREMATURE_TERMINATION)
		return err_set(e, ECONNRESET,
			       "TLS: %s ended the connection instead of a handshake; see that its "
			       "tls-creds are set, and its log",
			       who);
	if (is_no_tls(code))
		return err_set(e, EPROTO, "TLS: %s doesn't speak TLS; set its tls-creds", who);
	if (code == GNUTLS_E_NO_CERTIFICATE_FOUND || code == GNUTLS_E_CERTIFICATE_REQUIRED)
		return err_set(e, EKEYREJECTED,
			       "TLS: %s shows no certificate; put client-cert.pem and "
			       "client-key.pem into its folder, or set verify-peer=off here",
			       who);
	if (code == GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER && t->options.kind == TLS_PSK)
		return err_set(e, EKEYREJECTED,
			       "TLS: %s has another key: keys.psk must be the same on both sides",
			       who);
	if (is_no_common_way(code))
		return err_set(e, EPROTO,
			       "TLS: no common way with %s: both sides need tls-creds of the same "
			       "kind, and priorities that overlap",
			       who);
	return err_set(e, EPROTO, "TLS handshake with %s: %s", who,
		       t->gnutls->gnutls_strerror(code));
}
