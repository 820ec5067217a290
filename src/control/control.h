/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include "base/err.h"
#include "base/keyval.h"
#include "base/loop.h"
#include "base/option.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Theory of operation: QMP, the protocol of libvirt and of our own command. A monitor is a front
 * end on a character back end: it cuts the stream into JSON values, checks each against the
 * command's row, runs it and answers. Commands are rows in tables (name, arguments, return type,
 * help): the check, query-commands, query-qmp-schema and the man page come from them.
 *
 * What needs the machine goes through struct control_ops, which the machine fills in once it is
 * there; a command whose op is missing answers that it isn't available. Everything runs on the
 * main loop.
 */

struct control;
struct control_request; /* one command on its way, of one monitor */

/**
 * control_op - What the machine does for a command
 * @opaque:	control_ops.opaque
 * @rq:		For control_complete(), if it answers later
 * @args:	Checked against the command's row; borrowed
 * @ret:	Set on success to a new reference; may stay NULL: {}
 * @e:		Set on failure only. ENXIO becomes class DeviceNotFound, ENODEV DeviceNotActive,
 * ENOSYS CommandNotFound
 *
 * Return: 0, a negative errno, or CONTROL_LATER
 */
typedef int control_op(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		       struct err *e);

#define CONTROL_LATER 1

/**
 * struct control_ops - The machine's part of QMP; each member is named after its command. NULL: not
 * available
 * @memory_read: Copies @len bytes of guest physical memory; false if any of it isn't RAM
 * @memory_read_virtual: Copies up to 1 MiB as a vCPU sees it
 */
struct control_ops {
	void *opaque;
	control_op *query_status, *stop, *cont, *system_reset, *system_powerdown, *system_wakeup,
		*quit;
	control_op *inject_nmi, *send_key, *rtc_reset_reinjection;
	control_op *device_add, *device_del, *object_add, *object_del;
	control_op *qom_list, *qom_get, *qom_set;
	control_op *query_cpus_fast, *query_hotpluggable_cpus, *query_acpi_ospm_status,
		*query_iothreads;
	control_op *balloon, *query_balloon, *query_memory_size_summary, *query_memory_devices,
		*query_memdev;
	control_op *query_block, *query_blockstats, *block_set_io_throttle;
	control_op *query_pci, *query_rx_filter, *query_vm_generation_id, *announce_self;
	control_op *set_link; /* of a device; back ends are found without the machine */
	control_op *set_action, *watchdog_set_action;
	control_op *migrate, *migrate_cancel, *migrate_continue, *migrate_incoming, *migrate_pause,
		*query_migrate;
	control_op *migrate_set_capabilities, *query_migrate_capabilities, *migrate_set_parameters,
		*query_migrate_parameters, *check_migration, *query_vcpu_dirty_limit;
	control_op *query_cpu_definitions, *query_cpu_model_expansion, *query_machines,
		*query_current_machine;
	control_op *query_stats, *query_stats_schemas;
	control_op *dump_guest_memory, *query_dump;
	control_op *upgrade, *query_blockers, *query_configuration;
	control_op *rollback, *point_drop, *point_keep, *snapshot_save, *snapshot_load,
		*snapshot_delete;
	bool (*memory_read)(void *opaque, uint64_t gpa, void *buf, uint64_t len);
	int (*memory_read_virtual)(void *opaque, unsigned int vcpu, uint64_t gva, void *buf,
				   uint64_t len, struct err *e);
};

/**
 * struct control_config - What the command line says
 * @name:	Guest name or NULL; borrowed
 * @uuid:	16 bytes
 * @options:	Answer of query-command-line-options; taken
 */
struct control_config {
	const char *name;
	const uint8_t *uuid;
	json_t *options;
};

MUST_CHECK int control_create(struct control **ret, struct loop *loop,
			      const struct control_config *config, struct err *e);
void control_destroy(struct control *c);
/* The machine is there (or gone, NULL). @ops is kept, not copied. */
void control_set_ops(struct control *c, const struct control_ops *ops);
/* A QMP monitor on a character back end. */
MUST_CHECK int control_monitor_add(struct control *c, const char *chardev, bool pretty,
				   struct err *e);
/* An event to every client that has negotiated. @data is taken; NULL: none. Main loop. */
void control_event(struct control *c, const char *name, json_t *data);
/* Answers a command that returned CONTROL_LATER. @ret is taken (NULL: {}); @e if it failed, else
 * NULL. */
void control_complete(struct control_request *rq, json_t *ret, const struct err *e);
/* Descriptors that came with the bytes: the oldest that nobody took. -1: none. The caller owns it.
 */
int control_take_fd(struct control_request *rq);
/* Puts all pending output on its way; before the process ends. */
void control_flush(struct control *c);

/* For a live upgrade, see handover.c. */
MUST_CHECK int control_handover(struct control *c, json_t **ret, struct err *e);
MUST_CHECK int control_adopt(struct control *c, const json_t *state, struct err *e);
void control_adopted(struct control *c);
struct control_request *control_adopted_request(struct control *c, const char *command);

/**
 * enum control_job_status - Life of a job, as QEMU's JobStatus
 */
enum control_job_status {
	JOB_CREATED = 1, /* may be: dismissed */
	JOB_RUNNING,
	JOB_WAITING, /* for finalisation; shown in passing */
	JOB_PENDING,
	JOB_CONCLUDED, /* shown until job-dismiss */
	JOB_ABORTING,
	JOB_NULL, /* gone */
};

/* Jobs: work that outlives its command, seen by query-jobs and JOB_STATUS_CHANGE. */
struct control_job;
MUST_CHECK int control_job_create(struct control *c, const char *id, const char *type,
				  void (*cancel)(void *opaque), void *opaque,
				  struct control_job **ret, struct err *e);
/* Id of a job that isn't concluded, NULL if there is none. */
const char *control_job_running(const struct control *c);
/* Ends it; @e if it failed. It stays listed until job-dismiss. */
void control_job_conclude(struct control_job *j, const struct err *e);

/**
 * struct object_kind - A kind of -object and object-add
 */
struct object_kind {
	const char *name, *help;
	const struct option *table;
};

extern const struct object_kind object_kinds[]; /* closed by a NULL name */
MUST_CHECK int object_check(const json_t *values, enum option_form form, json_t **ret,
			    struct err *e);

/* Parameters of migration, for whoever gets them in another way than by migrate-set-parameters. */
MUST_CHECK int migrate_parameters_check(const json_t *values, enum option_form form, json_t **ret,
					struct err *e);

struct block_node;
json_t *control_block_info(const struct block_node *n); /* BlockDeviceInfo */

/* The commands' man page, outlive-qmp(7), in troff. */
void control_manual(FILE *out);

#endif
