/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: three ways to describe a back end, one inside. "-chardev
 * socket,id=c,path=p" is flat already. chardev-add nests ({"backend": {"type": "socket", "data":
 * {"addr": {"type": "unix", "data": {"path": ...}}}}}): its leaves are the same names, so nesting
 * is dropped. "-serial unix:p,server=on" has the kind in front of a colon.
 */
#include "base/option.h"
#include "base/owned.h"
#include "char/char.h"

#include <errno.h>
#include <string.h>

/* QMP's names of kinds and members that differ from the command line's. */
static const struct {
	const char *qmp, *ours;
} renamed[] = {{"out", "path"}, {"str", "fd"}, {"memory", "ringbuf"}, {"chardev", "chardev"}};

static const char *our_name(const char *qmp)
{
	for (size_t i = 0; i < ARRAY_SIZE(renamed); i++)
		if (!strcmp(renamed[i].qmp, qmp))
			return renamed[i].ours;
	return qmp;
}

static void flatten(json_t *to, const json_t *from)
{
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)from, key, v) {
		if (json_is_object(v))
			flatten(to, v);
		else if (strcmp(key, "type"))
			json_object_set(to, our_name(key), v);
	}
}

/**
 * char_options_from_qmp() - chardev-add's arguments in the form char_create() takes
 * @arguments:	{"id": ..., "backend": {"type": ..., "data": {...}}}, checked by the command's table
 * @ret:	Set on success only; the caller owns it
 * @e:		Set on failure only
 *
 * Errors: EINVAL no type
 * Return: 0, or a negative errno
 */
int char_options_from_qmp(const json_t *arguments, json_t **ret, struct err *e)
{
	const json_t *backend = json_object_get(arguments, "backend");
	const char *kind = option_str(backend, "type", NULL);
	json_t *o;

	if (!kind)
		return err_set(e, EINVAL, "Parameter 'backend.type' is missing");
	o = json_pack("{s:s, s:O}", "backend", our_name(kind), "id",
		      json_object_get(arguments, "id"));
	if (!o)
		return err_set(e, EINVAL, "Parameter 'id' is missing");
	flatten(o, json_object_get(backend, "data"));
	if (!strcmp(kind, "socket") && !json_object_get(o, "server"))
		json_object_set_new(o, "server",
				    json_true()); /* QMP's default, unlike -chardev's */
	if (!strcmp(kind, "socket") && json_is_true(json_object_get(o, "server")) &&
	    !json_object_get(o, "wait"))
		json_object_set_new(o, "wait", json_false());
	*ret = o;
	return 0;
}

/* "unix:PATH,..." and "tcp:HOST:PORT,...": what follows the colon, as options. */
static int socket_text(const char *text, json_t **ret, struct err *e)
{
	bool is_unix = !strncmp(text, "unix:", 5);
	const char *port;
	char *host;
	int r = keyval_parse(strchr(text, ':') + 1, is_unix ? "path" : "host", ret, e);

	if (r < 0 || is_unix)
		return r;
	host = str_dup(option_str(*ret, "host", ""));
	port = strrchr(host, ':');
	if (port) {
		json_object_set_new(*ret, "port", json_string(port + 1));
		json_object_set_new(*ret, "host", json_stringn(host, (size_t)(port - host)));
	}
	free(host);
	if (!port) {
		json_decref(*ret);
		return err_set(e, EINVAL, "'%s' has no port", text);
	}
	return 0;
}

/**
 * char_options_from_legacy() - The short form of -serial, -monitor, -qmp and -parallel
 * @text:	"null", "stdio", "mon:stdio", "pty", "file:PATH", "unix:PATH,...",
 * "tcp:HOST:PORT,..."
 * @id:		Name the back end shall have
 * @ret:	Set on success only; the caller owns it
 * @e:		Set on failure only
 *
 * Errors: EINVAL not one of these
 * Return: 0, or a negative errno
 */
int char_options_from_legacy(const char *text, const char *id, json_t **ret, struct err *e)
{
	const char *kind = "socket";
	bool mux = !strncmp(text, "mon:", 4);
	int r = 0;

	text += mux ? 4 : 0;
	if (!strncmp(text, "unix:", 5) || !strncmp(text, "tcp:", 4)) {
		r = socket_text(text, ret, e);
	} else if (!strncmp(text, "file:", 5)) {
		kind = "file";
		*ret = json_pack("{s:s}", "path", text + 5);
	} else if (!strcmp(text, "null") || !strcmp(text, "stdio") || !strcmp(text, "pty")) {
		kind = text;
		*ret = json_object();
	} else {
		return err_set(e, EINVAL,
			       "'%s' is not null, stdio, pty, file:PATH, unix:PATH or "
			       "tcp:HOST:PORT",
			       text);
	}
	if (r < 0)
		return r;
	json_object_set_new(*ret, "backend", json_string(kind));
	json_object_set_new(*ret, "id", json_string(id));
	if (mux)
		json_object_set_new(*ret, "mux", json_true());
	return 0;
}
