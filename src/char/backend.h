/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHAR_BACKEND_H
#define CHAR_BACKEND_H

#include "base/list.h"
#include "base/option.h"
#include "char/char.h"

/* Inside the char room: what a kind of back end implements, and what they share. */

#define CHAR_OUT_MAX (64 * KiB) /* bytes waiting to leave */
#define CHAR_LOG_MAX (64 * KiB) /* bytes waiting for the log file */

/**
 * struct char_kind - A kind of back end; one constant per file, listed in kinds.c
 * @name:	As in "-chardev NAME,..."
 * @help:	One line
 * @options:	Its own options; those every kind has are in char_common_options
 * @size:	sizeof() the struct, which begins with a struct char_backend
 * @open:	Takes checked @options, opens; sets filename; connected if it is at once. Failure:
 *		@close is called
 * @adopt:	Instead of @open, from a description and descriptors (owned on success)
 * @close:	Releases; may find anything but zero unset
 * @write:	Writes what it can now without blocking, on the main loop: bytes taken, or a
 *		negative errno.
 * @store:	Instead of @write, for kinds that only keep bytes: any thread, lock held
 * @wait_writable: Call back end_writable() when there is room again (@on false: no longer); may be
 *		NULL if @store
 * @resume:	The front end may take input again
 * @probe:	Is anybody there by now? Called when output comes while not connected; may be NULL
 * @handover:	Fills in descriptors and state, or gives the reason why it can't; NULL: nothing but
 *		the options. Nothing that changes without anybody coming or going: see @late
 * @late:	What @handover couldn't know, at the last moment, nobody writes any more: new
 *		reference; may be NULL
 * @adopt_late:	Takes what @late gave, front ends are attached; may be NULL if @late is
 * @owned:	Adopted, and the guest is ours now; may be NULL
 */
struct char_kind {
	const char *name, *help;
	const struct option *options;
	size_t size;
	int (*open)(struct char_backend *c, const json_t *options, struct err *e);
	int (*adopt)(struct char_backend *c, const json_t *state, const int *fds, size_t fds_len,
		     struct err *e);
	void (*close)(struct char_backend *c);
	ssize_t (*write)(struct char_backend *c, const uint8_t *buf, size_t len);
	size_t (*store)(struct char_backend *c, const uint8_t *buf, size_t len);
	void (*wait_writable)(struct char_backend *c, bool on);
	void (*resume)(struct char_backend *c);
	void (*probe)(struct char_backend *c);
	int (*handover)(struct char_backend *c, struct char_handover *ret, struct err *e);
	json_t *(*late)(const struct char_backend *c);
	void (*adopt_late)(struct char_backend *c, const json_t *late);
	void (*owned)(struct char_backend *c);
};

/**
 * struct char_buffer - Bytes on their way, oldest first
 */
struct char_buffer {
	uint8_t *data;
	size_t len, room;
};

/**
 * struct char_backend - What all kinds begin with. Main loop, but for what @lock protects
 * @kind:	Its kind
 * @id:		From the user; "compat_..." for legacy options
 * @options:	As given and checked: the description for another process
 * @loop:	Main loop
 * @filename:	For query-chardev
 * @user:	Who attached; NULL: nobody
 * @front:	Valid while @user
 * @wake_fd:	Eventfd: output came, or input may go on; from any thread
 * @lock:	Protects @out, @log, @connected, @full
 * @connected:	Somebody is there to read
 * @full:	A write was cut short: tell the front end when there is room
 * @waiting:	@kind->wait_writable is on
 * @front_open: What query-chardev tells of @user: it is listening
 * @opened:	@kind->open or @kind->adopt was called: @kind->close is due
 * @released:	Another process has it: close nothing that would be seen
 */
struct char_backend {
	const struct char_kind *kind;
	struct list link;
	char *id;
	json_t *options;
	struct loop *loop;
	char *filename;
	char *user;
	struct char_front front;
	sd_event_source *wake_source;
	int wake_fd;
	int log_fd;
	pthread_mutex_t lock;
	struct char_buffer out, log;
	bool connected, full, waiting, front_open, opened, released;
};

extern const struct char_kind *const char_kinds[]; /* NULL-terminated */
extern const struct option char_common_options[];

extern const struct char_kind char_null, char_stdio, char_pty, char_socket, char_file, char_ringbuf,
	char_mux, char_mux_port;

/* back.c: for the kinds. */
size_t back_can_receive(struct char_backend *c);
void back_receive(struct char_backend *c, const uint8_t *buf, size_t len);
void back_receive_fds(struct char_backend *c, const int *fds, size_t len);
void back_connected(struct char_backend *c, bool on);
void back_break(struct char_backend *c);
void back_writable(struct char_backend *c);
void back_set_filename(struct char_backend *c, const char *fmt, ...) PRINTF(2, 3);
void back_wake(struct char_backend *c);
struct char_backend *back_alloc(const struct char_kind *kind, const char *id, struct loop *loop);
void back_free(struct char_backend *c);
MUST_CHECK int back_log_open(struct char_backend *c, bool again, struct err *e);
void back_log_flush(struct char_backend *c);
MUST_CHECK int back_start(struct char_backend *c, struct err *e);

bool back_guest_paced(const struct char_backend *c);

/* buffer.c */
size_t buffer_put(struct char_buffer *b, const uint8_t *buf, size_t len, size_t max);
void buffer_drop(struct char_buffer *b, size_t len);

/* mux.c */
struct char_backend *mux_port(struct char_backend *c);

/* The list of all back ends, char.c. */
void char_list_add(struct char_backend *c);

/**
 * struct char_stream - Descriptors that are read and written without blocking (stdio, pty, a
 * connected socket)
 * @c:		The back end
 * @in_fd, @out_fd: May be the same; not owned
 * @in, @out:	Event sources; NULL: not watched
 * @want_in, @want_out: What the loop waits for
 * @always_ready: Input is a regular file or /dev/null, which can't be polled
 * @scm:	A socket: descriptors may come with the bytes
 * @hung:	The other end has closed, but what it said last isn't read yet
 * @gone:	End of the stream or a hard error
 * @left:	@hung has become true; NULL: who doesn't read isn't told that the other end closed
 */
struct char_stream {
	struct char_backend *c;
	int in_fd, out_fd;
	sd_event_source *in, *out;
	bool want_in, want_out, always_ready;
	bool scm, hung;
	void (*gone)(struct char_backend *c);
	void (*left)(struct char_backend *c);
};

MUST_CHECK int stream_open(struct char_stream *s, struct err *e);
void stream_close(struct char_stream *s);
void stream_resume(struct char_stream *s);
void stream_wait_writable(struct char_stream *s, bool on);
ssize_t stream_write(struct char_stream *s, const uint8_t *buf, size_t len);

#endif
