/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: ssh://[USER@]HOST[:PORT]/NAME. The host is whatever ssh takes for one,
 * aliases of its configuration too; an IPv6 address stands in brackets.
 */
#include "cli/remote/remote.h"

#include "base/owned.h"

#include <errno.h>
#include <string.h>

#define SCHEME "ssh://"

/**
 * remote_is() - Does a URI name another host, to be reached by ssh?
 * @uri:	Any
 */
bool remote_is(const char *uri)
{
	return !strncmp(uri, SCHEME, strlen(SCHEME));
}

/* Cuts @text at @at; the part behind it, or NULL. */
static char *cut(char *text, char at)
{
	char *found = text ? strchr(text, at) : NULL;

	if (!found)
		return NULL;
	*found = '\0';
	return found + 1;
}

/* "host", "host:22", "[::1]:22"; false: it is none. */
static bool host_parse(char *text, struct remote_place *p)
{
	char *host = text, *port;

	if (*host == '[') {
		host++;
		port = cut(host, ']');
		if (!port || (*port && *port != ':'))
			return false;
		port = cut(port, ':');
	} else {
		port = cut(host, ':');
	}
	if (port && (!*port || port[strspn(port, "0123456789")]))
		return false;
	if (!*host || *host == '-')
		return false;
	p->host = str_dup(host);
	p->port = port ? str_dup(port) : NULL;
	return true;
}

/**
 * remote_place_parse() - Understand ssh://[USER@]HOST[:PORT]/NAME
 * @uri:	With which remote_is() is true
 * @ret:	Set on success only, remote_place_release()
 * @e:		Set on failure only
 *
 * Errors: EINVAL
 * Return: 0, or a negative errno
 */
int remote_place_parse(const char *uri, struct remote_place *ret, struct err *e)
{
	OWNED(char) *text = str_dup(uri + strlen(SCHEME));
	char *name = cut(text, '/'), *host = strrchr(text, '@'), *user = host ? text : NULL;

	*ret = (struct remote_place){0};
	if (host)
		*host++ = '\0';
	else
		host = text;
	if (!name || !*name || strchr(name, '/') || (user && (!*user || *user == '-')) ||
	    !host_parse(host, ret))
		return err_set(e, EINVAL, "'%s' isn't ssh://[USER@]HOST[:PORT]/NAME", uri);
	ret->user = user ? str_dup(user) : NULL;
	ret->name = str_dup(name);
	return guest_name_check(name, e);
}

/**
 * remote_place_release() - Free what remote_place_parse() made
 * @p:	Empty afterwards
 */
void remote_place_release(struct remote_place *p)
{
	free(p->user);
	free(p->host);
	free(p->port);
	free(p->name);
	*p = (struct remote_place){0};
}
