/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a tls-creds object is a description, which goes along in an upgrade as all
 * objects do. Its files are read when it is added, so that what is wrong shows at once, and again
 * for each migration, so that renewed certificates count. Which object a migration uses is a
 * parameter of the migration, on each side.
 */
#include "base/owned.h"
#include "vmm/q35/migration/migration.h"
#include "vmm/q35/ops/ops.h"
#include "vmm/q35/secret.h"

#include <errno.h>
#include <string.h>

static enum tls_kind kind_of(const json_t *o)
{
	const char *kind = option_str(o, "qom-type", "");

	return !strcmp(kind, "tls-creds-x509")  ? TLS_X509
	       : !strcmp(kind, "tls-creds-psk") ? TLS_PSK
						: 0;
}

static bool is_server(const json_t *o)
{
	return !strcmp(option_str(o, "endpoint", "client"), "server");
}

static int load(const struct guest *g, const json_t *o, struct tls_credentials **ret, struct err *e)
{
	const char *password_id = option_str(o, "passwordid", NULL);
	struct tls_options t = {
		.kind = kind_of(o),
		.server = is_server(o),
		.any_peer = !option_bool(o, "verify-peer", true),
		.unchecked = !option_bool(o, "sanity-check", true),
		.dir = option_str(o, "dir", ""),
		.priority = option_str(o, "priority", NULL),
		.username = option_str(o, "username", NULL),
	};
	uint8_t *password = NULL;
	size_t len = 0;
	int r = password_id ? secret_read(g, password_id, &password, &len, e) : 0;

	t.password = (const char *)password;
	if (r >= 0)
		r = tls_credentials_load(ret, &t, e);
	secret_forget(&password, len);
	return r < 0 ? err_in(e, "%s '%s'", option_str(o, "qom-type", ""), option_str(o, "id", ""))
		     : 0;
}

/**
 * tls_object_check() - Could the object be used?
 * @g:		The guest
 * @object:	Any object that is to be added
 * @e:		Set on failure only: names the file, and the remedy
 *
 * Errors: as tls_credentials_load(), secret_read()
 * Return: 0, also for objects of other kinds, or a negative errno
 */
int tls_object_check(const struct guest *g, const json_t *object, struct err *e)
{
	struct tls_credentials *t = NULL;
	int r = kind_of(object) ? load(g, object, &t, e) : 0;

	tls_credentials_free(t);
	return r;
}

/**
 * migration_tls() - Get the credentials that the parameters name
 * @m:		Main thread; no job is under way
 * @server:	A guest comes; else it goes
 * @e:		Set on failure only: names the parameter or file, and the remedy
 *
 * Errors: ENOENT no such object; EINVAL it is another kind, or for the other side; as
 * tls_credentials_load(), secret_read()
 * Return: 0, also if no TLS is asked for, or a negative errno
 */
int migration_tls(struct migration *m, bool server, struct err *e)
{
	const char *id = migration_parameter(m, "tls-creds");
	const char *host = migration_parameter(m, "tls-hostname");
	const char *endpoint = server ? "server" : "client";
	const json_t *o = guest_object_find(m->guest, id);

	tls_credentials_free(m->tls);
	m->tls = NULL;
	mem_free(&m->tls_host);
	if (!*id)
		return 0;
	if (!o)
		return err_set(
			e, ENOENT,
			"tls-creds: there is no object '%s': add it by object-add, or -object "
			"tls-creds-x509,id=%s,dir=...,endpoint=%s",
			id, id, endpoint);
	if (!kind_of(o))
		return err_set(e, EINVAL,
			       "tls-creds: the object '%s' is a %s, not tls-creds-x509 or "
			       "tls-creds-psk",
			       id, option_str(o, "qom-type", ""));
	if (is_server(o) != server)
		return err_set(
			e, EINVAL,
			"tls-creds: '%s' has another endpoint; %s needs one with endpoint=%s", id,
			server ? "the target" : "the source", endpoint);
	if (uri_may_encrypt(&m->uri, e) < 0)
		return -EINVAL;
	m->tls_host = *host ? str_dup(host) : NULL;
	return load(m->guest, o, &m->tls, e);
}
