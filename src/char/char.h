/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHAR_CHAR_H
#define CHAR_CHAR_H

#include "base/err.h"
#include "base/keyval.h"
#include "base/loop.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/*
 * Theory of operation: a character back end (stdio, pty, socket, file, ring buffer) carries bytes
 * between the outside and one front end (a serial port, a virtio port, a QMP monitor). Everything
 * happens on the main loop. Input is pushed to the front end as far as it says it can take it;
 * output is taken at once into a bounded buffer or, when that is full, refused (the front end is
 * told when there is room again): a slow reader outside never blocks a vCPU.
 */

struct char_backend;

enum char_event { CHAR_OPENED = 1, CHAR_CLOSED, CHAR_BREAK };

/**
 * struct char_front - What a front end answers to; called on the main loop
 * @can_receive: How many bytes it takes now
 * @receive:	Takes @len bytes, at most that many
 * @event:	Somebody connected or went; may be NULL
 * @writable:	After char_write() took less than all: there is room again; may be NULL
 * @fds:	Descriptors came with the next bytes (SCM_RIGHTS); the front end owns them; may be
 *		NULL (they are closed)
 * @guest_paced: It takes input when the guest gets to it, maybe never: a client that has hung up
 *		doesn't keep the next one waiting
 */
struct char_front {
	size_t (*can_receive)(void *opaque);
	void (*receive)(void *opaque, const uint8_t *buf, size_t len);
	void (*event)(void *opaque, enum char_event event);
	void (*writable)(void *opaque);
	void (*fds)(void *opaque, const int *fds, size_t len);
	void *opaque;
	bool guest_paced;
};

struct char_backend *char_find(const char *id);
const char *char_id(const struct char_backend *c);
/*
 * "pty:/dev/pts/3", "unix:/run/x,server=on": how query-chardev names it. Valid until the back end
 * changes.
 */
const char *char_filename(const struct char_backend *c);
/* One front end per back end. EBUSY says who has it. A mux gives a new port to each char_find(). */
MUST_CHECK int char_attach(struct char_backend *c, const char *user, const struct char_front *front,
			   struct err *e);
void char_detach(struct char_backend *c);
bool char_connected(const struct char_backend *c);
/*
 * From any thread. Bytes taken, 0 when full; a back end that nobody is connected to takes and
 * drops everything.
 */
size_t char_write(struct char_backend *c, const uint8_t *buf, size_t len);
/* The front end can take input again after can_receive() returned 0. From any thread. */
void char_accept_input(struct char_backend *c);

/*
 * Making and listing. @options is an object as keyval_parse() gives it for -chardev ("backend",
 * "id", and what the type's table in kinds.c names); chardev-add's nested JSON is flattened to it
 * by char_options_from_qmp().
 */
MUST_CHECK int char_create(struct loop *loop, const json_t *options, struct char_backend **ret,
			   struct err *e);
MUST_CHECK int char_options_from_qmp(const json_t *arguments, json_t **ret, struct err *e);
/* "unix:PATH,server=on,wait=off", "pty", "stdio", "null": what -serial, -qmp and -monitor take. */
MUST_CHECK int char_options_from_legacy(const char *text, const char *id, json_t **ret,
					struct err *e);
MUST_CHECK int char_remove(const char *id, struct err *e); /* EBUSY while a front end is attached */
void char_remove_all(void);
void char_for_each(void (*fn)(const struct char_backend *c, void *opaque), void *opaque);
/* The front end's other side (a driver in the guest) has opened or closed it; attached, it is
 * open. */
void char_front_set_open(struct char_backend *c, bool open);
bool char_front_open(const struct char_backend *c);
const char *char_kind(const struct char_backend *c);
const json_t *char_options(const struct char_backend *c); /* as given and checked; borrowed */
/* Lists the kinds, or the options of one. */
void char_help(FILE *out, const char *kind);
/* What C-a x on a mux does. */
void char_on_quit(void (*fn)(void *opaque), void *opaque);

/**
 * struct char_handover - A back end on its way to another process
 * @state:	What char_adopt() needs to know besides the descriptors
 * @fds:	In the order that @state names them; borrowed from the back end, which goes on until
 *		char_release()
 * @fds_len:	How many
 * @log_fd:	Of its log file, borrowed likewise; -1: it has none
 */
struct char_handover {
	json_t *state;
	int fds[4];
	size_t fds_len;
	int log_fd;
};

/*
 * Describes it, or says why it can't follow (ENOTSUP: a blocker, the reason is for the operator).
 * Main loop.
 */
MUST_CHECK int char_handover(struct char_backend *c, struct char_handover *ret, struct err *e);
/*
 * What hasn't left yet, taken at the last moment, with nobody writing any more: a new reference,
 * NULL for nothing. The other side queues it in char_adopt_pending(). Main loop.
 */
json_t *char_pending(struct char_backend *c);
void char_adopt_pending(struct char_backend *c, const json_t *pending);
void char_owned(struct char_backend *c); /* after the hand-over has succeeded */
/*
 * The other process has it now: forget it without closing what it serves (sockets stay, paths
 * stay).
 */
void char_release(struct char_backend *c);
/* Makes the back end from a description; owns @fds on success, @log_fd in any case. */
MUST_CHECK int char_adopt(struct loop *loop, const json_t *state, const int *fds, size_t fds_len,
			  int log_fd, struct char_backend **ret, struct err *e);

/* Ring buffers, for ringbuf-read and ringbuf-write. EINVAL if @c is no ring buffer. */
MUST_CHECK int char_ringbuf_read(struct char_backend *c, uint8_t *buf, size_t *len, struct err *e);
MUST_CHECK int char_ringbuf_write(struct char_backend *c, const uint8_t *buf, size_t len,
				  struct err *e);

#endif
