/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: every subcommand, one row each; what others add (upgrade, migrate ...) goes
 * here. */
#include "cli/cli.h"
#include "cli/migrate_tls.h"

static const struct cli_option run_options[] = {
	{"memory", 'm', "SIZE", "guest RAM (default 1G)"},
	{"cpus", 'c', "N", "vCPUs (default 1)"},
	{"kernel", 'k', "FILE", "kernel to boot: bzImage or PVH ELF"},
	{"initrd", 'i', "FILE", "initial RAM disk"},
	{"append", 'a', "TEXT", "kernel command line"},
	{"bios", 0, "FILE", "firmware image"},
	{"disk", 'd', "FILE", "raw image as virtio disk; may come several times"},
	{"net", 'n', "tap=NAME|stream=SOCKET|none", "network; may come several times"},
	{"machine", 0, "TYPE", "machine type (default q35)"},
	{"console", 0, NULL, "connect to the console once it runs"},
	{"dry-run", 0, NULL, "print the VMM's command line only"},
	{0},
};

static const struct cli_option ls_options[] = {
	{"names", 0, NULL, "names only, one a line"},
	{0},
};

static const struct cli_option top_options[] = {
	{"interval", 'i', "SECONDS", "time between two samples (default 1)"},
	{"count", 'n', "N", "how many samples (default: for ever on a terminal, else 1)"},
	{0},
};

static const struct cli_option stop_options[] = {
	{"timeout", 't', "SECONDS", "how long to wait for the guest (default 60)"},
	{"force", 'f', NULL, "then end it anyway"},
	{0},
};

static const struct cli_option send_key_options[] = {
	{"hold", 0, "SECONDS", "from one key to the next, down and up (default 0.1)"},
	{0},
};

static const struct cli_option logs_options[] = {
	{"follow", 'f', NULL, "go on until the guest ends"},
	{"console", 'c', NULL, "what the guest wrote to its console"},
	{0},
};

static const struct cli_option qmp_options[] = {
	{"events", 'e', "SECONDS", "then print events for so long"},
	{0},
};

static const struct cli_option rm_options[] = {
	{"timeout", 't', "SECONDS", "how long the guest may take (default 10)"},
	{0},
};

static const struct cli_option upgrade_options[] = {
	{"binary", 'b', "FILE",
	 "program to go on in (default: the one the guest was started with)"},
	{"all", 'a', NULL, "every running guest, one after the other"},
	{"timeout", 't', "SECONDS", "how long the new process may take to get ready (default 60)"},
	{"pause-timeout", 0, "SECONDS",
	 "how long the guest may take to stand still before it is let go on (default 1)"},
	{"dry-run", 0, NULL, "try everything but the pause; list what stands in the way"},
	{"record", 'r', "FILE", "write down what happens when, for 'outlive report'"},
	{0},
};

#define REMOTE_OPTIONS                                                                             \
	{"map", 'm', "KIND:OLD=NEW",                                                               \
	 "with ssh://: what a path, tap, bridge or host is called there; may come several times"}, \
		{"copied", 0, NULL,                                                                \
		 "with ssh://: images there may be other files (you keep them the same)"},         \
		{"ssh", 0, "COMMAND", "ssh to use, with options (default: $OUTLIVE_SSH, ssh)"},    \
	{                                                                                          \
		"program", 0, "PATH", "outlive over there (default: outlive)"                      \
	}

static const struct cli_option check_options[] = {CLI_TLS_OPTIONS, REMOTE_OPTIONS, {0}};

static const struct cli_option migrate_options[] = {
	{"downtime", 'd', "MS", "longest pause at the end (default 300)"},
	{"bandwidth", 'b', "MIB", "MiB a second at most (default: no limit)"},
	{"channels", 'c', "N", "send pages over N connections more (multifd)"},
	{"compression", 'z', "METHOD", "of these: none, zlib or zstd (default none)"},
	{"content-hashes", 0, NULL, "don't send pages that the target has already"},
	{"keep", 'k', NULL, "keep the VMM here, with the guest stopped"},
	CLI_TLS_OPTIONS,
	{"no-check", 0, NULL, "don't ask the target first whether the guest fits"},
	{"record", 'r', "FILE", "write down what happens when, for 'outlive report'"},
	{"direct", 0, "tcp:HOST:PORT", "with ssh://: memory goes to this address of the target"},
	REMOTE_OPTIONS,
	{0},
};

static const struct cli_option adopt_options[] = {
	{"name", 'n', "NAME", "of the guest from now on (default: its name in QEMU)"},
	{"downtime", 'd', "MS", "longest pause at the end (default 300)"},
	{"dry-run", 0, NULL, "list what stands in the way, and print the VMM's command line only"},
	{0},
};

static const struct cli_option giveback_options[] = {
	{"emulator", 'e', "PROGRAM", "QEMU that takes the guest (default qemu-system-x86_64)"},
	{"cpu", 0, "MODEL", "its CPU, as -cpu takes it (default: the guest's)"},
	{"qmp", 'q', "SOCKET",
	 "where its monitor listens (default: qemu.sock in the guest's folder)"},
	{"downtime", 'd', "MS", "longest pause at the end (default 300)"},
	{"dry-run", 0, NULL, "list what stands in the way, and print QEMU's command line only"},
	{0},
};

#define SNAPSHOT_DIR                                                                      \
	{                                                                                 \
		"dir", 'D', "FOLDER", "where snapshots are (default: the guest's folder)" \
	}

static const struct cli_option snapshot_options[] = {SNAPSHOT_DIR, {0}};

static const struct cli_option save_options[] = {
	SNAPSHOT_DIR,
	{"stop", 's', NULL, "end the guest when it is written, so that its disks stay as they are"},
	{"compress", 'c', "zstd", "pack all of it; such a file can't be restored lazily"},
	{"mapped", 0, NULL, "as QEMU 9.0 and newer take it with the capability mapped-ram"},
	{"stream", 0, NULL, "as a plain migration stream, which any QEMU takes (exec:cat FILE)"},
	{0},
};

static const struct cli_option restore_options[] = {
	SNAPSHOT_DIR,
	{"force", 'f', NULL,
	 "if the guest runs, end it first; also if its images were written since"},
	{"lazy", 'l', NULL,
	 "let the guest run at once; its memory is read on demand and beside it"},
	{0},
};

static const struct cli_option clone_options[] = {
	SNAPSHOT_DIR,
	{"disks", 'd', "FOLDER", "where the clone's disks are made (default: beside the guest's)"},
	{"net", 'n', "tap=NAME|stream=SOCKET|none",
	 "network of the next interface, as for run (one for each)"},
	{"force", 'f', NULL, "even if the disks may have been written since"},
	{"lazy", 'l', NULL,
	 "let the guest run at once; its memory is read on demand and beside it"},
	{0},
};

static const struct cli_option report_options[] = {
	{"output", 'o', "FILE", "page to write (default: FILE with .html; - standard output)"},
	{"text", 't', NULL, "only print, write no page"},
	{0},
};

static const struct cli_option rollback_options[] = {
	SNAPSHOT_DIR,
	{"force", 'f', NULL, "even if somebody else may have written the disks since"},
	{"lazy", 'l', NULL,
	 "let the guest run at once; its memory is read on demand and beside it"},
	{0},
};

static const struct cli_option inspect_options[] = {
	{"sections", 0, NULL, "names of the sections only"},
	{"offset", 0, "BYTES", "where in the file the stream begins (default: 0)"},
	{0},
};

const struct cli_command cli_commands[] = {
	{"run", "NAME [-- VMM-OPTION...]", 1, 1, true, "Start a guest in the background",
	 run_options,
	 "  outlive run web -m 2G -c 2 -k vmlinuz -i initrd.img -a console=ttyS0 -d web.img\n"
	 "  outlive run web --disk web.img --net tap=tap0 --console\n"
	 "  outlive run web --dry-run -- -device virtio-rng-pci\n",
	 cmd_run},
	{"ls", "", 0, 0, false, "List guests and their states", ls_options,
	 "  outlive ls\n  outlive ls --json | jq -r '.[].name'\n", cmd_ls},
	{"info", "NAME", 1, 1, false, "Show all about a guest", NULL, "  outlive info web --json\n",
	 cmd_info},
	{"top", "", 0, 0, false, "Show what guests use of the host", top_options,
	 "  outlive top\n  outlive top --count 1 --json\n", cmd_top},
	{"console", "NAME", 1, 1, false, "Connect to a guest's serial console; C-] leaves", NULL,
	 "  outlive console web\n  echo reboot | outlive console web\n", cmd_console},
	{"stop", "NAME", 1, 1, false, "Press the power button and wait until the guest is off",
	 stop_options, "  outlive stop web\n  outlive stop web --timeout 120 --force\n", cmd_stop},
	{"pause", "NAME", 1, 1, false, "Stop a guest's vCPUs", NULL, "  outlive pause web\n",
	 cmd_pause},
	{"resume", "NAME", 1, 1, false, "Let a guest's vCPUs run again", NULL,
	 "  outlive resume web\n", cmd_resume},
	{"upgrade", "[NAME]", 0, 1, false, "Replace the VMM under a running guest", upgrade_options,
	 "  outlive upgrade web\n  outlive upgrade web --binary /opt/new/outlive-vmm --dry-run\n"
	 "  outlive upgrade --all --json\n",
	 cmd_upgrade},
	{"check", "NAME [URI]", 1, 2, false,
	 "Say what stands in the way of moving a guest; moves nothing", check_options,
	 "  outlive check web tcp:host2:4444\n  outlive check web ssh://host2/web\n"
	 "  outlive check web --json\n",
	 cmd_check},
	{"migrate", "NAME URI", 2, 2, false,
	 "Move a running guest to another host, or to a VMM that waits for it; Ctrl-C cancels",
	 migrate_options,
	 "  outlive migrate web ssh://root@host2/web --map tap:tap0=tap7\n"
	 "  outlive migrate web ssh://host2/web --direct tcp:10.0.0.2:4444 --channels 4\n"
	 "  outlive migrate web tcp:host2:4444\n"
	 "  outlive migrate web unix:/run/b.sock -d 20 --json\n"
	 "  outlive migrate web tcp:host2:4444 --tls-dir /etc/pki/outlive\n"
	 "  outlive migrate web tcp:host2:4444 --record move.jsonl\n",
	 cmd_migrate},
	{"receive", "NAME", 1, 1, false,
	 "Take a guest from 'outlive migrate NAME ssh://', which runs this by ssh", NULL,
	 "  ssh host2 outlive receive web    # what 'outlive migrate web ssh://host2/web' runs\n",
	 cmd_receive},
	{"adopt", "QMP-SOCKET", 1, 1, false,
	 "Take over the guest of a running QEMU on this host; Ctrl-C cancels", adopt_options,
	 "  outlive adopt /run/qemu-web.sock --dry-run\n"
	 "  outlive adopt /run/qemu-web.sock --name web\n",
	 cmd_adopt},
	{"giveback", "NAME", 1, 1, false, "Give a guest to a QEMU on this host; Ctrl-C cancels",
	 giveback_options,
	 "  outlive giveback web --dry-run\n"
	 "  outlive giveback web --emulator /usr/bin/qemu-system-x86_64 --qmp /run/qemu-web.sock\n",
	 cmd_giveback},
	{"snapshot save", "NAME SNAPSHOT", 2, 2, false, "Write a guest's state to a file",
	 save_options,
	 "  outlive snapshot save web before-update --stop\n"
	 "  outlive snapshot save web daily --dir /var/snapshots\n",
	 cmd_snapshot_save},
	{"snapshot restore", "NAME SNAPSHOT", 2, 2, false, "Start a guest from a snapshot",
	 restore_options, "  outlive snapshot restore web before-update --force\n",
	 cmd_snapshot_restore},
	{"snapshot point", "NAME POINT", 2, 2, false,
	 "Keep what a running guest and its disks are now", snapshot_options,
	 "  outlive snapshot point web before-update\n", cmd_snapshot_point},
	{"snapshot rollback", "NAME POINT", 2, 2, false,
	 "Take a guest and its disks back to a point; later points are gone", rollback_options,
	 "  outlive snapshot rollback web before-update\n", cmd_snapshot_rollback},
	{"snapshot clone", "NAME SNAPSHOT NEW", 3, 3, false,
	 "Start another guest, with an identity of its own, from a guest's snapshot or point",
	 clone_options,
	 "  outlive snapshot clone web warm web2 --lazy\n"
	 "  outlive snapshot clone web warm web2 --net tap=tap7 --disks /var/images\n",
	 cmd_snapshot_clone},
	{"snapshot list", "NAME", 1, 1, false, "List a guest's snapshots", snapshot_options,
	 "  outlive snapshot list web --json\n", cmd_snapshot_list},
	{"snapshot show", "NAME SNAPSHOT", 2, 2, false, "Show what is known of a snapshot",
	 snapshot_options, "  outlive snapshot show web before-update\n", cmd_snapshot_show},
	{"snapshot delete", "NAME SNAPSHOT", 2, 2, false, "Delete a snapshot", snapshot_options,
	 "  outlive snapshot delete web before-update\n", cmd_snapshot_delete},
	{"reset", "NAME", 1, 1, false, "Reset a guest at once", NULL, "  outlive reset web\n",
	 cmd_reset},
	{"kill", "NAME", 1, 1, false, "End a guest at once, as if its power cord were pulled", NULL,
	 "  outlive kill web\n", cmd_kill},
	{"send-key", "NAME KEY...", 2, 32, false, "Press keys of a guest's keyboard together",
	 send_key_options,
	 "  outlive send-key web ctrl alt delete\n  outlive send-key web alt-sysrq-s\n"
	 "  outlive send-key web shift-a --hold 0.01\n",
	 cmd_send_key},
	{"dump", "NAME FILE", 2, 2, false,
	 "Write a guest's memory and registers as a core file, for crash or gdb", NULL,
	 "  outlive dump web /var/crash/web.core\n  outlive dump web web.core --json\n", cmd_dump},
	{"logs", "NAME", 1, 1, false, "Print the VMM's log", logs_options,
	 "  outlive logs web --follow\n  outlive logs web --console\n", cmd_logs},
	{"qmp", "NAME [COMMAND [KEY=VALUE... | JSON]]", 1, 64, false, "Run a QMP command",
	 qmp_options,
	 "  outlive qmp web query-status\n  outlive qmp web qom-list path=/machine\n"
	 "  outlive qmp web --events 60\n",
	 cmd_qmp},
	{"device ls", "NAME", 1, 1, false, "List a guest's devices", NULL,
	 "  outlive device ls web\n", cmd_device_ls},
	{"device add", "NAME DRIVER[,PROPERTY=VALUE...]", 2, 2, false, "Plug a device in", NULL,
	 "  outlive device add web virtio-rng-pci,id=rng0,bus=pci.1\n", cmd_device_add},
	{"device rm", "NAME ID", 2, 2, false, "Have a guest give a device back", rm_options,
	 "  outlive device rm web rng0\n", cmd_device_rm},
	{"doctor", "", 0, 0, false,
	 "Look at this host as one should before trusting it with guests", NULL,
	 "  outlive doctor\n  outlive doctor --json | jq '.[] | select(.level != \"good\")'\n",
	 cmd_doctor},
	{"report", "FILE", 1, 1, false,
	 "Draw the time line of upgrades and migrations that --record wrote down", report_options,
	 "  outlive migrate web tcp:host2:4444 --record move.jsonl; outlive report move.jsonl\n"
	 "  outlive report move.jsonl --output - > move.html\n"
	 "  outlive report move.jsonl --json | jq '.[].pause'\n",
	 cmd_report},
	{"inspect", "FILE", 1, 1, false, "Explain a migration stream or snapshot, ours or QEMU's",
	 inspect_options,
	 "  outlive inspect guest.snapshot\n  zstd -dc packed.snapshot | outlive inspect "
	 "--sections -\n",
	 cmd_inspect},
	{0},
};
