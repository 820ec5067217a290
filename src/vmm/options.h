/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_OPTIONS_H
#define VMM_OPTIONS_H

#include "base/option.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/**
 * enum vmm_group - What a command line is made of; one or more options fill a group
 */
enum vmm_group {
	VMM_MACHINE,
	VMM_ACCEL,
	VMM_CPU,
	VMM_MEMORY,
	VMM_SMP,
	VMM_NUMA,
	VMM_DEVICE,
	VMM_NETDEV,
	VMM_NIC,
	VMM_BLOCKDEV,
	VMM_DRIVE,
	VMM_OBJECT,
	VMM_CHARDEV,
	VMM_MON,
	VMM_QMP,
	VMM_MONITOR,
	VMM_SERIAL,
	VMM_PARALLEL,
	VMM_AUDIODEV,
	VMM_GLOBAL,
	VMM_NAME,
	VMM_UUID,
	VMM_RTC,
	VMM_BOOT,
	VMM_SMBIOS,
	VMM_FW_CFG,
	VMM_ADD_FD,
	VMM_OVERCOMMIT,
	VMM_SANDBOX,
	VMM_MSG,
	VMM_ACTION,
	VMM_WATCHDOG_ACTION,
	VMM_DISPLAY,
	VMM_VGA,
	VMM_VNC,
	VMM_KERNEL,
	VMM_INITRD,
	VMM_APPEND,
	VMM_BIOS,
	VMM_INCOMING,
	VMM_PIDFILE,
	VMM_RUNAS,
	VMM_LOGFILE,
	VMM_LOG,
	VMM_TRACE,
	VMM_STOPPED,
	VMM_NODEFAULTS,
	VMM_NO_USER_CONFIG,
	VMM_NOGRAPHIC,
	VMM_DAEMONIZE,
	VMM_NO_REBOOT,
	VMM_NO_SHUTDOWN,
	VMM_NO_HPET,
	VMM_ENABLE_KVM,
	VMM_VERSION,
	VMM_HELP,
	VMM_PROBE_HOST,
	VMM_DUMP_STATE_SCHEMA,
	VMM_VERIFY_SNAPSHOT,
	VMM_GROUPS
};

/**
 * enum vmm_form - How an option's argument is read
 */
enum vmm_form {
	VMM_FLAG,     /* no argument */
	VMM_TEXT,     /* one string */
	VMM_KEYVAL,   /* key=value, or JSON if @json */
	VMM_FEATURES, /* -cpu: "+x" and "-x" as well */
	VMM_GLOBALS,  /* -global: DRIVER.PROPERTY=VALUE as well */
};

/**
 * struct vmm_option - One option of the command line: parser, --help, man page and
 * query-command-line-options
 * @name:	Without dashes
 * @group:	What it fills
 * @form:	How its argument is read
 * @repeat:	Each occurrence is an item of its own; else occurrences are merged and may not
 * contradict each other
 * @last:	The last occurrence alone counts
 * @json:	A JSON object is taken as well
 * @nest:	Dotted keys become nested objects
 * @open:	Other keys than the table's are kept as they are (checked by whoever knows the
 * driver)
 * @implied:	Key of a first value without one
 * @table:	Known keys
 * @argument:	Shown by --help
 * @help:	One line
 */
struct vmm_option {
	const char *name;
	enum vmm_group group;
	enum vmm_form form;
	bool repeat, last, json, nest, open;
	const char *implied;
	const struct option *table;
	const char *argument, *help;
};

extern const struct vmm_option vmm_options_table[]; /* closed by a NULL name */

/**
 * struct vmm_item - One thing that was asked for
 * @values:	Checked object; a VMM_TEXT has it under "text"
 * @json:	It was written as JSON: what isn't in the table has JSON types, else strings
 * @position:	Number of the argument, for messages
 * @option:	Its row
 * @argument:	As written; borrowed from argv, NULL for flags
 */
struct vmm_item {
	json_t *values;
	bool json;
	int position;
	const struct vmm_option *option;
	const char *argument;
};

/**
 * struct vmm_items - All items of a group, in the order given
 */
struct vmm_items {
	struct vmm_item *items;
	size_t len;
};

/**
 * struct vmm_topology - vCPUs, completed and checked
 */
struct vmm_topology {
	unsigned int cpus, max_cpus, sockets, dies, clusters, cores, threads;
};

/**
 * struct vmm_options - A parsed command line
 * @groups:	Everything, by group
 * @order:	Positions in @groups of -device, -netdev, -object ... need no more order than their
 * own list
 * @machine:	Machine type ("none", "q35", "pc-q35-7.2")
 * @cpu:	CPU model, NULL: the machine's default
 * @name:	Guest name or NULL
 * @uuid:	As -uuid; zero if not given
 * @has_uuid:	-uuid was given
 * @ram_bytes, @max_ram_bytes, @ram_slots: As -m; the default is 128 MiB
 * @smp:	vCPUs
 * Strings are borrowed from @groups.
 */
struct vmm_options {
	struct vmm_items groups[VMM_GROUPS];
	const char *machine, *cpu, *name;
	uint8_t uuid[16];
	bool has_uuid;
	uint64_t ram_bytes, max_ram_bytes;
	unsigned int ram_slots;
	struct vmm_topology smp;
};

MUST_CHECK int vmm_options_parse(struct vmm_options *o, int argc, const char *const *argv,
				 struct err *e);
void vmm_options_release(struct vmm_options *o);

/* The one item of a group that isn't repeated, as an object; empty if not given. Borrowed. */
const json_t *vmm_values(const struct vmm_options *o, enum vmm_group g);
const char *vmm_text(const struct vmm_options *o, enum vmm_group g); /* VMM_TEXT; NULL: not given */
bool vmm_given(const struct vmm_options *o, enum vmm_group g);
/* Puts "argument 12 (-device x,y)" in front of an error about this item. */
int vmm_err_item(struct err *e, const struct vmm_item *item);

void vmm_help(FILE *out);
/* Answers "-device help" and the like on @out: true if the item asked for it. */
bool vmm_help_item(FILE *out, const struct vmm_item *item);

/* absent.c: why an option of QEMU isn't there; NULL: QEMU has none of that name. */
const char *vmm_absent(const char *name);

/* finish.c: fills the typed fields and finds contradictions. */
MUST_CHECK int vmm_options_finish(struct vmm_options *o, struct err *e);

#endif
