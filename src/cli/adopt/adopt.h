/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_ADOPT_ADOPT_H
#define CLI_ADOPT_ADOPT_H

#include "cli/cli.h"

#include <sys/types.h>

/*
 * Theory of operation: a guest changes its VMM, between QEMU and Outlive on one host, or between
 * Outlives on two (remote/remote.h). What runs is
 * read (command line of the process, devices by QMP) into one description, "config", whose entries
 * are as the options -device, -chardev ... take them. From it the other VMM's command line is made;
 * whatever it can't carry is a sentence in @blockers, and nothing is started before all are known.
 * Open things follow as descriptors, taken from the running process (pidfd_getfd(2)): taps and
 * listening sockets are the same ones before and after. The guest then moves by an ordinary
 * migration over a unix socket.
 */

#define TAPS_MAX 64

/**
 * struct tap - A queue of a tap interface that both VMMs have open for a while
 * @fd:		Ours, of the running VMM's open file; -1: none
 * @header:	Bytes of the header in front of frames, as the running VMM wants it
 * @offloads:	TUN_F_*, the same
 * @detached:	The queue is switched off
 */
struct tap {
	int fd, header;
	unsigned int offloads;
	bool detached;
};

/**
 * struct move - A guest on its way to another VMM on this host
 * @name:	Of the guest, with us
 * @from_qemu:	Which way
 * @remote:	From an Outlive of another host to one here: nothing can be borrowed
 * @source, @target: Monitors; fd -1: not connected
 * @source_pid, @target_pid: Processes; 0: none
 * @words:	The command line the source was started with
 * @cwd:	Where its relative paths begin
 * @log_path:	Where the target writes; borrowed
 * @groups:	What @words says, by option: {"chardev": [{...}, ...], ...}
 * @config:	Objects, chardevs, netdevs, blockdevs, devices, as the options take them
 * @argv:	The target's command line
 * @record:	The same with names in place of descriptors: to start the guest again later
 * @blockers:	Sentences: what can't be carried
 * @notes:	Sentences: what will be different
 * @paths:	Unix sockets that stay in place when the source ends
 * @taps:	Their settings survive the target's start
 * @rules:	What names of the source's host are here, see remote/rules.c; NULL: the same
 * @renamed:	{name here: name there}, where they differ
 * @limits, @capabilities: What was set at the source, put back if the guest stays there
 * @ignore_shared: Memory is a file that both map: it isn't sent
 * @was_running: The guest ran at the source
 */
struct move {
	const char *name;
	bool from_qemu, remote, ignore_shared, was_running;
	struct qmp source, target;
	pid_t source_pid, target_pid;
	json_t *words, *groups, *config, *argv, *record, *blockers, *notes, *paths;
	json_t *limits, *capabilities, *rules, *renamed;
	char *cwd;
	const char *log_path;
	struct tap taps[TAPS_MAX];
	size_t taps_len;
};

/* move.c */
void move_init(struct move *m, const char *name, bool from_qemu);
void move_release(struct move *m);
void move_block(struct move *m, const char *fmt, ...) PRINTF(2, 3);
void move_note(struct move *m, const char *fmt, ...) PRINTF(2, 3);
/* Adds an option to @argv and @record; @value NULL: a switch. */
void move_add(struct move *m, const char *option, const char *value);
/* The same from {key: value, ...}; @first is the key that stands in front, without a name if
 * @implied. @recorded NULL: the same. */
void move_add_values(struct move *m, const char *option, const json_t *values,
		     const json_t *recorded, const char *first, bool implied);
/* A path of the source's as a path of ours; the caller frees it. */
char *move_path(const struct move *m, const char *path);
/* A tap, bridge or host of the source's as it is called here; the caller frees it. */
char *move_rename(const struct move *m, const char *kind, const char *name);
/* The same for hosts, taps and bridges in an option's values. */
void move_names(const struct move *m, json_t *values);
/* Makes paths under "filename", "path" and the like absolute. */
void move_paths(const struct move *m, json_t *values);
/* The entry of a group whose @key is @value, or NULL. */
json_t *move_find(const json_t *list, const char *key, const char *value);

/* words.c: @words into @groups and the options that stay as they are. */
void words_read(struct move *m);
/* The process behind a thread or a socket, and its words. */
MUST_CHECK int words_take(struct move *m, struct err *e);
MUST_CHECK int cwd_take(struct move *m, struct err *e);

/* outlive.c: @config of a running Outlive. */
MUST_CHECK int outlive_read(struct move *m, const struct guest *g, struct err *e);

/* qemu.c, qemu_device.c, qemu_backend.c: @config of a running QEMU. */
MUST_CHECK int qemu_check(struct move *m, struct qmp *probe, struct err *e);
MUST_CHECK int qemu_devices(struct move *m, struct qmp *probe, struct err *e);
MUST_CHECK int qemu_backends(struct move *m, struct err *e);

/* build.c: @config into @argv. */
void build_options(struct move *m);

/* borrow.c: descriptors of the source. */
bool borrow_possible(struct move *m);
/* Taps called @ifname (NULL: those that @named doesn't list). Their descriptors go into @taps. */
size_t borrow_taps(struct move *m, const char *ifname, const json_t *named);
char *borrow_tap_name(const struct move *m, int fd);                     /* NULL: it is no tap */
int borrow_descriptor(struct move *m, int number, json_t *where);        /* -1: it doesn't listen */
int borrow_listener(struct move *m, const char *path, const char *port); /* -1: there is none */
void taps_remember(struct tap *taps, size_t len);
void taps_restore(const struct tap *taps, size_t len);

/* arrive.c: the target is an Outlive with a folder. */
void move_add_own(struct move *m);
json_t *move_placed(const json_t *words, const struct guest *g);
json_t *move_record(const struct move *m, const struct guest *g, const char *memory,
		    const char *cpus);
MUST_CHECK int move_record_write(const struct guest *g, const json_t *record, struct err *e);

/* target.c: starting and ending processes. */
/* A VMM of @program without a machine, to be asked what it knows; ended by probe_stop(). */
MUST_CHECK int probe_start(const char *program, struct qmp *ret, pid_t *ret_pid, struct err *e);
void probe_stop(struct qmp *q, pid_t pid);
MUST_CHECK int target_start(struct move *m, const char *qmp_path, const char *log_path,
			    struct err *e);
void target_kill(struct move *m);

/* transfer.c */
MUST_CHECK int transfer(struct move *m, const struct cli_args *args, const char *socket,
			json_t **ret_info, struct err *e);
MUST_CHECK int transfer_end_source(struct move *m, struct err *e);
int transfer_refuse(const struct move *m, const struct cli_args *args);

#endif
