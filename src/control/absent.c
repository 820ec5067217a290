/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: commands that QEMU 7.2 has and this program doesn't, each with the reason
 * or the other way: part of the error, and of the man page. A test compares the list with a stock
 * QEMU.
 */
#include "control/command.h"

#include <string.h>

#define JOBS     "disks have no jobs: QEMU's tools or the storage itself copy them"
#define BITMAPS  "there are no dirty bitmaps of disks"
#define EXPORTS  "disks aren't exported"
#define MEDIA    "no drive has media that change"
#define SCREEN   "there is no display"
#define EMULATED "guests run on KVM only, never emulated or replayed"
#define COLO     "there is no standby yet"
#define XEN      "guests run on KVM only, not on Xen"
#define SECURE   "there are no encrypted guests and enclaves"
#define TPM      "there is no TPM"
#define ROCKER   "there is no such switch"
#define POSTCOPY "there is no post-copy yet"
#define INTERNAL "for those who debug QEMU; outlive inspect shows state"

const struct absent_command absent_commands[] = {
	{"add_client", SCREEN},
	{"block-commit", JOBS},
	{"block-dirty-bitmap-add", BITMAPS},
	{"block-dirty-bitmap-clear", BITMAPS},
	{"block-dirty-bitmap-disable", BITMAPS},
	{"block-dirty-bitmap-enable", BITMAPS},
	{"block-dirty-bitmap-merge", BITMAPS},
	{"block-dirty-bitmap-remove", BITMAPS},
	{"block-export-add", EXPORTS},
	{"block-export-del", EXPORTS},
	{"block-job-cancel", JOBS},
	{"block-job-complete", JOBS},
	{"block-job-dismiss", JOBS},
	{"block-job-finalize", JOBS},
	{"block-job-pause", JOBS},
	{"block-job-resume", JOBS},
	{"block-job-set-speed", JOBS},
	{"block-latency-histogram-set", "query-blockstats has counters only"},
	{"block-set-write-threshold", "raw images don't grow"},
	{"block-stream", JOBS},
	{"blockdev-backup", JOBS},
	{"blockdev-change-medium", MEDIA},
	{"blockdev-close-tray", MEDIA},
	{"blockdev-create", JOBS},
	{"blockdev-insert-medium", MEDIA},
	{"blockdev-mirror", JOBS},
	{"blockdev-open-tray", MEDIA},
	{"blockdev-remove-medium", MEDIA},
	{"blockdev-reopen",
	 "a node's options stay; block_resize and block_set_io_throttle change what can be"},
	{"blockdev-snapshot", JOBS},
	{"blockdev-snapshot-delete-internal-sync", JOBS},
	{"blockdev-snapshot-internal-sync", JOBS},
	{"blockdev-snapshot-sync", JOBS},
	{"calc-dirty-rate", "query-migrate has the rate of each round"},
	{"cancel-vcpu-dirty-limit", "migration sets it by itself: capability dirty-limit"},
	{"change-backing-file", JOBS},
	{"change-vnc-password", SCREEN},
	{"chardev-change", "use chardev-add and device_add"},
	{"chardev-send-break", "no back end carries a break"},
	{"client_migrate_info", SCREEN},
	{"display-reload", SCREEN},
	{"display-update", SCREEN},
	{"drive-backup", JOBS},
	{"drive-mirror", JOBS},
	{"dumpdtb", "x86 machines have no device tree"},
	{"eject", MEDIA},
	{"expire_password", SCREEN},
	{"human-monitor-command", "there is no human monitor; outlive has commands for people"},
	{"input-send-event", SCREEN},
	{"job-complete", JOBS},
	{"job-finalize", JOBS},
	{"job-pause", JOBS},
	{"job-resume", JOBS},
	{"migrate-recover", POSTCOPY},
	{"migrate-start-postcopy", POSTCOPY},
	{"nbd-server-add", EXPORTS},
	{"nbd-server-remove", EXPORTS},
	{"nbd-server-start", EXPORTS},
	{"nbd-server-stop", EXPORTS},
	{"query-block-exports", EXPORTS},
	{"query-block-jobs", JOBS},
	{"query-colo-status", COLO},
	{"query-dirty-rate", "query-migrate has the rate of each round"},
	{"query-display-options", SCREEN},
	{"query-mice", SCREEN},
	{"query-pr-managers", "there are no persistent reservations"},
	{"query-replay", EMULATED},
	{"query-rocker", ROCKER},
	{"query-rocker-of-dpa-flows", ROCKER},
	{"query-rocker-of-dpa-groups", ROCKER},
	{"query-rocker-ports", ROCKER},
	{"query-sev", SECURE},
	{"query-sev-attestation-report", SECURE},
	{"query-sev-capabilities", SECURE},
	{"query-sev-launch-measure", SECURE},
	{"query-sgx", SECURE},
	{"query-sgx-capabilities", SECURE},
	{"query-spice", SCREEN},
	{"query-tpm", TPM},
	{"query-tpm-models", TPM},
	{"query-tpm-types", TPM},
	{"query-vnc", SCREEN},
	{"query-vnc-servers", SCREEN},
	{"query-xen-replication-status", XEN},
	{"query-yank", "migrate_cancel and migrate-pause cut channels"},
	{"replay-break", EMULATED},
	{"replay-delete-break", EMULATED},
	{"replay-seek", EMULATED},
	{"screendump", SCREEN},
	{"set-numa-node", "the machine is made from the command line as a whole"},
	{"set-vcpu-dirty-limit", "migration sets it by itself: capability dirty-limit"},
	{"set_password", SCREEN},
	{"sev-inject-launch-secret", SECURE},
	{"trace-event-get-state", "trace points are chosen at start: -trace"},
	{"trace-event-set-state", "trace points are chosen at start: -trace"},
	{"transaction", JOBS},
	{"x-blockdev-amend", "images are raw"},
	{"x-blockdev-change", "no node has several children that change"},
	{"x-blockdev-set-iothread", "use iothread= of the device"},
	{"x-colo-lost-heartbeat", COLO},
	{"x-debug-block-dirty-bitmap-sha256", BITMAPS},
	{"x-debug-query-block-graph", "query-named-block-nodes lists the nodes"},
	{"x-exit-preconfig", "the machine is made from the command line as a whole"},
	{"x-query-irq", INTERNAL},
	{"x-query-jit", EMULATED},
	{"x-query-numa", INTERNAL},
	{"x-query-opcount", EMULATED},
	{"x-query-profile", EMULATED},
	{"x-query-ramblock", INTERNAL},
	{"x-query-rdma", INTERNAL},
	{"x-query-roms", INTERNAL},
	{"x-query-usb", INTERNAL},
	{"x-query-virtio", INTERNAL},
	{"x-query-virtio-queue-element", INTERNAL},
	{"x-query-virtio-queue-status", INTERNAL},
	{"x-query-virtio-status", INTERNAL},
	{"x-query-virtio-vhost-queue-status", INTERNAL},
	{"xen-colo-do-checkpoint", XEN},
	{"xen-load-devices-state", XEN},
	{"xen-save-devices-state", XEN},
	{"xen-set-global-dirty-log", XEN},
	{"xen-set-replication", XEN},
	{"yank", "migrate_cancel and migrate-pause cut channels"},
	{0},
};

/**
 * command_absence() - Why there is no such command
 * @name:	As on the wire
 *
 * Return: a constant, or NULL if QEMU has none either
 */
const char *command_absence(const char *name)
{
	for (const struct absent_command *a = absent_commands; a->name; a++)
		if (!strcmp(a->name, name))
			return a->why;
	return NULL;
}
