/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONTROL_COMMAND_H
#define CONTROL_COMMAND_H

#include "base/list.h"
#include "char/char.h"
#include "control/control.h"

/* Inside the control room: commands, requests, monitors. */

typedef int command_fn(struct control *c, struct control_request *rq, const json_t *args,
		       json_t **ret, struct err *e);

#define COMMAND_OOB \
	1u /* may run out of band: quick, takes no lock that a stuck command could hold */
#define COMMAND_NEGOTIATE 2u /* the only kind before qmp_capabilities, and only then */
#define COMMAND_OPEN \
	4u /* other arguments than the table's are passed on (properties of a driver) */

/**
 * struct command - One QMP command: check, dispatch, schema and man page
 * @name:	As on the wire
 * @args:	Its arguments; NULL: none
 * @ret:	Its return type in the schema ("StatusInfo", "[str]"); NULL: {}
 * @fn:		Its function, or
 * @op:		offsetof() the member of struct control_ops that does it
 * @flags:	COMMAND_*
 * @help:	One line
 * @features:	Space-separated, for the schema
 * @rewrite:	Gives the arguments as @op takes them, new reference; NULL: as they came
 */
struct command {
	const char *name;
	const struct option *args;
	const char *ret;
	command_fn *fn;
	size_t op;
	unsigned int flags;
	const char *help;
	const char *features;
	int (*rewrite)(const json_t *args, json_t **ret, struct err *e);
};

#define COMMAND_OP(member) offsetof(struct control_ops, member)

/* Groups, each closed by a NULL name; commands.c lists them. */
extern const struct command commands_protocol[], commands_run[], commands_device[],
	commands_block[], commands_char[], commands_fd[], commands_machine[], commands_migrate[],
	commands_snapshot[], commands_memory[], commands_job[], commands_upgrade[];
extern const struct command *const command_groups[]; /* NULL-terminated */
const struct command *command_find(const char *name);
const char *command_nearest(const char *name);

/* channels.c: where a migration goes, in parts. */
extern const struct option migrate_channel_fields[];
MUST_CHECK int migrate_uri(const json_t *args, json_t **ret, struct err *e);

/**
 * struct absent_command - A command of QEMU's that isn't here
 */
struct absent_command {
	const char *name, *why;
};

extern const struct absent_command absent_commands[]; /* closed by a NULL name */
const char *command_absence(const char *name);

/**
 * struct qmp_type - A named object type of the schema
 */
struct qmp_type {
	const char *name;
	const struct option *fields;
};

/**
 * struct qmp_variant - More arguments of a command when one of them has a certain value
 * @command:	Its name; closed by NULL
 * @tag:	The argument
 * @value:	Its value
 * @fields:	What comes with it
 */
struct qmp_variant {
	const char *command, *tag, *value;
	const struct option *fields;
};

/**
 * struct qmp_event - An event that may come
 */
struct qmp_event {
	const char *name, *help;
	const struct option *fields;
};

extern const struct qmp_type qmp_types[];
extern const struct qmp_variant qmp_variants[];
extern const struct qmp_event qmp_events[];
json_t *schema_build(void);

/**
 * struct json_stream - Cuts bytes into JSON values
 * @text:	What has come of the next value
 * @depth:	Open braces and brackets
 * @quote:	What the string began with that this is inside of; 0: none
 * @escape:	Behind a backslash in it
 * @single:	There are single quotes
 * @skipping:	After an error: until the end of the line
 */
struct json_stream {
	char *text;
	size_t len, room;
	unsigned int depth;
	char quote;
	bool escape, single, skipping;
};

typedef void json_stream_fn(void *opaque, const char *text, size_t len, const char *error);
void json_stream_feed(struct json_stream *s, const uint8_t *buf, size_t len, json_stream_fn *fn,
		      void *opaque);
void json_stream_reset(struct json_stream *s);

/**
 * struct monitor - One QMP connection at a time on one character back end. Main loop
 * @negotiated:	qmp_capabilities was answered: commands and events flow
 * @oob:	The client may send exec-oob
 * @held:	Taken over, but not ours yet: nothing is read, run or sent
 * @running:	The request that answers later; the ones behind it wait in @queue
 * @fds:	Came with the bytes, not taken yet
 */
struct monitor {
	struct list link;
	struct control *control;
	struct char_backend *backend;
	char *name;
	bool pretty, negotiated, oob, connected, held;
	struct json_stream in;
	char *out;
	size_t out_len;
	struct control_request *running;
	struct list queue;
	unsigned int queued;
	int fds[64];
	size_t fds_len;
};

/**
 * struct control_request - One command
 * @monitor:	Where the answer goes; NULL: the client has gone
 * @id:		To be repeated in the answer, or NULL
 * @oob:	Came as exec-oob
 */
struct control_request {
	struct list link;
	struct control *control;
	struct monitor *monitor;
	const struct command *command;
	json_t *args, *id;
	bool oob;
};

/**
 * struct control - All of QMP
 */
struct control {
	struct loop *loop;
	struct control_config config;
	const struct control_ops *ops;
	struct list monitors, jobs, orphans, limited;
	json_t *capabilities, *parameters; /* of migration, until a machine takes them */
	bool quitting;
};

/* dispatch.c */
void request_run(struct control_request *rq);
void request_free(struct control_request *rq);
struct control_request *request_create(struct monitor *m, json_t *message, struct err *e);
const char *error_class(const struct err *e);

/* monitor.c */
void monitor_send(struct monitor *m, const json_t *message);
void monitor_event(struct monitor *m, const json_t *event);
void monitor_refuse(struct monitor *m, json_t *id, const struct err *e);
void monitor_answer(struct control_request *rq, json_t *ret, const struct err *e);
void monitor_flush(struct monitor *m);
void monitor_destroy(struct monitor *m);
void monitor_run(struct monitor *m);
MUST_CHECK int monitor_create(struct control *c, const char *chardev, bool pretty, bool held,
			      struct monitor **ret, struct err *e);

/* events.c */
void events_flush(struct control *c);

/* job.c */
void jobs_release(struct control *c);

#endif
