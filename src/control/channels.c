/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: QEMU from 8.2 on can be told where a migration goes by a list of channels
 * with addresses in parts, of which it takes one, "main". Each such address is a URI in other
 * words, and becomes one here, before the machine sees it.
 */
#include "control/command.h"

#include "base/owned.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {"main", NULL};
static const char *const transports[] = {"socket", "exec", "file", NULL};
static const char *const sockets[] = {"inet", "unix", "fd", NULL};

static const struct option address_fields[] = {
	{"transport", OPTION_ENUM, "what it goes by", .required = true, .names = transports,
	 .type = "MigrationAddressType"},
	{"type", OPTION_ENUM, "socket: of what family", .names = sockets,
	 .type = "OutliveSocketType"},
	{"host", OPTION_STRING, "inet: name or address"},
	{"port", OPTION_STRING, "inet: port"},
	{"path", OPTION_STRING, "unix: socket"},
	{"str", OPTION_STRING, "fd: name of getfd, or number"},
	{"args", OPTION_STRING, "exec: program and its arguments", .list = true},
	{"filename", OPTION_STRING, "file: path"},
	{"offset", OPTION_INT, "file: bytes in front of the stream"},
	OPTIONS_END,
};

/* See command.h. */
const struct option migrate_channel_fields[] = {
	{"channel-type", OPTION_ENUM, "what for", .required = true, .names = kinds,
	 .type = "MigrationChannelType"},
	{"addr", OPTION_OBJECT, "where", .required = true, .fields = address_fields,
	 .type = "OutliveMigrationAddress"},
	OPTIONS_END,
};

static const char *part(const json_t *addr, const char *name, struct err *e)
{
	const char *s = option_str(addr, name, NULL);

	if (!s)
		err_set(e, EINVAL, "Parameter 'channels[0].addr.%s' is missing", name);
	return s;
}

static char *socket_uri(const json_t *addr, struct err *e)
{
	const char *type = part(addr, "type", e), *host, *port, *rest;

	if (!type)
		return NULL;
	if (strcmp(type, "inet") != 0) {
		rest = part(addr, !strcmp(type, "unix") ? "path" : "str", e);
		return rest ? str_printf("%s:%s", type, rest) : NULL;
	}
	host = part(addr, "host", e);
	port = host ? part(addr, "port", e) : NULL;
	if (!port)
		return NULL;
	return str_printf(strchr(host, ':') ? "tcp:[%s]:%s" : "tcp:%s:%s", host, port);
}

/* For a shell: quotes in a word end the quoting, and begin it anew. */
static char *quoted(const char *before, const char *word)
{
	char *text = str_printf("%s '", before), *longer;

	for (; *word; word++) {
		longer = *word == '\'' ? str_printf("%s'\\''", text)
				       : str_printf("%s%c", text, *word);
		free(text);
		text = longer;
	}
	longer = str_printf("%s'", text);
	free(text);
	return longer;
}

static char *exec_uri(const json_t *addr, struct err *e)
{
	char *text = str_dup("exec:exec"), *longer;
	const json_t *args = json_object_get(addr, "args"), *one;
	size_t i;

	json_array_foreach (args, i, one) {
		longer = quoted(text, json_string_value(one));
		free(text);
		text = longer;
	}
	if (json_array_size(args))
		return text;
	free(text);
	err_set(e, EINVAL, "Parameter 'channels[0].addr.args' is missing");
	return NULL;
}

static char *file_uri(const json_t *addr, struct err *e)
{
	const char *name = part(addr, "filename", e);

	return name ? str_printf("file:%s,offset=%lld", name,
				 (long long)option_int(addr, "offset", 0))
		    : NULL;
}

static char *uri_of(const json_t *addr, struct err *e)
{
	const char *transport = option_str(addr, "transport", "");

	return !strcmp(transport, "socket") ? socket_uri(addr, e)
	       : !strcmp(transport, "exec") ? exec_uri(addr, e)
					    : file_uri(addr, e);
}

/**
 * migrate_uri() - One URI, whichever way a command says where
 * @args:	Checked, with uri or channels
 * @ret:	Set on success only: with uri and without channels; new reference
 * @e:		Set on failure only
 *
 * Errors: EINVAL both, none, or not just one channel; a part of its address is missing
 * Return: 0, or a negative errno
 */
int migrate_uri(const json_t *args, json_t **ret, struct err *e)
{
	const json_t *channels = json_object_get(args, "channels");
	OWNED(char) *uri = NULL;

	if (!channels == !json_object_get(args, "uri"))
		return err_set(e, EINVAL, "'uri' and 'channels': one of them must be given");
	if (channels && json_array_size(channels) != 1)
		return err_set(e, EINVAL, "'channels': one is needed, for all of the migration");
	if (channels)
		uri = uri_of(json_object_get(json_array_get(channels, 0), "addr"), e);
	if (channels && !uri)
		return -e->code;
	*ret = json_copy((json_t *)(uintptr_t)args);
	if (!channels)
		return 0;
	json_object_del(*ret, "channels");
	json_object_set_new(*ret, "uri", json_string(uri));
	return 0;
}
