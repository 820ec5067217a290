/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/err.h"
#include "base/keyval.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Theory of operation: the command for people. Each subcommand is a row in commands.c with its
 * options, help and examples; the parser, --help, completion and the man page's check read these
 * rows. A guest is a folder named after it, with its QMP socket, console, log, pid file (locked
 * while it lives) and launch record. Everything about a guest is asked by QMP.
 */

/**
 * enum cli_exit - What the process ends with
 */
enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,   /* it was tried and failed */
	CLI_USAGE = 2,    /* the command line is wrong */
	CLI_NO_GUEST = 3, /* there is no such guest, or it has ended */
	CLI_REFUSED = 4,  /* something stands in the way; nothing was changed */
	CLI_TIMEOUT = 5,  /* it didn't happen in time */
};

/**
 * struct cli_option - An option of a subcommand
 * @name:	Long name; closed by NULL
 * @letter:	Short name, or 0
 * @argument:	Shown in help; NULL: a switch
 * @help:	One line
 */
struct cli_option {
	const char *name;
	char letter;
	const char *argument, *help;
};

/**
 * struct cli_args - A parsed command line of a subcommand
 * @values:	Option name to array of strings ([] of a switch: ["on"])
 * @words:	What isn't an option
 * @rest:	What follows "--", or NULL
 */
struct cli_args {
	json_t *values;
	const char **words;
	size_t words_len;
	char **rest;
	bool json;
};

/**
 * struct cli_command - A subcommand
 * @name:	"ls", "device add": one or two words; closed by NULL
 * @words:	Shown behind the name ("NAME")
 * @min, @max:	How many words it takes
 * @rest:	Takes "-- ..."
 * @help:	One line
 * @options:	Its own; --json and --help are everywhere
 * @examples:	Lines for --help
 * @run:	Returns an enum cli_exit, having said why on stderr
 */
struct cli_command {
	const char *name, *words;
	size_t min, max;
	bool rest;
	const char *help;
	const struct cli_option *options;
	const char *examples;
	int (*run)(const struct cli_args *args);
};

extern const struct cli_command cli_commands[];

/* args.c */
MUST_CHECK int cli_parse(const struct cli_command *c, int argc, char **argv, struct cli_args *ret,
			 struct err *e);
void cli_args_release(struct cli_args *args);
const char *cli_value(const struct cli_args *args, const char *name, const char *def);
double cli_seconds(const struct cli_args *args, const char *name, double def);
bool cli_switch(const struct cli_args *args, const char *name);
void cli_help(FILE *out, const struct cli_command *c);

/* output.c */
int cli_fail(int code, const struct err *e);
void cli_print_json(const json_t *value);
/* Rows are objects; columns are their keys, in capitals. Numbers go right. */
void cli_print_table(const json_t *rows, const char *const *columns);
char *cli_size(uint64_t bytes);

/**
 * struct guest - A guest by name
 * @name:	Its name
 * @dir:	Its folder
 * @pid:	Its process, 0: ended
 * @record:	launch.json, or {}
 */
struct guest {
	char *name, *dir;
	int pid;
	json_t *record;
};

/* guest.c */
MUST_CHECK int guest_name_check(const char *name, struct err *e);
void guest_remove(const struct guest *g);
MUST_CHECK int guest_open(const char *name, struct guest *ret,
			  struct err *e); /* ENOENT no such guest */
MUST_CHECK int guest_open_running(const char *name, struct guest *ret,
				  struct err *e); /* ESRCH it has ended */
void guest_release(struct guest *g);
char *guest_path(const struct guest *g, const char *file);
MUST_CHECK int guest_make(const char *name, struct guest *ret, struct err *e); /* EEXIST it runs */
void guest_each(void (*fn)(const struct guest *g, void *opaque), void *opaque);
bool guest_wait_end(const struct guest *g, double seconds);
int guest_refresh(struct guest *g);
/* run.c */
MUST_CHECK int guest_launch(struct guest *g, json_t *argv, struct err *e);
int guest_blame_log(const struct guest *g, struct err *e);
char *vmm_last_words(const char *path);
int vmm_blame_log(const char *path, struct err *e);
void vmm_exec(const json_t *argv, int log_fd);
void cli_print_words(const json_t *argv);
char *cli_escaped(const char *text);
char *cli_uuid(void);
MUST_CHECK int cli_netdev(const char *text, const char *id, char **ret, struct err *e);
/* enum cli_exit for an error of the functions above. */
int guest_exit_code(int r);

/**
 * struct qmp - A connection to a guest's monitor
 * @seconds:	How long a command's answer is waited for; 0: 30
 * @on_event:	Called for events that come while waiting; may be NULL
 */
struct qmp {
	int fd;
	char *in;
	size_t in_len;
	unsigned int next_id;
	double seconds;
	void (*on_event)(const json_t *event, void *opaque);
	void *opaque;
};

/* qmp.c: ETIMEDOUT no answer in time; EREMOTEIO the VMM answered with an error. */
MUST_CHECK int qmp_open(const struct guest *g, double seconds, struct qmp *ret, struct err *e);
MUST_CHECK int qmp_open_path(const char *path, double seconds, struct qmp *ret, struct err *e);
MUST_CHECK int qmp_open_fd(int fd, double seconds, struct qmp *ret, struct err *e);
void qmp_close(struct qmp *q);
/* @args is taken. @ret may be NULL. */
MUST_CHECK int qmp_command(struct qmp *q, const char *name, json_t *args, json_t **ret,
			   struct err *e);
MUST_CHECK int qmp_give_fd(struct qmp *q, const char *name, int fd, struct err *e);
MUST_CHECK int qmp_next(struct qmp *q, double seconds, json_t **ret, struct err *e);

/* Subcommands. */
int cmd_run(const struct cli_args *args);
int cmd_ls(const struct cli_args *args);
int cmd_info(const struct cli_args *args);
int cmd_top(const struct cli_args *args);
int cmd_console(const struct cli_args *args);
int cmd_stop(const struct cli_args *args);
int cmd_upgrade(const struct cli_args *args);
int cmd_check(const struct cli_args *args);
int cmd_migrate(const struct cli_args *args);
int cmd_receive(const struct cli_args *args);
int cmd_snapshot_point(const struct cli_args *args);
int cmd_snapshot_rollback(const struct cli_args *args);
int cmd_adopt(const struct cli_args *args);
int cmd_giveback(const struct cli_args *args);
int cmd_snapshot_save(const struct cli_args *args);
int cmd_snapshot_restore(const struct cli_args *args);
int cmd_snapshot_clone(const struct cli_args *args);
int cmd_snapshot_list(const struct cli_args *args);
int cmd_snapshot_show(const struct cli_args *args);
int cmd_snapshot_delete(const struct cli_args *args);
int cmd_pause(const struct cli_args *args);
int cmd_resume(const struct cli_args *args);
int cmd_reset(const struct cli_args *args);
int cmd_send_key(const struct cli_args *args);
int cmd_dump(const struct cli_args *args);
int cmd_kill(const struct cli_args *args);
int cmd_logs(const struct cli_args *args);
int cmd_qmp(const struct cli_args *args);
int cmd_device_ls(const struct cli_args *args);
int cmd_device_add(const struct cli_args *args);
int cmd_device_rm(const struct cli_args *args);
int cmd_doctor(const struct cli_args *args);
int cmd_report(const struct cli_args *args);
int cmd_inspect(const struct cli_args *args);

/* Where outlive-vmm is: $OUTLIVE_VMM, beside this program, in the build tree, in PATH. The caller
 * frees it. */
char *vmm_program(void);

#endif
