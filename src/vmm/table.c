/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: every option of the command line, in QEMU's spelling, with the keys it
 * knows. Nothing else in the program lists them: the parser, --help, the man page's check and
 * query-command-line-options read these rows.
 */
#include "vmm/options.h"

#define S(name, help)                     \
	{                                 \
		name, OPTION_STRING, help \
	}
#define B(name, help)                   \
	{                               \
		name, OPTION_BOOL, help \
	}
#define I(name, help)                  \
	{                              \
		name, OPTION_INT, help \
	}

static const char *const on_off_auto[] = {"on", "off", "auto", NULL};
static const char *const irqchips[] = {"on", "off", "split", NULL};

static const struct option machine_options[] = {
	S("type", "machine type, or 'help'"),
	S("accel", "accelerator; a list such as kvm:tcg is fine as long as it has kvm"),
	B("usb", "USB controller of the chipset (only off)"),
	B("dump-guest-core", "guest memory in core dumps of the VMM"),
	B("mem-merge", "let the kernel merge equal pages (KSM)"),
	S("memory-backend", "id of the -object that is guest RAM"),
	B("hpet", "high precision event timer"),
	{"acpi", OPTION_ENUM, "ACPI tables (not off)", .names = on_off_auto},
	S("pflash0", "node of the firmware's code"),
	S("pflash1", "node of the firmware's variables"),
	{"kernel-irqchip", OPTION_ENUM, "interrupt controllers in KVM (only on)",
	 .names = irqchips},
	{"smm", OPTION_ENUM, "system management mode", .names = on_off_auto},
	{"vmport", OPTION_ENUM, "VMware's I/O port and mouse", .names = on_off_auto},
	B("i8042", "keyboard and mouse controller (only on)"),
	B("sata", "AHCI controller of the chipset (only on)"),
	B("smbus", "SMBus controller of the chipset (only on)"),
	B("graphics", "graphics output"),
	B("suppress-vmdesc", "no description at the end of a migration stream (only off)"),
	{"max-ram-below-4g", OPTION_SIZE, "RAM below 4 GiB (not here)"},
	S("kernel", "as -kernel"),
	S("initrd", "as -initrd"),
	S("append", "as -append"),
	S("firmware", "as -bios"),
	OPTIONS_END,
};

static const struct option accel_options[] = {
	S("accel", "accelerator: kvm"),
	{"kernel-irqchip", OPTION_ENUM, "interrupt controllers in KVM (only on)",
	 .names = irqchips},
	{"dirty-ring-size", OPTION_INT,
	 "entries of the dirty ring per vCPU, a power of two; 0: dirty log", .max = 65536},
	OPTIONS_END,
};

static const struct option cpu_options[] = {
	{"cpu-model", OPTION_STRING, "CPU model, or 'help'", .required = true},
	OPTIONS_END,
};

static const struct option memory_options[] = {
	{"size", OPTION_SIZE, "RAM; without suffix in MiB", .unit = MiB},
	{"slots", OPTION_INT, "places for memory hot-plug (only 0)", .max = 256},
	{"maxmem", OPTION_SIZE, "RAM with everything plugged (only the size)", .unit = MiB},
	OPTIONS_END,
};

#define COUNT(name, help)                                     \
	{                                                     \
		name, OPTION_INT, help, .min = 1, .max = 4096 \
	}
static const struct option smp_options[] = {
	COUNT("cpus", "vCPUs at start"),
	COUNT("maxcpus", "vCPUs with everything plugged"),
	COUNT("sockets", "sockets"),
	COUNT("dies", "dies in a socket"),
	COUNT("clusters", "clusters in a die (only 1)"),
	COUNT("cores", "cores in a cluster"),
	COUNT("threads", "threads in a core"),
	OPTIONS_END,
};

static const char *const numa_types[] = {"node", "dist", "cpu", NULL};
static const struct option numa_options[] = {
	{"type", OPTION_ENUM, "what is described", .required = true, .names = numa_types},
	{"nodeid", OPTION_INT, "node", .max = 127},
	{"cpus", OPTION_STRING, "vCPUs: N or N-M", .list = true},
	{"mem", OPTION_SIZE, "RAM of the node", .unit = MiB},
	S("memdev", "id of the -object that is the node's RAM"),
	{"src", OPTION_INT, "dist: from", .max = 127},
	{"dst", OPTION_INT, "dist: to", .max = 127},
	{"val", OPTION_INT, "dist: distance", .min = 10, .max = 255},
	{"node-id", OPTION_INT, "cpu: node", .max = 127},
	I("socket-id", "cpu: socket"),
	I("die-id", "cpu: die"),
	I("cluster-id", "cpu: cluster"),
	I("core-id", "cpu: core"),
	I("thread-id", "cpu: thread"),
	OPTIONS_END,
};

static const struct option device_options[] = {
	{"driver", OPTION_STRING, "kind of device, or 'help'", .required = true},
	S("id", "name of the device"),
	OPTIONS_END,
};

static const struct option netdev_options[] = {
	{"type", OPTION_STRING, "kind of back end, or 'help'", .required = true},
	S("id", "name of the back end"),
	OPTIONS_END,
};

static const struct option nic_options[] = {
	{"type", OPTION_STRING, "none, or kind of back end as -netdev", .required = true},
	S("id", "name of the back end and of the device"),
	S("model", "kind of device (default virtio-net-pci)"),
	S("mac", "MAC address"),
	OPTIONS_END,
};

static const struct option blockdev_options[] = {
	{"driver", OPTION_STRING, "kind of node", .required = true},
	{"node-name", OPTION_STRING, "name of the node"},
	OPTIONS_END,
};

static const char *const drive_ifs[] = {"none", "virtio", "pflash", NULL};
static const char *const medias[] = {"disk", "cdrom", NULL};
static const char *const caches[] = {"none",       "writeback", "writethrough",
				     "directsync", "unsafe",    NULL};
static const struct option drive_options[] = {
	S("file", "file, device or NBD address"),
	S("format", "driver (default raw)"),
	{"if", OPTION_ENUM, "what the disk is attached to (default virtio)", .names = drive_ifs},
	S("id", "name of the node"),
	{"index", OPTION_INT, "place on its interface", .max = 255},
	{"unit", OPTION_INT, "as index, for pflash", .max = 1},
	{"media", OPTION_ENUM, "disk or cdrom", .names = medias},
	{"cache", OPTION_ENUM, "caching", .names = caches},
	S("aio", "io_uring, native or threads"),
	B("readonly", "no writes"),
	B("read-only", "no writes"),
	S("discard", "unmap or ignore"),
	S("detect-zeroes", "only off"),
	B("snapshot", "writes go to a temporary file (only off)"),
	S("werror", "what a write error does: report, ignore, enospc, stop"),
	S("rerror", "what a read error does: report, ignore, stop"),
	OPTIONS_END,
};

static const struct option object_options[] = {
	{"qom-type", OPTION_STRING, "kind of object, or 'help'", .required = true},
	{"id", OPTION_STRING, "name of the object"},
	OPTIONS_END,
};

static const struct option chardev_options[] = {
	{"backend", OPTION_STRING, "kind of back end, or 'help'", .required = true},
	S("id", "name of the back end"),
	OPTIONS_END,
};

static const char *const mon_modes[] = {"control", "readline", NULL};
static const struct option mon_options[] = {
	{"chardev", OPTION_STRING, "id of the -chardev", .required = true},
	{"mode", OPTION_ENUM, "control: QMP", .names = mon_modes},
	B("pretty", "indented answers"),
	S("id", "name of the monitor"),
	OPTIONS_END,
};

static const struct option audiodev_options[] = {
	{"driver", OPTION_STRING, "only 'none'", .required = true},
	{"id", OPTION_STRING, "name", .required = true},
	OPTIONS_END,
};

static const struct option global_options[] = {
	{"driver", OPTION_STRING, "kind of device", .required = true},
	{"property", OPTION_STRING, "its property", .required = true},
	{"value", OPTION_STRING, "new default", .required = true},
	OPTIONS_END,
};

static const struct option name_options[] = {
	S("guest", "name of the guest"),
	S("process", "name of the process"),
	B("debug-threads", "threads are named after what they do"),
	OPTIONS_END,
};

static const char *const clocks[] = {"host", "vm", "rt", NULL};
static const char *const driftfixes[] = {"none", "slew", NULL};
static const struct option rtc_options[] = {
	S("base", "utc, localtime or a date (2026-01-31T12:00:00)"),
	{"clock", OPTION_ENUM, "which clock drives it (only host)", .names = clocks},
	{"driftfix", OPTION_ENUM, "what becomes of lost ticks", .names = driftfixes},
	OPTIONS_END,
};

static const struct option boot_options[] = {
	S("order", "legacy order of drives"),
	S("once", "the same, for the first start"),
	B("menu", "firmware's boot menu"),
	S("splash", "picture"),
	I("splash-time", "how long it is shown, ms"),
	I("reboot-timeout", "wait after a failed boot, ms; -1: for ever"),
	B("strict", "only boot what has a bootindex"),
	OPTIONS_END,
};

static const struct option smbios_options[] = {
	S("file", "binary table (not here)"),
	{"type", OPTION_INT, "which table", .max = 255},
	S("vendor", "type 0"),
	S("version", "types 0 to 4"),
	S("date", "type 0"),
	S("release", "type 0: MAJOR.MINOR"),
	B("uefi", "type 0"),
	S("manufacturer", "types 1 to 4, 17"),
	S("product", "types 1, 2"),
	S("serial", "types 1 to 4, 17"),
	S("uuid", "type 1"),
	S("sku", "types 1, 3"),
	S("family", "type 1"),
	S("asset", "types 2 to 4, 17"),
	S("location", "type 2"),
	S("sock_pfx", "type 4"),
	S("part", "types 4, 17"),
	I("max-speed", "type 4, MHz"),
	I("current-speed", "type 4, MHz"),
	I("processor-id", "type 4"),
	S("internal_reference", "type 8"),
	S("external_reference", "type 8"),
	I("connector_type", "type 8"),
	I("port_type", "type 8"),
	{"value", OPTION_STRING, "type 11", .list = true},
	{"path", OPTION_STRING, "type 11: file with the value", .list = true},
	S("loc_pfx", "type 17"),
	S("bank", "type 17"),
	I("speed", "type 17"),
	OPTIONS_END,
};

static const struct option fw_cfg_options[] = {
	{"name", OPTION_STRING, "name of the item (opt/...)", .required = true},
	S("file", "file with its content"),
	S("string", "its content"),
	OPTIONS_END,
};

static const struct option add_fd_options[] = {
	{"fd", OPTION_INT, "inherited descriptor", .required = true, .max = INT32_MAX},
	{"set", OPTION_INT, "fdset it joins", .required = true, .max = INT32_MAX},
	S("opaque", "what the giver calls it"),
	OPTIONS_END,
};

static const struct option overcommit_options[] = {
	B("mem-lock", "lock all memory of the process"),
	B("cpu-pm", "let the guest use the CPU's power management (only off)"),
	OPTIONS_END,
};

static const char *const allow_deny[] = {"allow", "deny", NULL};
static const char *const privileges[] = {"allow", "deny", "children", NULL};
static const struct option sandbox_options[] = {
	{"enable", OPTION_BOOL, "system call filter", .required = true},
	{"obsolete", OPTION_ENUM, "obsolete system calls", .names = allow_deny},
	{"elevateprivileges", OPTION_ENUM, "set*uid and friends", .names = privileges},
	{"spawn", OPTION_ENUM, "new processes", .names = allow_deny},
	{"resourcecontrol", OPTION_ENUM, "process affinity and priority", .names = allow_deny},
	OPTIONS_END,
};

static const struct option msg_options[] = {
	B("timestamp", "log lines begin with the time"),
	B("guest-name", "log lines name the guest (only off)"),
	OPTIONS_END,
};

static const char *const reboots[] = {"reset", "shutdown", NULL};
static const char *const shutdowns[] = {"poweroff", "pause", NULL};
static const char *const panics[] = {"pause", "shutdown", "exit-failure", "none", NULL};
static const char *const watchdogs[] = {"reset", "shutdown", "poweroff", "inject-nmi",
					"pause", "debug",    "none",     NULL};
static const struct option action_options[] = {
	{"reboot", OPTION_ENUM, "when the guest reboots", .names = reboots},
	{"shutdown", OPTION_ENUM, "when the guest powers off", .names = shutdowns},
	{"panic", OPTION_ENUM, "when the guest panics", .names = panics},
	{"watchdog", OPTION_ENUM, "when a watchdog bites", .names = watchdogs},
	OPTIONS_END,
};

static const struct option watchdog_options[] = {
	{"text", OPTION_ENUM, "action", .required = true, .names = watchdogs},
	OPTIONS_END,
};

static const char *const none_only[] = {"none", NULL};
static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
static const struct option level_options[] = {
	{"text", OPTION_ENUM, "how much", .required = true, .names = levels},
	OPTIONS_END,
};

static const struct option none_options[] = {
	{"text", OPTION_ENUM, "only none", .required = true, .names = none_only},
	OPTIONS_END,
};

static const struct option vnc_options[] = {
	{"vnc", OPTION_STRING, "HOST:DISPLAY, unix:PATH or none", .required = true},
	B("password", "a password is needed"),
	S("audiodev", "id of the -audiodev"),
	OPTIONS_END,
};

static const struct option trace_options[] = {
	{"enable", OPTION_STRING, "pattern of trace points", .required = true},
	OPTIONS_END,
};

#define FLAG(n, g, h)                                              \
	{                                                          \
		.name = n, .group = g, .form = VMM_FLAG, .help = h \
	}
#define TEXT(n, g, a, h)                                                          \
	{                                                                         \
		.name = n, .group = g, .form = VMM_TEXT, .argument = a, .help = h \
	}
#define TEXTS(n, g, a, h)                                                                         \
	{                                                                                         \
		.name = n, .group = g, .form = VMM_TEXT, .repeat = true, .argument = a, .help = h \
	}
#define KEYVAL(n, g, i, t, a, h)                                                     \
	{                                                                            \
		.name = n, .group = g, .form = VMM_KEYVAL, .implied = i, .table = t, \
		.argument = a, .help = h                                             \
	}
#define KEYVALS(n, g, i, t, a, h)                                                        \
	{                                                                                \
		.name = n, .group = g, .form = VMM_KEYVAL, .repeat = true, .implied = i, \
		.table = t, .argument = a, .help = h                                     \
	}
#define OPEN(n, g, i, t, a, h)                                                           \
	{                                                                                \
		.name = n, .group = g, .form = VMM_KEYVAL, .repeat = true, .json = true, \
		.open = true, .implied = i, .table = t, .argument = a, .help = h         \
	}
#define NESTED(n, g, i, t, a, h)                                                               \
	{                                                                                      \
		.name = n, .group = g, .form = VMM_KEYVAL, .repeat = true, .json = true,       \
		.open = true, .nest = true, .implied = i, .table = t, .argument = a, .help = h \
	}

const struct vmm_option vmm_options_table[] = {
	KEYVAL("machine", VMM_MACHINE, "type", machine_options, "[type=]NAME[,...]",
	       "machine type"),
	KEYVAL("M", VMM_MACHINE, "type", machine_options, "[type=]NAME[,...]", "the same"),
	KEYVALS("accel", VMM_ACCEL, "accel", accel_options, "kvm[,...]", "accelerator"),
	FLAG("enable-kvm", VMM_ENABLE_KVM, "as -accel kvm"),
	{.name = "cpu",
	 .group = VMM_CPU,
	 .form = VMM_FEATURES,
	 .last = true,
	 .open = true,
	 .implied = "cpu-model",
	 .table = cpu_options,
	 .argument = "MODEL[,FEATURE=on|off...]",
	 .help = "CPU model"},
	KEYVAL("m", VMM_MEMORY, "size", memory_options, "[size=]SIZE[,slots=N,maxmem=SIZE]",
	       "guest RAM"),
	KEYVAL("smp", VMM_SMP, "cpus", smp_options, "[cpus=]N[,maxcpus=N,sockets=N,...]", "vCPUs"),
	KEYVALS("numa", VMM_NUMA, "type", numa_options, "node|dist|cpu,...",
		"NUMA node or distance (not here)"),
	OPEN("device", VMM_DEVICE, "driver", device_options, "DRIVER[,PROPERTY=VALUE...]",
	     "add a device"),
	NESTED("netdev", VMM_NETDEV, "type", netdev_options, "TYPE,id=ID[,...]",
	       "network back end"),
	{.name = "nic",
	 .group = VMM_NIC,
	 .form = VMM_KEYVAL,
	 .repeat = true,
	 .json = true,
	 .open = true,
	 .nest = true,
	 .implied = "type",
	 .table = nic_options,
	 .argument = "none|TYPE[,...]",
	 .help = "network back end and device in one"},
	NESTED("blockdev", VMM_BLOCKDEV, "driver", blockdev_options, "DRIVER,node-name=NAME[,...]",
	       "disk node"),
	KEYVALS("drive", VMM_DRIVE, "file", drive_options, "file=FILE[,if=none|virtio|pflash...]",
		"disk node and device in one"),
	NESTED("object", VMM_OBJECT, "qom-type", object_options, "TYPE,id=ID[,...]",
	       "memory, I/O thread, random numbers, secret, TLS credentials"),
	OPEN("chardev", VMM_CHARDEV, "backend", chardev_options, "TYPE,id=ID[,...]",
	     "character back end"),
	KEYVALS("mon", VMM_MON, "chardev", mon_options, "[chardev=]ID,mode=control",
		"monitor on a -chardev"),
	TEXTS("qmp", VMM_QMP, "unix:PATH,server=on,wait=off",
	      "QMP monitor on a character back end"),
	TEXTS("monitor", VMM_MONITOR, "none", "human monitor: there is none, QMP only"),
	TEXTS("serial", VMM_SERIAL, "none|stdio|pty|chardev:ID|unix:PATH,...", "serial port"),
	TEXTS("parallel", VMM_PARALLEL, "none", "parallel port: there is none"),
	OPEN("audiodev", VMM_AUDIODEV, "driver", audiodev_options, "none,id=ID",
	     "sound: only none"),
	{.name = "global",
	 .group = VMM_GLOBAL,
	 .form = VMM_GLOBALS,
	 .repeat = true,
	 .table = global_options,
	 .argument = "DRIVER.PROPERTY=VALUE",
	 .help = "new default of a device property"},
	KEYVAL("name", VMM_NAME, "guest", name_options, "[guest=]NAME[,...]", "name of the guest"),
	TEXT("uuid", VMM_UUID, "UUID", "UUID of the guest"),
	KEYVAL("rtc", VMM_RTC, NULL, rtc_options, "base=utc|localtime|DATE[,...]",
	       "real-time clock"),
	KEYVAL("boot", VMM_BOOT, "order", boot_options, "[order=]DRIVES[,strict=on...]",
	       "boot order"),
	KEYVALS("smbios", VMM_SMBIOS, NULL, smbios_options, "type=N[,...]", "SMBIOS fields"),
	KEYVALS("fw_cfg", VMM_FW_CFG, "name", fw_cfg_options, "[name=]NAME,file=FILE|string=TEXT",
		"item for firmware and guest"),
	KEYVALS("add-fd", VMM_ADD_FD, NULL, add_fd_options, "fd=N,set=N[,opaque=TEXT]",
		"inherited descriptor as /dev/fdset/N"),
	KEYVAL("overcommit", VMM_OVERCOMMIT, NULL, overcommit_options, "mem-lock=on|off",
	       "memory locking"),
	KEYVAL("sandbox", VMM_SANDBOX, "enable", sandbox_options, "on|off[,...]",
	       "system call filter"),
	KEYVAL("msg", VMM_MSG, NULL, msg_options, "timestamp=on|off", "form of log lines"),
	KEYVAL("action", VMM_ACTION, NULL, action_options, "EVENT=ACTION,...",
	       "what guest events do"),
	{.name = "watchdog-action",
	 .group = VMM_WATCHDOG_ACTION,
	 .form = VMM_TEXT,
	 .table = watchdog_options,
	 .argument = "reset|poweroff|pause|...",
	 .help = "what a watchdog does"},
	{.name = "display",
	 .group = VMM_DISPLAY,
	 .form = VMM_TEXT,
	 .table = none_options,
	 .argument = "none",
	 .help = "no window"},
	{.name = "vga",
	 .group = VMM_VGA,
	 .form = VMM_TEXT,
	 .table = none_options,
	 .argument = "none",
	 .help = "no graphics card"},
	KEYVALS("vnc", VMM_VNC, "vnc", vnc_options, "HOST:DISPLAY[,...]|none", "VNC server"),
	FLAG("nographic", VMM_NOGRAPHIC,
	     "no display; the serial port goes to stdio unless -nodefaults"),
	TEXT("kernel", VMM_KERNEL, "FILE", "bzImage or PVH ELF to boot"),
	TEXT("initrd", VMM_INITRD, "FILE", "initial RAM disk for -kernel"),
	TEXT("append", VMM_APPEND, "TEXT", "kernel command line for -kernel"),
	TEXT("bios", VMM_BIOS, "FILE", "firmware image"),
	TEXT("incoming", VMM_INCOMING, "defer|URI", "wait for a migration"),
	FLAG("S", VMM_STOPPED, "don't start the vCPUs, wait for QMP cont"),
	FLAG("nodefaults", VMM_NODEFAULTS, "no default devices"),
	FLAG("no-user-config", VMM_NO_USER_CONFIG, "there are no configuration files anyway"),
	FLAG("daemonize", VMM_DAEMONIZE, "go to the background once the monitors listen"),
	FLAG("no-reboot", VMM_NO_REBOOT, "exit instead of rebooting"),
	FLAG("no-shutdown", VMM_NO_SHUTDOWN, "stop instead of exiting when the guest powers off"),
	FLAG("no-hpet", VMM_NO_HPET, "as -machine hpet=off"),
	TEXT("pidfile", VMM_PIDFILE, "FILE", "write the process id there"),
	TEXT("run-as", VMM_RUNAS, "USER", "change to this user once started"),
	TEXT("runas", VMM_RUNAS, "USER", "the same"),
	TEXT("D", VMM_LOGFILE, "FILE", "log to this file instead of stderr"),
	{.name = "d",
	 .group = VMM_LOG,
	 .form = VMM_TEXT,
	 .table = level_options,
	 .argument = "error|warn|info|debug",
	 .help = "how much to log"},
	KEYVALS("trace", VMM_TRACE, "enable", trace_options, "[enable=]PATTERN",
		"log matching trace points"),
	FLAG("probe-host", VMM_PROBE_HOST, "print what KVM offers here as JSON, and exit"),
	FLAG("dump-state-schema", VMM_DUMP_STATE_SCHEMA,
	     "print how each device's state stands in a stream as JSON, and exit"),
	TEXT("verify-snapshot", VMM_VERIFY_SNAPSHOT, "FILE",
	     "hold all of a snapshot against its checksums, say what is damaged, and exit"),
	FLAG("version", VMM_VERSION, "print the version, and exit"),
	FLAG("help", VMM_HELP, "print this, and exit"),
	FLAG("h", VMM_HELP, "the same"),
	{0},
};
