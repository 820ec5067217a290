/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: how the options that encrypt a migration become QMP. With --tls-dir the VMM
 * gets an object for the time of the migration; its parameters are put back afterwards, so that a
 * guest that stays goes by what its operator has set before.
 */
#include "cli/migrate_tls.h"

#include "base/option.h"
#include "base/owned.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define OBJECT "outlive-migrate-tls"

static bool has_file(const char *dir, const char *name)
{
	OWNED(char) *path = str_printf("%s/%s", dir, name);

	return access(path, F_OK) == 0;
}

static void object_remove(struct qmp *q)
{
	struct err e;

	/* of a command that was killed, perhaps; most often there is none */
	if (qmp_command(q, "object-del", json_pack("{s:s}", "id", OBJECT), NULL, &e) < 0)
		return;
}

static int object_add(struct qmp *q, const char *dir, struct err *e)
{
	char path[PATH_MAX];
	bool keys = has_file(dir, "keys.psk") && !has_file(dir, "ca-cert.pem");

	if (!realpath(dir, path))
		return err_sys(e, "--tls-dir %s", dir);
	object_remove(q);
	return qmp_command(q, "object-add",
			   json_pack("{s:s, s:s, s:s, s:s}", "qom-type",
				     keys ? "tls-creds-psk" : "tls-creds-x509", "id", OBJECT, "dir",
				     path, "endpoint", "client"),
			   NULL, e);
}

static int parameters_set(struct qmp *q, const char *creds, const char *hostname, struct err *e)
{
	return qmp_command(q, "migrate-set-parameters",
			   json_pack("{s:s, s:s}", "tls-creds", creds, "tls-hostname", hostname),
			   NULL, e);
}

static int remember(struct qmp *q, struct migrate_tls *t, struct err *e)
{
	OWNED_JSON *now = NULL;
	int r = qmp_command(q, "query-migrate-parameters", NULL, &now, e);

	if (r < 0)
		return r;
	t->creds = str_dup(option_str(now, "tls-creds", ""));
	t->hostname = str_dup(option_str(now, "tls-hostname", ""));
	return 0;
}

/**
 * migrate_tls_set() - Have the VMM encrypt as the options say
 * @q:		Connected
 * @args:	Of a command with CLI_TLS_OPTIONS; none of them: the VMM's parameters stay
 * @t:		Filled in, also on failure
 * @e:		Set on failure only
 *
 * Errors: EINVAL two ways at once; as the VMM's commands
 * Return: 0, or a negative errno
 */
int migrate_tls_set(struct qmp *q, const struct cli_args *args, struct migrate_tls *t,
		    struct err *e)
{
	const char *dir = cli_value(args, "tls-dir", NULL);
	const char *creds = cli_value(args, "tls-creds", NULL);
	const char *hostname = cli_value(args, "tls-hostname", NULL);
	int r;

	*t = (struct migrate_tls){0};
	if (dir && creds)
		return err_set(e, EINVAL, "either --tls-dir or --tls-creds");
	if (!dir && !creds && !hostname)
		return 0;
	r = remember(q, t, e);
	if (r >= 0 && dir)
		r = object_add(q, dir, e);
	if (r < 0)
		return r;
	t->made = dir != NULL;
	return parameters_set(q,
			      t->made ? OBJECT
			      : creds ? creds
				      : t->creds,
			      hostname ? hostname : "", e);
}

/**
 * migrate_tls_off() - Have the VMM not encrypt, since who carries the stream does
 * @q:	Connected
 * @t:	Filled in, also on failure
 * @e:	Set on failure only
 *
 * Return: 0, or a negative errno
 */
int migrate_tls_off(struct qmp *q, struct migrate_tls *t, struct err *e)
{
	int r;

	*t = (struct migrate_tls){0};
	r = remember(q, t, e);
	return r < 0 || !*t->creds ? r : parameters_set(q, "", "", e);
}

/**
 * migrate_tls_undo() - Put back what migrate_tls_set() has changed
 * @q:	Connected
 * @t:	Of migrate_tls_set() or migrate_tls_off()
 */
void migrate_tls_undo(struct qmp *q, struct migrate_tls *t)
{
	struct err e;

	if (t->creds && parameters_set(q, t->creds, t->hostname, &e) < 0)
		fprintf(stderr, "outlive: %s\n", e.msg);
	if (t->made)
		object_remove(q);
	mem_free(&t->creds);
	mem_free(&t->hostname);
}
