/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the command line of a running VMM, in QEMU's spelling. Each option has a row
 * that says what becomes of it: it stays as it is, it is parsed into a group for later, or it is of
 * no use for another process (monitors, logs, what makes devices, since those are read from what
 * runs). An option without a row may mean anything: it blocks.
 */
#include "cli/adopt/adopt.h"

#include "base/option.h"
#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/**
 * enum fate - What becomes of an option
 */
enum fate {
	DROP = 1, /* a switch of no use */
	SWITCH,   /* a switch that stays */
	IGNORE,   /* has an argument, of no use */
	KEEP,     /* stays as it is */
	FILENAME, /* stays; the argument is a path */
	VALUES,   /* stays; the argument may hold paths */
	GROUP,    /* parsed into its group */
	OUTLIVE,  /* has an argument; stays if both are Outlives, which know it */
	REFUSE,   /* has an argument; blocks */
	REFUSE_SWITCH,
};

/**
 * struct rule - What becomes of an option
 * @name:	The option, without dash
 * @fate:	See there
 * @group:	GROUP: where to
 * @implied:	GROUP, VALUES: key of the first value
 */
static const struct rule {
	const char *name;
	enum fate fate;
	const char *group, *implied;
} rules[] = {
	{"M", GROUP, "machine", "type"},
	{"machine", GROUP, "machine", "type"},
	{"object", GROUP, "object", "qom-type"},
	{"chardev", GROUP, "chardev", "backend"},
	{"netdev", GROUP, "netdev", "type"},
	{"nic", GROUP, "nic", "type"},
	{"blockdev", GROUP, "blockdev", NULL},
	{"drive", GROUP, "drive", "file"},
	{"device", GROUP, "device", "driver"},
	{"serial", GROUP, "serial", "serial"},
	{"smbios", VALUES, NULL, NULL},
	{"fw_cfg", VALUES, NULL, "name"},
	{"cpu", KEEP},
	{"m", KEEP},
	{"smp", KEEP},
	{"numa", KEEP},
	{"uuid", KEEP},
	{"rtc", KEEP},
	{"boot", KEEP},
	{"global", KEEP},
	{"action", KEEP},
	{"watchdog-action", KEEP},
	{"overcommit", KEEP},
	{"append", KEEP},
	{"kernel", FILENAME},
	{"initrd", FILENAME},
	{"bios", FILENAME},
	{"no-reboot", SWITCH},
	{"no-shutdown", SWITCH},
	{"no-hpet", SWITCH},
	/* What every process has of its own, and what makes devices. */
	{"S", DROP},
	{"daemonize", DROP},
	{"enable-kvm", DROP},
	{"full-screen", DROP},
	{"nodefaults", DROP},
	{"no-fd-bootchk", DROP},
	{"no-user-config", DROP},
	{"nographic", DROP},
	{"no-quit", DROP},
	{"usb", DROP},
	{"accel", GROUP, "accel", "type"},
	{"audio", IGNORE},
	{"audiodev", IGNORE},
	{"cdrom", IGNORE},
	{"d", IGNORE},
	{"D", IGNORE},
	{"debugcon", IGNORE},
	{"display", IGNORE},
	{"dfilter", IGNORE},
	{"fda", IGNORE},
	{"fdb", IGNORE},
	{"fsdev", IGNORE},
	{"gdb", IGNORE},
	{"hda", IGNORE},
	{"hdb", IGNORE},
	{"hdc", IGNORE},
	{"hdd", IGNORE},
	{"incoming", IGNORE},
	{"k", IGNORE},
	{"L", IGNORE},
	{"loadvm", IGNORE},
	{"mon", IGNORE},
	{"monitor", IGNORE},
	{"msg", IGNORE},
	{"name", IGNORE},
	{"net", IGNORE},
	{"parallel", IGNORE},
	{"pidfile", IGNORE},
	{"qmp", IGNORE},
	{"qmp-pretty", IGNORE},
	{"run-as", IGNORE},
	{"run-with", OUTLIVE},
	{"runas", OUTLIVE},
	{"sandbox", IGNORE},
	{"spice", IGNORE},
	{"trace", IGNORE},
	{"usbdevice", IGNORE},
	{"vga", IGNORE},
	{"vnc", IGNORE},
	{"add-fd", REFUSE},
	{"icount", REFUSE},
	{"plugin", REFUSE},
	{"readconfig", REFUSE},
	{"set", REFUSE},
	{"tpmdev", IGNORE},
	{"snapshot", REFUSE_SWITCH},
	{0},
};

static const struct rule *rule_find(const char *name)
{
	for (const struct rule *r = rules; r->name; r++)
		if (!strcmp(r->name, name))
			return r;
	return NULL;
}

static bool has_argument(enum fate fate)
{
	return fate != DROP && fate != SWITCH && fate != REFUSE_SWITCH;
}

static void group_add(struct move *m, const struct rule *r, const char *text)
{
	OWNED_JSON *values = NULL;
	json_t *list = json_object_get(m->groups, r->group);
	struct err e;
	bool json;
	int failed;

	if (!strcmp(r->name, "serial"))
		values = json_pack("{s:s}", "serial", text);
	failed = values ? 0 : keyval_or_json(text, r->implied, &values, &json, &e);
	if (failed < 0) {
		move_block(m, "-%s %s: %s", r->name, text, e.msg);
		return;
	}
	if (!list) {
		list = json_array();
		json_object_set_new(m->groups, r->group, list);
	}
	move_paths(m, values);
	json_array_append(list, values);
}

static void values_keep(struct move *m, const struct rule *r, const char *option, const char *text)
{
	OWNED_JSON *values = NULL;
	struct err e;

	if (keyval_parse(text, r->implied, &values, &e) < 0) {
		move_block(m, "%s %s: %s", option, text, e.msg);
		return;
	}
	move_paths(m, values);
	move_add_values(m, option, values, NULL, r->implied ? r->implied : "type", false);
}

static void word_apply(struct move *m, const struct rule *r, const char *value)
{
	OWNED(char *) option = str_printf("-%s", r->name);
	OWNED(char *) path = r->fate == FILENAME ? move_path(m, value) : NULL;

	switch (r->fate) {
	case SWITCH: move_add(m, option, NULL); break;
	case KEEP: move_add(m, option, value); break;
	case FILENAME: move_add(m, option, path); break;
	case VALUES: values_keep(m, r, option, value); break;
	case GROUP: group_add(m, r, value); break;
	case OUTLIVE:
		if (m->remote)
			move_add(m, option, value);
		break;
	case REFUSE:
	case REFUSE_SWITCH:
		move_block(m, "%s %s: it can't be carried; start the guest without it", option,
			   value ? value : "");
		break;
	default: break;
	}
}

/* Behind the program's own name: a dynamic loader may stand in front of it. */
static size_t words_begin(const json_t *words)
{
	const char *loader = json_string_value(json_array_get(words, 0));
	const char *name = loader ? strrchr(loader, '/') : NULL;

	if (!name || strncmp(name, "/ld-", 4))
		return 1;
	for (size_t i = 1; i < json_array_size(words); i++) {
		const char *word = json_string_value(json_array_get(words, i));
		const char *base = strrchr(word, '/');

		if (base && strstr(base, "qemu"))
			return i + 1;
	}
	return 1;
}

/**
 * words_read() - What the source's command line says
 * @m:	@groups, @argv, @blockers grow
 */
void words_read(struct move *m)
{
	for (size_t i = words_begin(m->words); i < json_array_size(m->words); i++) {
		const char *word = json_string_value(json_array_get(m->words, i));
		const char *next = json_string_value(json_array_get(m->words, i + 1));
		const struct rule *r;

		if (*word != '-')
			continue; /* a disk by its name only: the device says more */
		r = rule_find(word + (word[1] == '-' ? 2 : 1));
		if (r && has_argument(r->fate))
			i++;
		if (r && (next || !has_argument(r->fate)))
			word_apply(m, r, next);
		else if (!r)
			move_block(m, "%s: this option isn't known; start the guest without it",
				   word);
		if (!r && next && *next != '-')
			i++;
	}
}

static int thread_group(pid_t tid)
{
	OWNED(char *) path = str_printf("/proc/%d/status", tid);
	FILE *f = fopen(path, "re");
	char line[200];
	int pid = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Tgid: %d", &pid) == 1)
			break;
	if (f)
		fclose(f);
	return pid;
}

static int words_load(struct move *m, struct err *e)
{
	OWNED(char *) path = str_printf("/proc/%d/cmdline", m->source_pid);
	OWNED(char *) word = NULL;
	FILE *f = fopen(path, "re");
	size_t size = 0;

	if (!f)
		return err_sys(e, "%s", path);
	m->words = json_array();
	while (getdelim(&word, &size, '\0', f) > 0)
		if (json_array_append_new(m->words, json_string(word)) < 0)
			json_array_append_new(m->words, json_string("?")); /* not UTF-8 */
	fclose(f);
	return 0;
}

/**
 * cwd_take() - Where the source's relative paths begin
 * @m:		@source_pid is known; @cwd is set
 * @e:		Set on failure only
 *
 * Errors: EACCES not allowed to look
 * Return: 0, or a negative errno
 */
int cwd_take(struct move *m, struct err *e)
{
	OWNED(char *) path = str_printf("/proc/%d/cwd", m->source_pid);
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	if (n < 0) {
		err_sys(e, "process %d", m->source_pid);
		return err_hint(e, "run this as the user of that process, or as root");
	}
	target[n] = '\0';
	m->cwd = str_dup(target);
	return 0;
}

/**
 * words_take() - Find the process behind the monitor, and read what it was started with
 * @m:		Connected; @source_pid, @words and @cwd are set
 * @e:		Set on failure only
 *
 * The process that made the socket must be the one that has the vCPUs: with a manager's socket, or
 * one that is forwarded from another host, its words would say something else.
 *
 * Errors: EXDEV it isn't; EACCES not allowed to look
 * Return: 0, or a negative errno
 */
int words_take(struct move *m, struct err *e)
{
	struct ucred peer = {0};
	socklen_t len = sizeof(peer);
	OWNED_JSON *cpus = NULL;
	pid_t owner;
	int r = qmp_command(&m->source, "query-cpus-fast", NULL, &cpus, e);

	if (r < 0)
		return r;
	if (getsockopt(m->source.fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return err_sys(e, "SO_PEERCRED");
	owner = thread_group((pid_t)option_int(json_array_get(cpus, 0), "thread-id", 0));
	if (!peer.pid || peer.pid != owner) {
		err_set(e, EXDEV, "process %d made this socket, but the vCPUs are of process %d",
			peer.pid, owner);
		return err_hint(e, "a guest of a manager, or of another host, is moved from there");
	}
	m->source_pid = owner;
	r = m->words ? 0 : words_load(m, e);
	return r < 0 ? r : cwd_take(m, e);
}
