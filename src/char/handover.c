/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: how a back end goes to another process on this host. The description holds
 * the checked options (so the other side is the same kind of back end) and what the kind adds;
 * the descriptors go beside it. Output that hasn't left yet, and what else changes by mere use (the
 * focus of a mux), is asked for separately, at the last moment. Nothing changes here until
 * char_release(): a hand-over that is called off leaves the back end as it was.
 */
#include "base/owned.h"
#include "char/backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Output that hasn't left yet, in hexadecimal; NULL: all has. */
static json_t *output_left(struct char_backend *c)
{
	OWNED(char *) hex = NULL;

	if (c->log_fd >= 0)
		back_log_flush(c);
	pthread_mutex_lock(&c->lock);
	hex = c->out.len ? mem_zalloc(c->out.len * 2 + 1) : NULL;
	for (size_t i = 0; hex && i < c->out.len; i++)
		snprintf(hex + 2 * i, 3, "%02x", c->out.data[i]);
	pthread_mutex_unlock(&c->lock);
	return hex ? json_string(hex) : NULL;
}

/**
 * char_pending() - What only the last moment tells, for another process: output on its way above
 * all
 * @c:		The back end; nobody writes to it any more
 *
 * The log file gets its part here.
 *
 * Return: new reference for char_adopt_pending(), or NULL: nothing
 */
json_t *char_pending(struct char_backend *c)
{
	json_t *out = output_left(c), *late = c->kind->late ? c->kind->late(c) : NULL;

	return out || late ? json_pack("{s:o*, s:o*}", "out", out, "late", late) : NULL;
}

/**
 * char_adopt_pending() - Go on where another process stopped
 * @c:		The back end, adopted, its front end attached
 * @pending:	From char_pending(); NULL: nothing
 */
void char_adopt_pending(struct char_backend *c, const json_t *pending)
{
	const char *hex = option_str(pending, "out", NULL);
	const json_t *late = json_object_get(pending, "late");

	if (late && c->kind->adopt_late)
		c->kind->adopt_late(c, late);
	pthread_mutex_lock(&c->lock);
	for (; hex && hex[0] && hex[1]; hex += 2) {
		char digits[3] = {hex[0], hex[1]};
		uint8_t byte = (uint8_t)strtoul(digits, NULL, 16);

		buffer_put(&c->out, &byte, 1, CHAR_OUT_MAX);
	}
	pthread_mutex_unlock(&c->lock);
	back_wake(c);
}

/**
 * char_owned() - Nobody else has it any more
 * @c:	The back end, adopted; the guest has been taken
 */
void char_owned(struct char_backend *c)
{
	if (c->kind->owned)
		c->kind->owned(c);
}

/**
 * char_handover() - Describe a back end for another process
 * @c:		The back end; goes on as before
 * @ret:	Filled in on success; the caller releases @ret->state
 * @e:		Set on failure only: the blocker, for the operator
 *
 * Errors: ENOTSUP this kind can't follow
 * Return: 0, or a negative errno
 */
int char_handover(struct char_backend *c, struct char_handover *ret, struct err *e)
{
	int r = 0;

	*ret = (struct char_handover){.log_fd = c->log_fd,
				      .state = json_pack("{s:s, s:s, s:O}", "id", c->id, "kind",
							 c->kind->name, "options", c->options)};
	if (c->kind->handover)
		r = c->kind->handover(c, ret, e);
	if (r < 0) {
		json_decref(ret->state);
		ret->state = NULL;
	}
	return r;
}

/**
 * char_release() - Another process has it now
 * @c:		Is gone afterwards; descriptors are closed here, but no path is removed and no
 * setting restored
 */
void char_release(struct char_backend *c)
{
	c->released = true;
	back_free(c);
}

static const struct char_kind *kind_of(const char *name)
{
	for (const struct char_kind *const *k = char_kinds; *k; k++)
		if (!strcmp((*k)->name, name))
			return *k;
	return strcmp(name, char_mux.name) ? NULL : &char_mux;
}

/**
 * char_adopt() - Make a back end from what char_handover() described
 * @loop:	Main loop
 * @state:	The description
 * @fds:	Owned from here on
 * @fds_len:	How many
 * @log_fd:	Of the log file, owned from here on; -1: it is opened by its path, if there is one
 * @ret:	Set on success only; owned by the list
 * @e:		Set on failure only
 *
 * Errors: EINVAL a bad description, ENOTSUP this kind can't be adopted
 * Return: 0, or a negative errno
 */
int char_adopt(struct loop *loop, const json_t *state, const int *fds, size_t fds_len, int log_fd,
	       struct char_backend **ret, struct err *e)
{
	const struct char_kind *kind = kind_of(option_str(state, "kind", ""));
	const char *id = option_str(state, "id", "");
	struct char_backend *c;
	int r;

	if (!kind || !kind->adopt) {
		for (size_t i = 0; i < fds_len; i++)
			close(fds[i]);
		fd_close(&log_fd);
		return err_set(e, ENOTSUP, "chardev %s: '%s' can't be taken over", id,
			       option_str(state, "kind", "?"));
	}
	c = back_alloc(kind, id, loop);
	c->options = json_incref(json_object_get(state, "options"));
	c->log_fd = log_fd;
	r = log_fd < 0 ? back_log_open(c, true, e) : 0;
	if (r == 0)
		r = back_start(c, e);
	c->opened = r == 0;
	if (r == 0)
		r = kind->adopt(c, state, fds, fds_len, e);
	if (r < 0) {
		back_free(c);
		return err_in(e, "chardev %s", id);
	}
	char_list_add(c);
	*ret = c;
	return 0;
}
