/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: see tls.h. What GnuTLS would find out in the middle of a handshake, and the
 * other side's operator would see as an alert without a word, is looked for here: a file that isn't
 * there, a key of another certificate, a certificate that has expired, is for another purpose, or
 * isn't from the CA that the folder names.
 */
#include "base/owned.h"
#include "migrate/tls/private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { CHAIN_MAX = 8 };

static char *path_of(const struct tls_credentials *t, const char *name)
{
	return str_printf("%s/%s", t->dir, name);
}

/* 1: it can be read, 0: there is none and none is needed. */
static int file_there(const char *path, bool needed, struct err *e)
{
	if (access(path, R_OK) == 0)
		return 1;
	if (errno == ENOENT && !needed)
		return 0;
	return err_sys(e, "%s can't be read", path);
}

static int refused(const struct tls_credentials *t, int code, const char *path, struct err *e)
{
	return err_set(e, EINVAL, "%s: %s", path, t->gnutls->gnutls_strerror(code));
}

static int load_trust(struct tls_credentials *t, struct err *e)
{
	OWNED(char) *ca = path_of(t, "ca-cert.pem"), *crl = path_of(t, "ca-crl.pem");
	int n, r = file_there(ca, true, e);

	if (r < 0)
		return r;
	n = t->gnutls->gnutls_certificate_set_x509_trust_file(t->x509, ca, GNUTLS_X509_FMT_PEM);
	if (n < 0)
		return refused(t, n, ca, e);
	r = n ? file_there(crl, false, e) : err_set(e, EINVAL, "%s has no certificate", ca);
	if (r <= 0)
		return r;
	n = t->gnutls->gnutls_certificate_set_x509_crl_file(t->x509, crl, GNUTLS_X509_FMT_PEM);
	return n < 0 ? refused(t, n, crl, e) : 0;
}

/**
 * tls_purpose() - What a certificate must be good for
 * @server:	That of a server
 *
 * Source: RFC 5280, 4.2.1.12: a certificate that names no purpose is good for any
 * Return: for GnuTLS' functions that verify
 */
gnutls_typed_vdata_st tls_purpose(bool server)
{
	static const char client_oid[] = GNUTLS_KP_TLS_WWW_CLIENT;
	static const char server_oid[] = GNUTLS_KP_TLS_WWW_SERVER;
	const char *oid = server ? server_oid : client_oid;

	return (gnutls_typed_vdata_st){.type = GNUTLS_DT_KEY_PURPOSE_OID,
				       .data = (unsigned char *)(uintptr_t)oid};
}

static void date_text(time_t at, char text[32])
{
	struct tm tm;

	gmtime_r(&at, &tm);
	strftime(text, 32, "%Y-%m-%d %H:%M UTC", &tm);
}

static int check_dates(const struct tls_credentials *t, gnutls_x509_crt_t crt, const char *path,
		       struct err *e)
{
	time_t now = time(NULL), from = t->gnutls->gnutls_x509_crt_get_activation_time(crt);
	time_t to = t->gnutls->gnutls_x509_crt_get_expiration_time(crt);
	char date[32];

	date_text(to < now ? to : from, date);
	if (to < now)
		return err_set(e, EKEYEXPIRED, "%s has expired on %s: renew it", path, date);
	if (from > now)
		return err_set(
			e, EKEYREJECTED,
			"%s is valid from %s on: see whether the clock of this host is right", path,
			date);
	return 0;
}

/* The chain as it will be shown to the other side. Returns its length. */
static unsigned int chain_get(const struct tls_credentials *t, gnutls_x509_crt_t chain[CHAIN_MAX])
{
	gnutls_datum_t der;
	unsigned int n;

	for (n = 0; n < CHAIN_MAX; n++) {
		if (t->gnutls->gnutls_certificate_get_crt_raw(t->x509, 0, n, &der) < 0 ||
		    t->gnutls->gnutls_x509_crt_init(&chain[n]) < 0)
			break;
		if (t->gnutls->gnutls_x509_crt_import(chain[n], &der, GNUTLS_X509_FMT_DER) < 0) {
			t->gnutls->gnutls_x509_crt_deinit(chain[n]);
			break;
		}
	}
	return n;
}

/* Would the other side, with the same CA, take our certificate? */
static int check_own(const struct tls_credentials *t, const char *path, struct err *e)
{
	gnutls_typed_vdata_st purpose = tls_purpose(t->options.server);
	gnutls_x509_crt_t chain[CHAIN_MAX];
	unsigned int i, status = 0, n = chain_get(t, chain);
	gnutls_x509_trust_list_t trust;
	int r = n ? check_dates(t, chain[0], path, e) : err_set(e, EINVAL, "%s is empty", path);

	if (r == 0) {
		t->gnutls->gnutls_certificate_get_trust_list(t->x509, &trust);
		r = t->gnutls->gnutls_x509_trust_list_verify_crt2(trust, chain, n, &purpose, 1, 0,
								  &status, NULL);
		r = r < 0 ? refused(t, r, path, e) : 0;
	}
	for (i = 0; i < n; i++)
		t->gnutls->gnutls_x509_crt_deinit(chain[i]);
	if (r < 0 || !status)
		return r;
	tls_certificate_story(t, status, NULL, false, NULL, e);
	return err_in(e, "%s", path);
}

static int load_own(struct tls_credentials *t, const char *password, struct err *e)
{
	const char *who = t->options.server ? "server" : "client";
	OWNED(char) *cert = str_printf("%s/%s-cert.pem", t->dir, who);
	OWNED(char) *key = str_printf("%s/%s-key.pem", t->dir, who);
	int n, r = file_there(cert, t->options.server, e);

	if (r <= 0)
		return r; /* a client may go without */
	r = file_there(key, true, e);
	if (r < 0)
		return r;
	n = t->gnutls->gnutls_certificate_set_x509_key_file2(t->x509, cert, key,
							     GNUTLS_X509_FMT_PEM, password, 0);
	if (n == GNUTLS_E_DECRYPTION_FAILED)
		return err_set(e, EKEYREJECTED,
			       "%s is encrypted: passwordid must name a secret with its password",
			       key);
	if (n < 0)
		return err_set(e, EINVAL, "%s with %s: %s", cert, key,
			       t->gnutls->gnutls_strerror(n));
	return t->options.unchecked ? 0 : check_own(t, cert, e);
}

static int load_x509(struct tls_credentials *t, const struct tls_options *o, struct err *e)
{
	int r;

	t->priority = str_dup(o->priority ? o->priority : "NORMAL");
	r = t->gnutls->gnutls_certificate_allocate_credentials(&t->x509);
	if (r < 0)
		return refused(t, r, t->dir, e);
	r = load_trust(t, e);
	return r < 0 ? r : load_own(t, o->password, e);
}

/* Behind "USER:" in a line of the file, without the end of the line; NULL: no such line. */
static char *psk_find(FILE *f, const char *user)
{
	size_t room = 0, len = strlen(user);
	char *line = NULL, *key = NULL;

	while (!key && getline(&line, &room, f) >= 0)
		if (!strncmp(line, user, len) && line[len] == ':')
			key = str_printf("%.*s", (int)strcspn(line + len + 1, "\r\n"),
					 line + len + 1);
	free(line);
	return key;
}

static int load_psk_client(struct tls_credentials *t, const char *path, const char *user,
			   struct err *e)
{
	FILE *f = fopen(path, "re");
	OWNED(char) *key = f ? psk_find(f, user) : NULL;
	gnutls_datum_t datum = {.data = (unsigned char *)key};
	int r;

	if (!f)
		return err_sys(e, "%s can't be read", path);
	fclose(f);
	if (!key)
		return err_set(
			e, ENOENT,
			"%s has no key of '%s': make one by psktool -u %s -p %s, and copy the "
			"file to the other side",
			path, user, user, path);
	datum.size = (unsigned int)strlen(key);
	r = t->gnutls->gnutls_psk_allocate_client_credentials(&t->psk_client);
	if (r >= 0)
		r = t->gnutls->gnutls_psk_set_client_credentials(t->psk_client, user, &datum,
								 GNUTLS_PSK_KEY_HEX);
	return r < 0 ? refused(t, r, path, e) : 0;
}

/* Priorities as QEMU's, so that both find a common way. */
static int load_psk(struct tls_credentials *t, const struct tls_options *o, struct err *e)
{
	OWNED(char) *path = path_of(t, "keys.psk");
	int r = file_there(path, true, e);

	t->priority = str_printf("%s:+ECDHE-PSK:+DHE-PSK:+PSK",
				 o->priority ? o->priority : "NORMAL");
	if (r < 0)
		return r;
	if (!o->server)
		return load_psk_client(t, path, o->username ? o->username : "qemu", e);
	if (o->username)
		return err_set(e, EINVAL,
			       "username is for endpoint=client: a server takes whoever "
			       "has a key in keys.psk");
	r = t->gnutls->gnutls_psk_allocate_server_credentials(&t->psk_server);
	if (r >= 0)
		r = t->gnutls->gnutls_psk_set_server_credentials_file(t->psk_server, path);
	return r < 0 ? refused(t, r, path, e) : 0;
}

/* A priority string that GnuTLS doesn't take would fail each handshake. */
static int check_priority(const struct tls_credentials *t, struct err *e)
{
	gnutls_session_t s;
	const char *at = "";
	int r = t->gnutls->gnutls_init(&s, GNUTLS_CLIENT);

	if (r < 0)
		return refused(t, r, t->dir, e);
	r = t->gnutls->gnutls_priority_set_direct(s, t->priority, &at);
	if (r < 0)
		err_set(e, EINVAL, "priority '%s': %s at '%s'", t->priority,
			t->gnutls->gnutls_strerror(r), r == GNUTLS_E_INVALID_REQUEST ? at : "");
	t->gnutls->gnutls_deinit(s);
	return r < 0 ? -EINVAL : 0;
}

/**
 * tls_credentials_load() - Read and judge credentials
 * @ret:	Set on success only; tls_credentials_free() them
 * @o:		Where they are, and what they are for; borrowed
 * @e:		Set on failure only: names the file, and the remedy
 *
 * Source: the names of the files: QEMU's documentation of tls-creds-x509 and tls-creds-psk
 * Errors: ENOTSUP there is no GnuTLS here; ENOENT, EACCES a file; EKEYEXPIRED, EKEYREJECTED, EINVAL
 * what is in it
 * Return: 0, or a negative errno
 */
int tls_credentials_load(struct tls_credentials **ret, const struct tls_options *o, struct err *e)
{
	const struct tls_library *gnutls = tls_library(e);
	struct tls_credentials *t;
	int r;

	if (!gnutls)
		return e ? -e->code : -ENOTSUP;
	t = mem_zalloc(sizeof(*t));
	t->gnutls = gnutls;
	t->options = *o;
	t->dir = str_dup(o->dir);
	r = o->kind == TLS_X509 ? load_x509(t, o, e) : load_psk(t, o, e);
	if (r >= 0)
		r = check_priority(t, e);
	t->options.dir = t->dir;
	t->options.priority = t->options.username = t->options.password = NULL;
	if (r < 0)
		tls_credentials_free(t);
	else
		*ret = t;
	return r;
}

/**
 * tls_credentials_free() - Forget credentials
 * @t:	May be NULL; no channel uses it any more
 */
void tls_credentials_free(struct tls_credentials *t)
{
	if (!t)
		return;
	if (t->x509)
		t->gnutls->gnutls_certificate_free_credentials(t->x509);
	if (t->psk_server)
		t->gnutls->gnutls_psk_free_server_credentials(t->psk_server);
	if (t->psk_client)
		t->gnutls->gnutls_psk_free_client_credentials(t->psk_client);
	free(t->dir);
	free(t->priority);
	free(t);
}
