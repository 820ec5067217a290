/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: QEMU's spelling of where a stream goes or comes from. Sockets are opened by
 * the code that opens those of character devices. Connecting waits, since the thread that
 * owns the job has nothing else to do; listening doesn't, since it is the main loop that waits.
 */
#include "migrate/channel/uri.h"

#include "base/fdstore.h"
#include "base/option.h"
#include "base/owned.h"
#include "char/address.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_UP_MS 100

static const struct {
	const char *prefix;
	enum uri_kind kind;
} kinds[] = {{"tcp:", URI_TCP},   {"unix:", URI_UNIX}, {"fd:", URI_FD},
	     {"exec:", URI_EXEC}, {"file:", URI_FILE}, {"lazy:", URI_LAZY}};

static json_t *tcp_address(const char *rest)
{
	const char *port = strrchr(rest, ':');
	size_t n = port ? (size_t)(port - rest) : 0;

	if (!port || !port[1] || strchr(port, ','))
		return NULL;
	if (n >= 2 && rest[0] == '[' && rest[n - 1] == ']')
		return json_pack("{s:s%, s:s}", "host", rest + 1, n - 2, "port", port + 1);
	return json_pack("{s:s%, s:s}", "host", rest, n, "port", port + 1);
}

/* Cuts ",offset=N" off a file's name. */
static int take_offset(struct uri *u, struct err *e)
{
	static const char key[] = ",offset=";
	char *rest = u->text + (u->rest - u->text), *at = NULL, *next = rest;

	while ((next = strstr(next, key)))
		at = next++;
	if (!at)
		return 0;
	if (option_parse_size(at + strlen(key), 1, &u->offset) < 0)
		return err_set(e, EINVAL, "'%s': the offset is no size", u->text);
	*at = '\0';
	return *rest ? 0 : err_set(e, EINVAL, "no file in front of the offset");
}

/**
 * uri_parse() - Understand a URI
 * @text:	"tcp:HOST:PORT", "tcp:[IPV6]:PORT", "unix:PATH", "fd:NAME", "exec:COMMAND",
 *		"file:PATH[,offset=N]", "lazy:PATH[,offset=N]"
 * @ret:	Set on success only; uri_destroy() it
 * @e:		Set on failure only
 *
 * Errors: EINVAL
 * Return: 0, or a negative errno
 */
int uri_parse(const char *text, struct uri *ret, struct err *e)
{
	size_t i = 0;
	const char *rest;

	while (i < ARRAY_SIZE(kinds) && strncmp(text, kinds[i].prefix, strlen(kinds[i].prefix)))
		i++;
	if (i == ARRAY_SIZE(kinds))
		return err_set(e, EINVAL,
			       "'%s' isn't tcp:, unix:, fd:, exec:, file: or lazy:", text);
	rest = text + strlen(kinds[i].prefix);
	if (!*rest)
		return err_set(e, EINVAL, "'%s' says nothing behind the colon", text);
	*ret = (struct uri){.kind = kinds[i].kind};
	if (ret->kind == URI_TCP) {
		ret->address = tcp_address(rest);
		if (!ret->address)
			return err_set(e, EINVAL,
				       "'%s' isn't tcp:HOST:PORT (no options behind it; for one "
				       "family, name an address)",
				       text);
	}
	if (ret->kind == URI_UNIX)
		ret->address = json_pack("{s:s}", "path", rest);
	ret->text = str_dup(text);
	ret->rest = ret->text + (rest - text);
	if (ret->kind != URI_FILE && ret->kind != URI_LAZY)
		return 0;
	return take_offset(ret, e);
}

/**
 * uri_destroy() - Free a parsed URI
 * @u:	Parsed, or zeroed
 */
void uri_destroy(struct uri *u)
{
	free(u->text);
	json_decref(u->address);
	*u = (struct uri){0};
}

static int wait_connected(int fd, bool (*cancelled)(void *opaque), void *opaque, struct err *e)
{
	struct pollfd wait = {.fd = fd, .events = POLLOUT};
	int n = 0;

	while (n == 0 || (n < 0 && errno == EINTR)) {
		if (cancelled && cancelled(opaque))
			return err_set(e, ECANCELED, "cancelled");
		n = poll(&wait, 1, LOOK_UP_MS);
	}
	return n < 0 ? err_sys(e, "poll") : address_connected(fd, e);
}

/* The name to expect: what the operator says, or what was connected to. */
static const char *host_of(const struct uri *u, const struct tls_client *tls)
{
	const char *host = json_string_value(json_object_get(u->address, "host"));

	if (tls->host && *tls->host)
		return tls->host;
	return host && *host ? host : NULL;
}

/* Takes @fd over on success. */
static int open_socket(const struct uri *u, const struct tls_client *tls, int fd,
		       struct channel **ret, struct err *e)
{
	if (tls && tls->credentials)
		return channel_open_tls(ret, fd, tls->credentials, host_of(u, tls), e);
	return channel_open_fd(ret, fd, e);
}

static int connect_socket(const struct uri *u, const struct tls_client *tls,
			  bool (*cancelled)(void *opaque), void *opaque, struct channel **ret,
			  struct err *e)
{
	OWNED_FD fd = -1;
	unsigned int at = 0;
	int r;

	do {
		fd_close(&fd);
		r = address_connect_next(u->address, &at, &fd, e);
		if (r < 0)
			continue;
		r = wait_connected(fd, cancelled, opaque, e);
		if (r < 0)
			err_in(e, "%s", u->rest);
	} while (r < 0 && r != -ECANCELED && at);
	if (r < 0)
		return r;
	r = open_socket(u, tls, fd, ret, e);
	if (r == 0)
		fd_take(&fd);
	return r;
}

static int open_passed(const struct uri *u, const struct tls_client *tls, struct channel **ret,
		       struct err *e)
{
	OWNED_FD fd = -1;
	int r = fdstore_take(u->rest, &fd, e);

	if (r == 0)
		r = open_socket(u, tls, fd, ret, e);
	if (r == 0)
		fd_take(&fd);
	return r;
}

/**
 * uri_may_encrypt() - Can TLS go there?
 * @u:	Not a file
 * @e:	Set on failure only
 *
 * Errors: EINVAL
 * Return: 0, or a negative errno
 */
int uri_may_encrypt(const struct uri *u, struct err *e)
{
	if (u->kind != URI_EXEC)
		return 0;
	return err_set(
		e, EINVAL,
		"exec: goes one way and can't have TLS; empty tls-creds, or have the command "
		"encrypt");
}

static int open_command(const struct uri *u, const struct tls_client *tls, bool writing,
			struct channel **ret, struct err *e)
{
	if (tls && tls->credentials && uri_may_encrypt(u, e) < 0)
		return -EINVAL;
	return channel_open_command(ret, u->rest, writing, e);
}

/**
 * uri_connect() - Open the channel to where a stream goes
 * @u:		Not a file
 * @tls:	How the connection is protected; NULL: it isn't
 * @cancelled:	Asked while a connection is waited for; NULL: nobody calls it off
 * @opaque:	For @cancelled
 * @ret:	Set on success only; the caller owns it
 * @e:		Set on failure only
 *
 * Errors: EINVAL a file, an unknown descriptor, or TLS where there can't be any; ECANCELED; as
 * connect(2), posix_spawn(3)
 * Return: 0, or a negative errno
 */
int uri_connect(const struct uri *u, const struct tls_client *tls, bool (*cancelled)(void *opaque),
		void *opaque, struct channel **ret, struct err *e)
{
	switch (u->kind) {
	case URI_TCP:
	case URI_UNIX: return connect_socket(u, tls, cancelled, opaque, ret, e);
	case URI_FD: return open_passed(u, tls, ret, e);
	case URI_EXEC: return open_command(u, tls, true, ret, e);
	case URI_LAZY:
		return err_set(e, EINVAL, "lazy:%s can be read only; write to file:", u->rest);
	default: return err_set(e, EINVAL, "file:%s is a snapshot, not a channel", u->rest);
	}
}

/**
 * uri_waits() - Must a source connect before there is a channel?
 * @u:	URI of an incoming stream
 */
bool uri_waits(const struct uri *u)
{
	return u->kind == URI_TCP || u->kind == URI_UNIX;
}

/**
 * uri_listen() - Listen for a source
 * @u:		One that uri_waits()
 * @ret_fd:	Set on success only: a listening socket, the caller's
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno of bind(2), listen(2)
 */
int uri_listen(const struct uri *u, int *ret_fd, struct err *e)
{
	if (!uri_waits(u))
		return err_set(e, EINVAL, "%s can't be listened on", u->rest);
	return address_listen(u->address, ret_fd, e);
}

/**
 * uri_open() - Open the channel that a stream comes from
 * @u:		fd: or exec:
 * @t:		Of a server; NULL: no TLS
 * @ret:	Set on success only; the caller owns it
 * @e:		Set on failure only
 *
 * Errors: EINVAL another kind, an unknown descriptor, or TLS where there can't be any; as
 * posix_spawn(3)
 * Return: 0, or a negative errno
 */
int uri_open(const struct uri *u, const struct tls_credentials *t, struct channel **ret,
	     struct err *e)
{
	const struct tls_client tls = {.credentials = t};

	if (u->kind == URI_FD)
		return open_passed(u, &tls, ret, e);
	if (u->kind == URI_EXEC)
		return open_command(u, &tls, false, ret, e);
	return err_set(e, EINVAL, "%s isn't open by itself", u->rest);
}
