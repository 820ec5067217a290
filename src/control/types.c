/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what answers and events look like, for query-qmp-schema and the man page.
 * Members are rows as for arguments; "required" means always there. Types whose members a client
 * never looks up stay short.
 */
#include "control/command.h"

#define STR(n, h)                                     \
	{                                             \
		n, OPTION_STRING, h, .required = true \
	}
#define INT(n, h)                                  \
	{                                          \
		n, OPTION_INT, h, .required = true \
	}
#define BOOL(n, h)                                  \
	{                                           \
		n, OPTION_BOOL, h, .required = true \
	}
#define FIELDS(name) static const struct option name[]

FIELDS(version_triple) = {INT("major", "of QEMU"), INT("minor", "of QEMU"), INT("micro", "of QEMU"),
			  OPTIONS_END};
FIELDS(version_info) = {{"qemu", OPTION_OBJECT, "QEMU's version", .required = true,
			 .fields = version_triple, .type = "VersionTriple"},
			STR("package", "our version"),
			OPTIONS_END};
FIELDS(name_only) = {STR("name", "its name"), OPTIONS_END};
FIELDS(name_info) = {{"name", OPTION_STRING, "of the guest"}, OPTIONS_END};
FIELDS(uuid_info) = {STR("UUID", "of the guest"), OPTIONS_END};
FIELDS(kvm_info) = {BOOL("enabled", "in use"), BOOL("present", "can be used"), OPTIONS_END};
FIELDS(target_info) = {STR("arch", "of the guest"), OPTIONS_END};
FIELDS(status_info) = {BOOL("running", "vCPUs run"), BOOL("singlestep", "never"),
		       STR("status", "run state"), OPTIONS_END};
FIELDS(type_info) = {
	STR("name", "the kind"), {"parent", OPTION_STRING, "what it is a kind of"}, OPTIONS_END};
FIELDS(property_info) = {STR("name", "the property"),
			 STR("type", "its type"),
			 {"description", OPTION_STRING, "what it is for"},
			 {"default-value", OPTION_ANY, "what it is unless given"},
			 OPTIONS_END};
FIELDS(iothread_info) = {STR("id", "its name"), INT("thread-id", "its thread"), OPTIONS_END};
FIELDS(chardev_info) = {STR("label", "its name"), STR("filename", "what it is connected to"),
			BOOL("frontend-open", "something uses it"), OPTIONS_END};
FIELDS(chardev_return) = {{"pty", OPTION_STRING, "the pseudo terminal"}, OPTIONS_END};
FIELDS(addfd_info) = {INT("fdset-id", "the set"), INT("fd", "the descriptor"), OPTIONS_END};
FIELDS(fdset_fd) = {
	INT("fd", "the descriptor"), {"opaque", OPTION_STRING, "as given"}, OPTIONS_END};
FIELDS(fdset_info) = {INT("fdset-id", "the set"),
		      {"fds", OPTION_OBJECT, "in it", .required = true, .list = true,
		       .fields = fdset_fd, .type = "FdsetFdInfo"},
		      OPTIONS_END};
FIELDS(option_info) = {STR("option", "without dash"),
		       {"parameters", OPTION_ANY, "keys it knows", .required = true, .list = true},
		       OPTIONS_END};
FIELDS(machine_info) = {STR("name", "machine type"),
			{"alias", OPTION_STRING, "other name"},
			{"is-default", OPTION_BOOL, "taken without -machine"},
			INT("cpu-max", "vCPUs"),
			BOOL("hotpluggable-cpus", "vCPUs can be plugged"),
			{"default-cpu-type", OPTION_STRING, "taken without -cpu"},
			{"default-ram-id", OPTION_STRING, "name of guest RAM"},
			BOOL("numa-mem-supported", "-numa mem="),
			BOOL("deprecated", "will go"),
			OPTIONS_END};
FIELDS(current_machine) = {
	BOOL("wakeup-suspend-support", "a guest that sleeps can be woken by system_wakeup"),
	OPTIONS_END};
FIELDS(cpu_definition) = {
	STR("name", "model"),
	STR("typename", "kind"),
	BOOL("static", "never changes"),
	BOOL("migration-safe", "means the same everywhere"),
	{"unavailable-features", OPTION_STRING, "what this host lacks", .list = true},
	{"alias-of", OPTION_STRING, "the model it stands for on this machine type"},
	BOOL("deprecated", "will go"),
	OPTIONS_END};
FIELDS(model_info) = {
	STR("name", "of the model"), {"props", OPTION_ANY, "its properties"}, OPTIONS_END};
FIELDS(model_expansion) = {{"model", OPTION_OBJECT, "the model", .required = true,
			    .fields = model_info, .type = "CpuModelInfo"},
			   OPTIONS_END};
FIELDS(cpu_props) = {{"node-id", OPTION_INT, "NUMA node"}, {"socket-id", OPTION_INT, "socket"},
		     {"die-id", OPTION_INT, "die"},        {"core-id", OPTION_INT, "core"},
		     {"thread-id", OPTION_INT, "thread"},  OPTIONS_END};
#define PROPS_REQUIRED                                                                  \
	{                                                                               \
		"props", OPTION_OBJECT, "place", .required = true, .fields = cpu_props, \
						 .type = "CpuInstanceProperties"        \
	}
FIELDS(cpu_info) = {INT("cpu-index", "number"),      STR("qom-path", "in the object tree"),
		    INT("thread-id", "host thread"), PROPS_REQUIRED,
		    STR("target", "architecture"),   OPTIONS_END};
FIELDS(hotpluggable_cpu) = {STR("type", "kind"),
			    INT("vcpus-count", "vCPUs there"),
			    PROPS_REQUIRED,
			    {"qom-path", OPTION_STRING, "if it is there"},
			    OPTIONS_END};
#define OST_FIELDS                                                                              \
	{"device", OPTION_STRING, "its id, if it has one"}, STR("slot", "number of the place"), \
		STR("slot-type", "CPU"), INT("source", "what it is about, as ACPI's _OST"),     \
		INT("status", "what became of it, likewise; 0: done")
FIELDS(stat) = {STR("name", "of the counter"),
		{"value", OPTION_ANY, "a number, or the buckets of a histogram", .required = true},
		OPTIONS_END};
FIELDS(stats_result) = {STR("provider", "who counts"),
			{"qom-path", OPTION_STRING, "the vCPU"},
			{"stats", OPTION_OBJECT, "counters", .required = true, .list = true,
			 .fields = stat, .type = "Stats"},
			OPTIONS_END};
FIELDS(stat_schema) = {STR("name", "of the counter"),
		       STR("type", "cumulative, instant, peak, linear-histogram, log2-histogram"),
		       {"unit", OPTION_STRING, "bytes, seconds, cycles or boolean"},
		       {"base", OPTION_INT, "of the exponent"},
		       INT("exponent", "what a value is to be multiplied by"),
		       {"bucket-size", OPTION_INT, "of a linear histogram"},
		       OPTIONS_END};
FIELDS(stats_schema) = {STR("provider", "who counts"),
			STR("target", "vm or vcpu"),
			{"stats", OPTION_OBJECT, "counters", .required = true, .list = true,
			 .fields = stat_schema, .type = "StatsSchemaValue"},
			OPTIONS_END};
FIELDS(ost_info) = {OST_FIELDS, OPTIONS_END};
FIELDS(guid_info) = {STR("guid", "the generation id"), OPTIONS_END};
FIELDS(balloon_info) = {INT("actual", "bytes"), OPTIONS_END};
FIELDS(memory_info) = {INT("base-memory", "bytes at start"),
		       {"plugged-memory", OPTION_INT, "bytes plugged"},
		       OPTIONS_END};
FIELDS(dump_info) = {STR("status", "none, active, completed or failed"),
		     INT("completed", "bytes written"), INT("total", "of"), OPTIONS_END};
FIELDS(dump_capability) = {
	{"formats", OPTION_STRING, "of dump-guest-memory", .required = true, .list = true},
	OPTIONS_END};
FIELDS(job_info) = {STR("id", "its name"),
		    STR("type", "what it does"),
		    STR("status", "where it is"),
		    INT("current-progress", "done"),
		    INT("total-progress", "of"),
		    {"error", OPTION_STRING, "why it failed"},
		    OPTIONS_END};
FIELDS(capability_status) = {STR("capability", "which"), BOOL("state", "on or off"), OPTIONS_END};
FIELDS(migration_check) = {
	STR("target", "version of the Outlive that answered, or unknown"),
	{"mismatches", OPTION_STRING, "what stands in the way, with its remedy", .required = true,
	 .list = true},
	{"unchecked", OPTION_STRING, "what couldn't be compared", .required = true, .list = true},
	OPTIONS_END};
FIELDS(dirty_limit_info) = {INT("cpu-index", "which vCPU"), INT("limit-rate", "MiB a second"),
			    INT("current-rate", "MiB a second since the limit holds"), OPTIONS_END};
FIELDS(migration_info) = {
	{"status", OPTION_STRING, "phase"},
	{"blocked-reasons", OPTION_STRING, "why the guest can't move at all", .list = true},
	{"outlive-mismatches", OPTION_STRING, "why the target doesn't fit", .list = true},
	{"total-time", OPTION_INT, "ms"},
	{"downtime", OPTION_INT, "ms"},
	{"expected-downtime", OPTION_INT, "ms"},
	{"setup-time", OPTION_INT, "ms"},
	{"ram", OPTION_ANY, "counters"},
	{"socket-address", OPTION_ANY, "where it waits for a source", .list = true},
	{"error-desc", OPTION_STRING, "why it failed"},
	{"outlive-phase", OPTION_STRING, "phase of the engine"},
	{"outlive-downtime-us", OPTION_INT, "pause, us"},
	{"outlive-expected-downtime-us", OPTION_INT, "pause if it were now, us"},
	{"outlive-pause-us", OPTION_ANY, "when each step of the pause was done"},
	{"outlive-expected-us", OPTION_ANY, "when each would be done, if it were now"},
	{"outlive-rounds", OPTION_ANY, "the newest rounds that are over"},
	{"outlive-converges", OPTION_BOOL,
	 "will the pause fit the limit, if the guest goes on so?"},
	{"outlive-converge-ms", OPTION_INT, "when, ms from now"},
	{"cpu-throttle-percentage", OPTION_INT, "by how much all vCPUs are slowed"},
	{"dirty-limit-throttle-time-per-round", OPTION_INT,
	 "longest rest of a vCPU when its dirty ring was last emptied, us"},
	{"dirty-limit-ring-full-time", OPTION_INT,
	 "in which an average vCPU fills its dirty ring, us; 0: they don't write"},
	{"outlive-hinted-pages", OPTION_INT, "not sent, since the guest didn't use them"},
	{"outlive-content-hashes", OPTION_ANY, "pages that the target had already"},
	{"blocked-reasons", OPTION_STRING, "why it can't", .list = true},
	OPTIONS_END};
FIELDS(upgrade_report) = {STR("from", "version it was"),
			  STR("to", "version it is now"),
			  STR("stage", "last stage reached"),
			  BOOL("done", "the guest runs in the new process"),
			  {"stages-us", OPTION_ANY, "duration of each stage", .required = true},
			  {"pause-us", OPTION_ANY, "moments of the pause", .required = true},
			  OPTIONS_END};
FIELDS(anything) = {OPTIONS_END};

const struct qmp_type qmp_types[] = {
	{"VersionInfo", version_info},
	{"CommandInfo", name_only},
	{"SchemaInfo", name_only},
	{"CommandLineOptionInfo", option_info},
	{"NameInfo", name_info},
	{"UuidInfo", uuid_info},
	{"KvmInfo", kvm_info},
	{"TargetInfo", target_info},
	{"StatusInfo", status_info},
	{"ObjectTypeInfo", type_info},
	{"ObjectPropertyInfo", property_info},
	{"IOThreadInfo", iothread_info},
	{"ChardevInfo", chardev_info},
	{"ChardevBackendInfo", name_only},
	{"ChardevReturn", chardev_return},
	{"AddfdInfo", addfd_info},
	{"FdsetInfo", fdset_info},
	{"MachineInfo", machine_info},
	{"CurrentMachineParams", current_machine},
	{"CpuDefinitionInfo", cpu_definition},
	{"CpuModelExpansionInfo", model_expansion},
	{"CpuInfoFast", cpu_info},
	{"HotpluggableCPU", hotpluggable_cpu},
	{"ACPIOSTInfo", ost_info},
	{"GuidInfo", guid_info},
	{"StatsResult", stats_result},
	{"StatsSchema", stats_schema},
	{"BalloonInfo", balloon_info},
	{"MemoryInfo", memory_info},
	{"DumpQueryResult", dump_info},
	{"DumpGuestMemoryCapability", dump_capability},
	{"JobInfo", job_info},
	{"MigrationCapabilityStatus", capability_status},
	{"MigrationInfo", migration_info},
	{"DirtyLimitInfo", dirty_limit_info},
	{"OutliveMigrationCheck", migration_check},
	{"UpgradeReport", upgrade_report},
	{"MigrationParameters", anything},
	{"BlockDeviceInfo", anything},
	{"BlockInfo", anything},
	{"BlockStats", anything},
	{0},
};

static const char *const aios[] = {"threads", "native", "io_uring", NULL};
FIELDS(file_fields) = {STR("filename", "file or device"),
		       {"aio", OPTION_ENUM, "how it is read and written", .names = aios,
			.type = "BlockdevAioOptions"},
		       OPTIONS_END};

/* Clients look for some arguments below the value they belong to. */
const struct qmp_variant qmp_variants[] = {
	{"blockdev-add", "driver", "file", file_fields},
	{"blockdev-add", "driver", "host_device", file_fields},
	{0},
};

FIELDS(shutdown_event) = {BOOL("guest", "by the guest"), STR("reason", "why"), OPTIONS_END};
FIELDS(ost_event) = {{"info", OPTION_OBJECT, "what", .required = true, .fields = ost_info,
		      .type = "ACPIOSTInfo"},
		     OPTIONS_END};
FIELDS(deleted_event) = {
	{"device", OPTION_STRING, "its id"}, STR("path", "in the object tree"), OPTIONS_END};
FIELDS(migration_event) = {STR("status", "phase"), OPTIONS_END};
FIELDS(pass_event) = {INT("pass", "round"), OPTIONS_END};
FIELDS(job_event) = {STR("id", "the job"), STR("status", "where it is"), OPTIONS_END};
FIELDS(action_event) = {STR("action", "what was done"), OPTIONS_END};
FIELDS(panicked_event) = {
	STR("action", "what was done"), {"info", OPTION_ANY, "from the guest"}, OPTIONS_END};
FIELDS(balloon_event) = {INT("actual", "bytes"), OPTIONS_END};
FIELDS(rtc_event) = {INT("offset", "seconds from what -rtc base= says"),
		     STR("qom-path", "the clock"), OPTIONS_END};
FIELDS(serial_event) = {STR("id", "the port"), BOOL("open", "by the guest"), OPTIONS_END};
FIELDS(rx_event) = {
	{"name", OPTION_STRING, "the device"}, STR("path", "in the object tree"), OPTIONS_END};
FIELDS(io_error_event) = {STR("device", "the disk"),
			  {"node-name", OPTION_STRING, "its node"},
			  STR("operation", "read or write"),
			  STR("action", "what was done"),
			  {"nospace", OPTION_BOOL, "the storage is full"},
			  STR("reason", "why"),
			  OPTIONS_END};

FIELDS(dump_event) = {{"result", OPTION_OBJECT, "how it ended", .required = true,
		       .fields = dump_info, .type = "DumpQueryResult"},
		      {"error", OPTION_STRING, "why it failed"},
		      OPTIONS_END};

const struct qmp_event qmp_events[] = {
	{"SHUTDOWN", "the guest powered off, or the VMM is asked to end", shutdown_event},
	{"POWERDOWN", "the power button was pressed", NULL},
	{"RESET", "the guest was reset", shutdown_event},
	{"STOP", "the vCPUs stopped", NULL},
	{"RESUME", "the vCPUs run", NULL},
	{"SUSPEND", "the guest suspended itself", NULL},
	{"SUSPEND_DISK", "it did so to disk, and powers off", NULL},
	{"WAKEUP", "it woke up", NULL},
	{"WATCHDOG", "a watchdog bit", action_event},
	{"GUEST_PANICKED", "the guest's kernel panicked", panicked_event},
	{"GUEST_CRASHLOADED", "it panicked and saves its memory", panicked_event},
	{"DEVICE_DELETED", "the guest gave a device back", deleted_event},
	{"ACPI_DEVICE_OST", "the guest says what became of a vCPU that came or shall go",
	 ost_event},
	{"DEVICE_UNPLUG_GUEST_ERROR", "the guest keeps a device", deleted_event},
	{"MIGRATION", "a new phase", migration_event},
	{"MIGRATION_PASS", "a new round over guest RAM", pass_event},
	{"JOB_STATUS_CHANGE", "a job got further", job_event},
	{"DUMP_COMPLETED", "dump-guest-memory is over", dump_event},
	{"BALLOON_CHANGE", "the balloon changed its size", balloon_event},
	{"RTC_CHANGE", "the guest set its clock", rtc_event},
	{"VSERPORT_CHANGE", "the guest opened or closed a port", serial_event},
	{"NIC_RX_FILTER_CHANGED", "the guest changed a receive filter", rx_event},
	{"BLOCK_IO_ERROR", "a disk failed", io_error_event},
	{"OUTLIVE_UPGRADED", "another process has the guest and serves this connection",
	 upgrade_report},
	{0},
};
