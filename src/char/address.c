/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: where a socket listens or connects: a unix path (or abstract name), a TCP
 * host and port, or a descriptor that is open already. Everything is non-blocking; a connection
 * that isn't there at once is waited for by whoever asked.
 */
#include "char/address.h"

#include "base/fdstore.h"
#include "base/option.h"
#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/**
 * address_check() - Exactly one way to name the other side?
 * @options:	Checked options of a socket
 * @e:		Set on failure only
 *
 * Errors: EINVAL none or several of path, fd, port
 * Return: 0, or a negative errno
 */
int address_check(const json_t *options, struct err *e)
{
	bool path = json_object_get(options, "path"), fd = json_object_get(options, "fd");
	bool port = json_object_get(options, "port");

	if (path + fd + port != 1)
		return err_set(e, EINVAL, "a socket needs one of path=, fd= and host=,port=");
	if (json_object_get(options, "host") && !port)
		return err_set(e, EINVAL, "host= needs port= as well");
	return 0;
}

static int unix_address(const json_t *options, struct sockaddr_un *un, socklen_t *len,
			struct err *e)
{
	const char *path = option_str(options, "path", "");
	bool abstract = option_bool(options, "abstract", false);
	size_t n = strlen(path);

	if (n + 1 > sizeof(un->sun_path) || !n)
		return err_set(e, EINVAL,
			       "UNIX socket path '%s' is too long (at most %zu) or empty", path,
			       sizeof(un->sun_path) - 1);
	*un = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(un->sun_path + abstract, path, n);
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	return 0;
}

static int unix_socket(const json_t *options, bool listening, int *ret_fd, struct err *e)
{
	OWNED_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const char *path = option_str(options, "path", "");
	struct sockaddr_un un;
	socklen_t len = 0;
	int r = unix_address(options, &un, &len, e);

	if (r < 0)
		return r;
	if (fd < 0)
		return err_sys(e, "socket");
	if (listening && un.sun_path[0] && unlink(path) < 0 && errno != ENOENT)
		return err_sys(e, "unlink %s", path);
	if (listening ? bind(fd, (struct sockaddr *)&un, len) || listen(fd, ADDRESS_BACKLOG)
		      : connect(fd, (struct sockaddr *)&un, len))
		return err_sys(e, "%s %s", listening ? "listen on" : "connect to", path);
	*ret_fd = fd_take(&fd);
	return 0;
}

static int resolve(const json_t *options, bool listening, struct addrinfo **ret, struct err *e)
{
	const char *host = option_str(options, "host", "");
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = listening ? AI_PASSIVE : AI_ADDRCONFIG};
	int r;

	if (option_bool(options, "ipv4", false) || !option_bool(options, "ipv6", true))
		hints.ai_family = AF_INET;
	else if (option_bool(options, "ipv6", false) || !option_bool(options, "ipv4", true))
		hints.ai_family = AF_INET6;
	r = getaddrinfo(*host ? host : NULL, option_str(options, "port", ""), &hints, ret);
	if (r)
		return err_set(e, EINVAL, "address %s:%s: %s", host,
			       option_str(options, "port", ""), gai_strerror(r));
	return 0;
}

static int tcp_try(const struct addrinfo *a, bool listening)
{
	OWNED_FD fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1;

	if (fd < 0)
		return -errno;
	if (listening) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (bind(fd, a->ai_addr, a->ai_addrlen) || listen(fd, ADDRESS_BACKLOG))
			return -errno;
	} else if (connect(fd, a->ai_addr, a->ai_addrlen) && errno != EINPROGRESS) {
		return -errno;
	}
	return fd_take(&fd);
}

/* A name may have several addresses: @at is the first to try, and then the one behind that which
 * was taken; 0: there is none. */
static int tcp_socket(const json_t *options, bool listening, unsigned int *at, int *ret_fd,
		      struct err *e)
{
	struct addrinfo *all;
	int fd = -EADDRNOTAVAIL;
	unsigned int number = 0, next = 0;
	int one = 1;
	int r = resolve(options, listening, &all, e);

	if (r < 0)
		return r;
	for (struct addrinfo *a = all; a && fd < 0; a = a->ai_next) {
		if (number++ >= *at)
			fd = tcp_try(a, listening);
		next = a->ai_next ? number : 0;
	}
	*at = next;
	freeaddrinfo(all);
	if (fd < 0)
		return err_ret(e, fd, "%s %s:%s", listening ? "listen on" : "connect to",
			       option_str(options, "host", ""), option_str(options, "port", ""));
	if (option_bool(options, "nodelay", true))
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	*ret_fd = fd;
	return 0;
}

/* An inherited or passed descriptor: check that it is what the options say. */
static int fd_socket(const json_t *options, bool listening, int *ret_fd, struct err *e)
{
	const char *name = option_str(options, "fd", "");
	OWNED_FD fd = -1;
	int accepting = 0;
	socklen_t len = sizeof(accepting);
	int r = fdstore_take(name, &fd, e);

	if (r < 0)
		return r;
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepting, &len) < 0)
		return err_sys(e, "fd=%s", name);
	if (!!accepting != listening)
		return err_set(e, EINVAL, "fd=%s is %sa listening socket, but server=%s", name,
			       accepting ? "" : "not ", listening ? "on" : "off");
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	*ret_fd = fd_take(&fd);
	return 0;
}

static int open_any(const json_t *options, bool listening, unsigned int *at, int *ret_fd,
		    struct err *e)
{
	unsigned int first = at ? *at : 0;
	int r;

	if (at)
		*at = 0;
	if (json_object_get(options, "path"))
		return unix_socket(options, listening, ret_fd, e);
	if (json_object_get(options, "fd"))
		return fd_socket(options, listening, ret_fd, e);
	r = tcp_socket(options, listening, &first, ret_fd, e);
	if (at)
		*at = first;
	return r;
}

/**
 * address_listen() - A listening socket
 * @options:	Checked options; a unix path that exists is replaced
 * @ret_fd:	Set on success only; the caller owns it
 * @e:		Set on failure only
 *
 * Errors: EINVAL a bad address; else as socket(2), bind(2)
 * Return: 0, or a negative errno
 */
int address_listen(const json_t *options, int *ret_fd, struct err *e)
{
	return open_any(options, true, NULL, ret_fd, e);
}

/**
 * address_connect() - A socket that is or will be connected
 * @options:	Checked options
 * @ret_fd:	Set on success only; the caller owns it
 * @e:		Set on failure only
 *
 * Errors: EINVAL a bad address; else as connect(2)
 * Return: 0, or a negative errno
 */
int address_connect(const json_t *options, int *ret_fd, struct err *e)
{
	return open_any(options, false, NULL, ret_fd, e);
}

/**
 * address_connect_next() - The same, for whoever tries one address of a name after the other
 * @options:	Checked options
 * @at:		0 to begin with; says afterwards where to go on if this connection doesn't come, 0:
 *		there is no further address. Set on failure, too
 * @ret_fd:	Set on success only; the caller owns it
 * @e:		Set on failure only
 *
 * Errors: as address_connect()
 * Return: 0, or a negative errno
 */
int address_connect_next(const json_t *options, unsigned int *at, int *ret_fd, struct err *e)
{
	return open_any(options, false, at, ret_fd, e);
}

/**
 * address_connected() - What became of a connection attempt, once the socket is writable
 * @fd:		From address_connect()
 * @e:		Set on failure only
 *
 * Return: 0, or the negative errno of connect(2)
 */
int address_connected(int fd, struct err *e)
{
	int code = 0;
	socklen_t len = sizeof(code);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
		return err_sys(e, "connect");
	return code ? err_ret(e, -code, "connect") : 0;
}

/**
 * address_is_unix() - Can descriptors be passed over it?
 * @fd:		A socket
 *
 * Return: whether it is a unix socket
 */
bool address_is_unix(int fd)
{
	int domain = 0;
	socklen_t len = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

static struct sockaddr_storage end_of(int fd, bool peer, char host[NI_MAXHOST],
				      char port[NI_MAXSERV])
{
	struct sockaddr_storage any = {0};
	socklen_t len = sizeof(any);

	host[0] = port[0] = '\0';
	if ((peer ? getpeername : getsockname)(fd, (struct sockaddr *)&any, &len) < 0)
		return (struct sockaddr_storage){0};
	if (any.ss_family != AF_UNIX)
		getnameinfo((struct sockaddr *)&any, len, host, NI_MAXHOST, port, NI_MAXSERV,
			    NI_NUMERICHOST | NI_NUMERICSERV);
	return any;
}

static const char *path_of(const struct sockaddr_storage *any)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)any;

	return un->sun_path[0] ? un->sun_path : un->sun_path + 1;
}

/**
 * address_name() - The name of a socket's end as the kernel knows it
 * @fd:		The socket
 * @peer:	The other end
 *
 * Return: "unix:PATH" or "tcp:HOST:PORT"; the caller frees it
 */
char *address_name(int fd, bool peer)
{
	char host[NI_MAXHOST], port[NI_MAXSERV];
	const struct sockaddr_storage any = end_of(fd, peer, host, port);

	if (any.ss_family == AF_UNSPEC)
		return str_dup("?");
	if (any.ss_family == AF_UNIX)
		return str_printf("unix:%s", path_of(&any));
	return str_printf(any.ss_family == AF_INET6 ? "tcp:[%s]:%s" : "tcp:%s:%s", host, port);
}

/**
 * address_describe() - Where a socket listens, as QMP's SocketAddress says it
 * @fd:	The socket
 *
 * Return: new reference
 */
json_t *address_describe(int fd)
{
	char host[NI_MAXHOST], port[NI_MAXSERV];
	const struct sockaddr_storage any = end_of(fd, false, host, port);

	if (any.ss_family == AF_UNIX)
		return json_pack("{s:s, s:s}", "type", "unix", "path", path_of(&any));
	return json_pack("{s:s, s:s, s:s, s:b}", "type", "inet", "host", host, "port", port,
			 any.ss_family == AF_INET6 ? "ipv6" : "ipv4", 1);
}

/**
 * address_text() - The address as it was asked for
 * @options:	Checked options
 *
 * Return: "unix:PATH", "tcp:HOST:PORT" or "fd:N"; the caller frees it
 */
char *address_text(const json_t *options)
{
	if (json_object_get(options, "path"))
		return str_printf("unix:%s", option_str(options, "path", ""));
	if (json_object_get(options, "fd"))
		return str_printf("fd:%s", option_str(options, "fd", ""));
	return str_printf("tcp:%s:%s", option_str(options, "host", ""),
			  option_str(options, "port", ""));
}
