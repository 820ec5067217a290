/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: the machine's part of QMP that runs, stops, shows and changes it.
 * Arguments are checked already. */
#include "vmm/q35/migration/migration.h"
#include "vmm/q35/ops/ops.h"
#include "vmm/q35/upgrade/upgrade.h"

#include "block/block.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int query_status(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
			struct err *e)
{
	const struct guest *g = opaque;

	*ret = json_pack("{s:b, s:b, s:s}", "running", vm_running(&g->q->vm), "singlestep", 0,
			 "status", run_state_name(g->q->vm.state));
	return 0;
}

static int stop(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		struct err *e)
{
	struct guest *g = opaque;
	int r = guest_not_dumping(g, e);

	if (r < 0)
		return r;
	if (g->q->vm.state == RUN_INMIGRATE)
		g->stopped = true;
	else if (g->q->vm.state == RUN_FINISH_MIGRATE)
		g->migration->was = RUN_PAUSED;
	else
		vm_stop(&g->q->vm, RUN_PAUSED);
	return 0;
}

/* After a migration the images were let go; who runs the guest here must have them. */
static int run_here(struct guest *g, struct err *e)
{
	int r = block_activate_all(e);

	if (r >= 0)
		vm_start(&g->q->vm);
	return r;
}

/**
 * guest_stays() - May devices change, or is the guest on its way somewhere else?
 * @g:		The guest
 * @e:		Set on failure only
 *
 * Errors: EBUSY it is being migrated, upgraded or dumped
 * Return: 0, or a negative errno
 */
int guest_stays(const struct guest *g, struct err *e)
{
	if (migration_busy(g->migration))
		return err_set(e, EBUSY, "not while the guest is being migrated");
	if (upgrade_busy())
		return err_set(e, EBUSY, "not while the guest is being upgraded");
	return guest_not_dumping(g, e);
}

static int cont(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		struct err *e)
{
	struct guest *g = opaque;
	int r = guest_not_dumping(g, e);

	if (r < 0)
		return r;
	switch (g->q->vm.state) {
	case RUN_INMIGRATE: g->stopped = false; return 0;
	case RUN_INTERNAL_ERROR:
	case RUN_SHUTDOWN: return err_set(e, EPERM, "Resetting the Virtual Machine is required");
	case RUN_SUSPENDED: return 0; /* it sleeps on until it is woken, as on QEMU */
	case RUN_FINISH_MIGRATE: return err_set(e, EPERM, "Migration is not finalized yet");
	default: return run_here(g, e);
	}
}

static int system_reset(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
			struct err *e)
{
	struct guest *g = opaque;

	if (g->q->vm.state == RUN_FINISH_MIGRATE || g->q->vm.state == RUN_INMIGRATE)
		return err_set(e, EPERM, "the guest is just moving");
	if (guest_not_dumping(g, e) < 0)
		return -e->code;
	vm_reset(&g->q->vm, false);
	return 0;
}

static int system_wakeup(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
			 struct err *e)
{
	struct guest *g = opaque;

	return vm_wakeup(&g->q->vm, WAKEUP_OTHER, e);
}

static int system_powerdown(void *opaque, struct control_request *rq, const json_t *args,
			    json_t **ret, struct err *e)
{
	struct guest *g = opaque;

	vm_powerdown(&g->q->vm);
	return 0;
}

static int quit(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		struct err *e)
{
	struct guest *g = opaque;

	loop_exit(g->v->loop);
	return 0;
}

/* Without firmware there is nobody whom a guest could wake up to: it isn't offered to sleep. */
static int query_current_machine(void *opaque, struct control_request *rq, const json_t *args,
				 json_t **ret, struct err *e)
{
	const struct guest *g = opaque;

	*ret = json_pack("{s:b}", "wakeup-suspend-support", !g->q->direct);
	return 0;
}

/**
 * guest_ops_fill() - The machine's part of QMP
 * @g:		The guest
 */
void guest_ops_fill(struct guest *g)
{
	g->ops = (struct control_ops){
		.opaque = g,
		.query_status = query_status,
		.stop = stop,
		.cont = cont,
		.system_reset = system_reset,
		.system_powerdown = system_powerdown,
		.system_wakeup = system_wakeup,
		.quit = quit,
		.query_current_machine = query_current_machine,
		.query_cpus_fast = op_query_cpus_fast,
		.query_hotpluggable_cpus = op_query_hotpluggable_cpus,
		.query_acpi_ospm_status = op_query_acpi_ospm_status,
		.query_cpu_definitions = op_query_cpu_definitions,
		.query_cpu_model_expansion = op_query_cpu_model_expansion,
		.inject_nmi = op_inject_nmi,
		.send_key = op_send_key,
		.rtc_reset_reinjection = op_rtc_reset_reinjection,
		.set_action = op_set_action,
		.watchdog_set_action = op_watchdog_set_action,
		.device_add = op_device_add,
		.device_del = op_device_del,
		.object_add = op_object_add,
		.object_del = op_object_del,
		.query_iothreads = op_query_iothreads,
		.query_memdev = op_query_memdev,
		.qom_list = op_qom_list,
		.qom_get = op_qom_get,
		.qom_set = op_qom_set,
		.balloon = op_balloon,
		.query_balloon = op_query_balloon,
		.query_vm_generation_id = op_query_vm_generation_id,
		.query_memory_size_summary = op_query_memory_size,
		.query_memory_devices = op_query_memory_devices,
		.query_block = op_query_block,
		.query_blockstats = op_query_blockstats,
		.block_set_io_throttle = op_block_set_io_throttle,
		.set_link = op_set_link,
		.query_rx_filter = op_query_rx_filter,
		.query_pci = op_query_pci,
		.announce_self = op_announce_self,
		.query_stats = op_query_stats,
		.query_stats_schemas = op_query_stats_schemas,
		.dump_guest_memory = op_dump_guest_memory,
		.query_dump = op_query_dump,
		.memory_read = guest_memory_read,
		.memory_read_virtual = guest_memory_read_virtual,
		.migrate = guest_migrate,
		.check_migration = guest_check_migration,
		.query_vcpu_dirty_limit = guest_query_vcpu_dirty_limit,
		.migrate_cancel = guest_migrate_cancel,
		.migrate_continue = guest_migrate_continue,
		.migrate_pause = guest_migrate_pause,
		.migrate_incoming = guest_migrate_incoming,
		.rollback = guest_rollback,
		.snapshot_save = guest_snapshot_save,
		.snapshot_load = guest_snapshot_load,
		.snapshot_delete = guest_snapshot_delete,
		.point_drop = guest_point_drop,
		.point_keep = guest_point_keep,
		.query_migrate = guest_query_migrate,
		.migrate_set_capabilities = guest_migrate_set_capabilities,
		.query_migrate_capabilities = guest_query_migrate_capabilities,
		.migrate_set_parameters = guest_migrate_set_parameters,
		.query_migrate_parameters = guest_query_migrate_parameters,
		.upgrade = guest_upgrade,
		.query_blockers = guest_query_blockers,
		.query_configuration = op_query_configuration,
	};
}
