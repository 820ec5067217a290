/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: this host's side of a move to another one: the guest is described, "outlive
 * receive" started over there and asked, and ssh's socket given to the VMM. If the VMM can't know
 * who has the guest, the other host is asked over a new connection.
 */
#include "cli/remote/remote.h"

#include "base/option.h"
#include "base/owned.h"
#include "cli/migration.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define OPEN_SECONDS 10
#define SETTLE_TRIES 5
#define SETTLE_MS    1000

/* This VMM's, and no other's: the kernel's run and the process. The caller frees it. */
static char *token_of(const struct guest *g)
{
	char boot[64] = "";
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (f && !fgets(boot, sizeof(boot), f))
		*boot = '\0';
	if (f)
		fclose(f);
	boot[strcspn(boot, "\n")] = '\0';
	return str_printf("%s/%d/%lld", boot, g->pid,
			  (long long)option_int(g->record, "started", 0));
}

static int describe(const struct guest *g, json_t **ret, struct err *e)
{
	struct move m;
	int r;

	move_init(&m, g->name, false);
	r = qmp_open(g, OPEN_SECONDS, &m.source, e);
	if (r < 0)
		m.source.fd = -1;
	else
		r = remote_describe(&m, g, ret, e);
	move_release(&m);
	return r;
}

static json_t *question_of(const struct cli_args *args, const struct guest *g, json_t *guest)
{
	const char *channels = cli_value(args, "channels", NULL);
	OWNED(char) *token = token_of(g);
	json_t *map = json_object_get(args->values, "map");

	return json_pack("{s:s, s:s, s:o*, s:o*, s:b, s:s*, s:i}", "do",
			 guest ? "receive" : "settle", "token", token, "guest", guest, "map",
			 json_incref(map), "copied", cli_switch(args, "copied"), "direct",
			 cli_value(args, "direct", NULL), "channels",
			 channels ? atoi(channels) : 0);
}

static int connect_and_ask(struct remote *r, const struct cli_args *args, const struct guest *g,
			   json_t *guest, json_t **answer, struct err *e)
{
	OWNED_JSON *owned = guest;
	int ret = remote_place_parse(args->words[1], &r->place, e);

	r->fd = r->said_fd = -1;
	if (ret >= 0)
		ret = remote_start(args, r, e);
	if (ret >= 0)
		ret = remote_ask(r, question_of(args, g, json_incref(owned)), answer, e);
	return ret;
}

/**
 * remote_open() - Have another host wait for a guest
 * @r:		Filled in; remote_stop() it in any case
 * @args:	Of "migrate" or "check": the URI is the second word
 * @g:		The guest
 * @e:		Set on failure only, with a remedy
 *
 * @r->blockers has what stands in the way over there, then nothing waits.
 *
 * Errors: EINVAL the URI; as remote_start(), remote_ask(), remote_describe()
 * Return: 0, or a negative errno
 */
int remote_open(struct remote *r, const struct cli_args *args, const struct guest *g, struct err *e)
{
	OWNED_JSON *answer = NULL;
	json_t *guest = NULL;
	int ret;

	*r = (struct remote){.fd = -1, .said_fd = -1};
	ret = describe(g, &guest, e);
	if (ret < 0)
		return ret;
	migration_catch();
	ret = connect_and_ask(r, args, g, guest, &answer, e);
	if (ret < 0)
		return ret;
	r->notes = json_incref(json_object_get(answer, "notes"));
	r->blockers = json_incref(json_object_get(answer, "blockers"));
	return 0;
}

/**
 * remote_give() - Give the VMM here the connection
 * @r:		Open; its socket is the VMM's only from now on
 * @q:		To the VMM, which knows it as REMOTE_FD
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int remote_give(struct remote *r, struct qmp *q, struct err *e)
{
	int ret = qmp_give_fd(q, REMOTE_FD, r->fd, e);

	fd_close(&r->fd);
	return ret;
}

/**
 * remote_take_back() - The VMM here lets go of a connection that it hasn't used
 * @q:	To the VMM
 */
void remote_take_back(struct qmp *q)
{
	struct err ignored;

	if (qmp_command(q, "closefd", json_pack("{s:s}", "fdname", REMOTE_FD), NULL, &ignored) < 0)
		return; /* it has used it, and closed it */
}

static void print_list(const char *what, const json_t *list)
{
	size_t i;
	json_t *one;

	json_array_foreach ((json_t *)(uintptr_t)list, i, one)
		fprintf(stderr, "outlive: %s: %s\n", what, json_string_value(one));
}

/**
 * remote_refuse() - Say what stands in the way over there, and what will be different
 * @r:		Open
 * @args:	With --json both are printed as JSON if something stands in the way
 * @e:		Set on failure only
 *
 * Errors: EPERM something stands in the way; nothing has changed
 * Return: 0, or a negative errno
 */
int remote_refuse(const struct remote *r, const struct cli_args *args, struct err *e)
{
	OWNED_JSON *all = json_pack("{s:O?, s:O?}", "blockers", r->blockers, "notes", r->notes);
	size_t n = json_array_size(r->blockers);

	if (!args->json)
		print_list("note", r->notes);
	if (!n)
		return 0;
	if (args->json)
		cli_print_json(all);
	print_list(r->place.host, r->blockers);
	return err_set(e, EPERM, "%s can't take it as it is (%zu reason%s); nothing has changed",
		       r->place.host, n, n > 1 ? "s" : "");
}

/**
 * remote_options_check() - Do the options go with the URI?
 * @args:	Of "migrate" or "check"
 * @e:		Set on failure only
 *
 * Errors: EINVAL
 * Return: 0, or a negative errno
 */
int remote_options_check(const struct cli_args *args, struct err *e)
{
	static const char *const ours[] = {"map", "copied", "direct", "ssh", "program"};
	static const char *const tls[] = {"tls-dir", "tls-creds", "tls-hostname"};
	bool remote = args->words_len > 1 && remote_is(args->words[1]);

	for (size_t i = 0; i < ARRAY_SIZE(ours) && !remote; i++)
		if (cli_switch(args, ours[i]))
			return err_set(e, EINVAL, "--%s is for ssh://HOST/NAME only", ours[i]);
	for (size_t i = 0; i < ARRAY_SIZE(tls) && remote; i++)
		if (cli_switch(args, tls[i]))
			return err_set(e, EINVAL,
				       "--%s is for a VMM that waits at tcp: or unix:; what goes "
				       "through ssh is encrypted by it",
				       tls[i]);
	if (remote && cli_switch(args, "channels") && !cli_switch(args, "direct"))
		return err_set(e, EINVAL,
			       "--channels: ssh is one channel; give --direct tcp:HOST:PORT, an "
			       "address of the target that can be reached from here");
	if (cli_switch(args, "direct") && strncmp(cli_value(args, "direct", ""), "tcp:", 4) != 0)
		return err_set(e, EINVAL, "--direct %s: tcp:HOST:PORT is expected",
			       cli_value(args, "direct", ""));
	return 0;
}

static int ask_once(const struct cli_args *args, const struct guest *g, json_t **answer,
		    struct err *e)
{
	struct remote r = {.fd = -1, .said_fd = -1};
	int ret = connect_and_ask(&r, args, g, NULL, answer, e);

	remote_stop(&r);
	return ret;
}

/**
 * remote_settle() - Who has the guest?
 * @args:	As for remote_open()
 * @g:		The guest, stopped since nobody knows
 * @e:		Set on failure only
 *
 * Return: 1 it is there; 0 it isn't there and never will be; or a negative errno: it can't be asked
 */
int remote_settle(const struct cli_args *args, const struct guest *g, struct err *e)
{
	OWNED_JSON *answer = NULL;
	int r = -1;

	fprintf(stderr,
		"outlive: %s: the connection was lost at the last moment; asking who has the "
		"guest\n",
		g->name);
	for (int i = 0; i < SETTLE_TRIES && r < 0 && r != -ECANCELED; i++) {
		if (i)
			poll(NULL, 0, SETTLE_MS);
		r = ask_once(args, g, &answer, e);
	}
	if (r < 0)
		return r;
	return !strcmp(option_str(answer, "settled", ""), "here");
}
