/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_REMOTE_REMOTE_H
#define CLI_REMOTE_REMOTE_H

#include "cli/adopt/adopt.h"

/*
 * Theory of operation: a guest goes to another host, whose VMM is started by ssh. "outlive migrate
 * NAME ssh://HOST/NAME" runs "ssh HOST outlive receive NAME" and talks with it over ssh's standard
 * input and output, in lines of JSON:
 *
 *	there:	{"outlive-receive": 1, "version": "0.2.0"}
 *	here:	{"do": "receive", "guest": {...}, "map": [...], ...}
 *	there:	{"ready": {...}}, {"blockers": [...], "notes": [...]} or {"error": "..."}
 *
 * After "ready" the connection is the migration stream's, both ways: the VMM here has ssh's socket,
 * and over there the bytes are forwarded to a VMM that waits. What is started there is the guest as
 * it is now (outlive-query-configuration), with the names that rules of that host give to paths,
 * taps and hosts; whatever isn't there is named before a VMM is started.
 *
 * The end of ssh says nothing of the VMM over there. So the one here takes silence after the last
 * byte as "may have it" (outlive-relayed) and keeps the guest stopped; this program then asks over
 * a new connection ("do": "settle"), and the guest goes on in the one place that has it.
 */

#define REMOTE_PROTOCOL 1

/**
 * struct remote_place - Where a guest goes
 * @user, @port: NULL: as ssh's configuration says
 * @host:	As ssh knows it
 * @name:	Of the guest over there
 */
struct remote_place {
	char *user, *host, *port, *name;
};

/**
 * struct remote_text - Lines that come from a descriptor
 * @fd:		Borrowed
 * @in, @len:	What has come and isn't read
 */
struct remote_text {
	int fd;
	char *in;
	size_t len;
};

/**
 * struct remote - "outlive receive" on another host
 * @place:	Where
 * @pid:	Of ssh; 0: none
 * @fd:		Its standard input and output, a socket; -1: given away
 * @said_fd:	Its standard error
 * @up:		It has said what it speaks
 * @text:	What it sends
 * @said:	What it said on standard error, its last part
 * @said_len:	Bytes of it
 * @notes:	What will be different over there
 * @blockers:	What stands in the way there; empty or NULL: it waits for the guest
 */
struct remote {
	struct remote_place place;
	pid_t pid;
	int fd, said_fd;
	bool up;
	struct remote_text text;
	char said[4096];
	size_t said_len;
	json_t *notes, *blockers;
};

/* place.c */
bool remote_is(const char *uri); /* "ssh://..." */
MUST_CHECK int remote_place_parse(const char *uri, struct remote_place *ret, struct err *e);
void remote_place_release(struct remote_place *p);

/* text.c: ECANCELED an interrupt; ETIMEDOUT; EPIPE the other side has gone. */
MUST_CHECK int remote_put(int fd, const json_t *value, struct err *e);
/* The next line; EPROTO it isn't an object. @idle is called a few times a second; may be NULL. */
MUST_CHECK int remote_get(struct remote_text *t, double seconds, void (*idle)(void *opaque),
			  void *opaque, json_t **ret, struct err *e);

/* ssh.c */
MUST_CHECK int remote_start(const struct cli_args *args, struct remote *r, struct err *e);
void remote_listen(void *opaque); /* takes in what ssh says on standard error */
MUST_CHECK int remote_ask(struct remote *r, json_t *question, json_t **answer, struct err *e);
/* Waits for its end; true: it has ended. */
bool remote_wait(struct remote *r, double seconds);
void remote_stop(struct remote *r);
/* The last line that came on standard error, or NULL. */
const char *remote_last_words(struct remote *r);

/* describe.c: what the other side has to know; new reference. */
MUST_CHECK int remote_describe(struct move *m, const struct guest *g, json_t **ret, struct err *e);

/* leave.c: @args are those of "migrate" or "check". */
MUST_CHECK int remote_open(struct remote *r, const struct cli_args *args, const struct guest *g,
			   struct err *e);
/* -EPERM if something stands in the way, which is listed; notes are shown. */
MUST_CHECK int remote_refuse(const struct remote *r, const struct cli_args *args, struct err *e);
/* Options that go with ssh:// only, or not with it. */
MUST_CHECK int remote_options_check(const struct cli_args *args, struct err *e);
/* Gives the VMM here ssh's socket, as the descriptor REMOTE_FD. */
MUST_CHECK int remote_give(struct remote *r, struct qmp *q, struct err *e);
void remote_take_back(struct qmp *q); /* after remote_give(), if it wasn't used */
/* Who has the guest? 1: it is there; 0: it isn't, and never runs there. */
MUST_CHECK int remote_settle(const struct cli_args *args, const struct guest *g, struct err *e);
#define REMOTE_FD "outlive-ssh"

/* rules.c */
MUST_CHECK int rules_load(const json_t *given, json_t **ret, struct err *e);
char *rules_map(const json_t *rules, const char *kind, const char *name);
extern const char *const rules_file_all; /* the host's own, for messages */

/* needs.c: blockers for what isn't here. */
void needs_check(struct move *m, const json_t *images, const char *dir, bool copied);

/* forward.c: the stream between standard input and output and a VMM's socket. */
void forward(int vmm_fd);

#endif
