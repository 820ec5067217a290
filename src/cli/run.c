/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a guest is started by building the VMM's command line from a few options of
 * our own (and QEMU-style ones behind "--"), recording it in launch.json, and starting it detached
 * with its log. The command returns when the VMM's monitor listens; if it ends before, the last
 * lines of its log are the error.
 */
#include "base/clock.h"
#include "base/image.h"
#include "base/option.h"
#include "base/owned.h"
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define START_SECONDS 30

static void add(json_t *argv, const char *option, const char *fmt, ...) PRINTF(3, 4);

static void add(json_t *argv, const char *option, const char *fmt, ...)
{
	OWNED(char *) value = NULL;
	va_list ap;

	json_array_append_new(argv, json_string(option));
	if (!fmt)
		return;
	va_start(ap, fmt);
	if (vasprintf(&value, fmt, ap) < 0)
		abort();
	va_end(ap);
	json_array_append_new(argv, json_string(value));
}

/**
 * cli_escaped() - A value for a key=value list, in which a comma is written twice
 * @text:	The value
 *
 * Return: the caller frees it
 */
char *cli_escaped(const char *text)
{
	char *out = mem_zalloc(strlen(text) * 2 + 1);
	char *p = out;

	for (; *text; text++) {
		*p++ = *text;
		if (*text == ',')
			*p++ = ',';
	}
	return out;
}

static bool is_executable(const char *path)
{
	return access(path, X_OK) == 0;
}

/**
 * vmm_program() - Where outlive-vmm is
 *
 * Return: a path, or its bare name to be found in PATH; the caller frees it
 */
char *vmm_program(void)
{
	static const char *const beside[] = {"outlive-vmm", "../vmm/outlive-vmm",
					     "../libexec/outlive-vmm"};
	const char *own = getenv("OUTLIVE_VMM");
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (own && *own)
		return str_dup(own);
	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	for (size_t i = 0; slash && i < ARRAY_SIZE(beside); i++) {
		char *path = str_printf("%.*s/%s", (int)(slash - self), self, beside[i]);

		if (is_executable(path))
			return path;
		free(path);
	}
	return str_dup("outlive-vmm");
}

static int add_disks(json_t *argv, const struct cli_args *args, struct err *e)
{
	size_t i;
	json_t *disk;

	json_array_foreach (json_object_get(args->values, "disk"), i, disk) {
		OWNED(char *) file = cli_escaped(json_string_value(disk));

		if (image_check_raw(json_string_value(disk), e) < 0)
			return -e->code;
		add(argv, "-blockdev",
		    "driver=raw,node-name=disk%zu,file.driver=file,file.filename=%s", i, file);
		add(argv, "-device", "virtio-blk-pci,id=vd%zu,drive=disk%zu", i, i);
	}
	return 0;
}

/**
 * cli_netdev() - What --net means
 * @text:	"tap=NAME", "stream=SOCKET" or "none"
 * @id:		Of the back end
 * @ret:	Set on success only: the value of -netdev, NULL for none; the caller frees it
 * @e:		Set on failure only
 *
 * Errors: EINVAL
 * Return: 0, or a negative errno
 */
int cli_netdev(const char *text, const char *id, char **ret, struct err *e)
{
	OWNED(char *) value = cli_escaped(strchr(text, '=') ? strchr(text, '=') + 1 : "");

	*ret = NULL;
	if (!strncmp(text, "tap=", 4))
		*ret = str_printf("tap,id=%s,ifname=%s,script=no,downscript=no", id, value);
	else if (!strncmp(text, "stream=", 7))
		*ret = str_printf("stream,id=%s,server=off,addr.type=unix,addr.path=%s", id, value);
	else if (strcmp(text, "none") != 0)
		return err_set(e, EINVAL, "--net %s: tap=NAME, stream=SOCKET or none", text);
	return 0;
}

static int add_nets(json_t *argv, const struct cli_args *args, struct err *e)
{
	size_t i;
	json_t *net;

	json_array_foreach (json_object_get(args->values, "net"), i, net) {
		OWNED(char *) id = str_printf("net%zu", i);
		OWNED(char *) value = NULL;
		int r = cli_netdev(json_string_value(net), id, &value, e);

		if (r < 0)
			return r;
		if (!value)
			continue;
		add(argv, "-netdev", "%s", value);
		add(argv, "-device", "virtio-net-pci,id=nic%zu,netdev=%s", i, id);
	}
	return 0;
}

static void add_boot(json_t *argv, const struct cli_args *args)
{
	static const char *const boot[] = {"kernel", "initrd", "append", "bios"};

	for (size_t i = 0; i < ARRAY_SIZE(boot); i++) {
		OWNED(char *) option = str_printf("-%s", boot[i]);

		if (cli_switch(args, boot[i]))
			add(argv, option, "%s", cli_value(args, boot[i], ""));
	}
}

/**
 * cli_uuid() - A random UUID
 *
 * Source: RFC 4122, 4.4
 * Return: its text, the caller frees it; NULL: the kernel gave no random numbers
 */
char *cli_uuid(void)
{
	uint8_t u[16] = {0};

	if (getrandom(u, sizeof(u), 0) != sizeof(u))
		return NULL;
	u[6] = (u[6] & 0x0f) | 0x40;
	u[8] = (u[8] & 0x3f) | 0x80;
	return str_printf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
			  u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11],
			  u[12], u[13], u[14], u[15]);
}

static void add_uuid(json_t *argv)
{
	OWNED(char *) uuid = cli_uuid();

	if (uuid)
		add(argv, "-uuid", "%s", uuid);
}

/* The VMM's whole command line. */
static int build(const struct cli_args *args, const struct guest *g, json_t **ret, struct err *e)
{
	OWNED_JSON *argv = json_array();
	OWNED(char *) program = vmm_program();
	OWNED(char *) dir = cli_escaped(g->dir);
	int r;

	add(argv, program, NULL);
	add(argv, "-name", "guest=%s", g->name);
	add(argv, "-machine", "%s", cli_value(args, "machine", "q35"));
	add(argv, "-accel", "kvm");
	add(argv, "-cpu", "host");
	add(argv, "-m", "%s", cli_value(args, "memory", "1G"));
	add(argv, "-smp", "%s", cli_value(args, "cpus", "1"));
	add_uuid(argv);
	add(argv, "-nodefaults", NULL);
	add(argv, "-no-user-config", NULL);
	add(argv, "-display", "none");
	add(argv, "-msg", "timestamp=on");
	add(argv, "-qmp", "unix:%s/qmp.sock,server=on,wait=off", dir);
	add(argv, "-chardev",
	    "socket,id=console,path=%s/console.sock,server=on,wait=off,logfile=%s/console.log", dir,
	    dir);
	add(argv, "-serial", "chardev:console");
	add(argv, "-pidfile", "%s/pid", g->dir);
	add_boot(argv, args);
	r = add_disks(argv, args, e);
	if (r == 0)
		r = add_nets(argv, args, e);
	for (char **p = args->rest; r == 0 && p && *p; p++)
		add(argv, *p, NULL);
	if (r == 0)
		*ret = json_take(&argv);
	return r;
}

/**
 * cli_print_words() - Print a command line as a shell takes it
 * @argv:	Strings
 */
void cli_print_words(const json_t *argv)
{
	size_t i;
	json_t *word;

	json_array_foreach (argv, i, word) {
		const char *s = json_string_value(word);
		bool plain = *s && !s[strcspn(s, " \t\n'\"\\$`!*?[]{}();<>|&#~")];

		fputs(i ? " " : "", stdout);
		if (plain) {
			fputs(s, stdout);
			continue;
		}
		putchar('\'');
		for (; *s; s++)
			fputs(*s == '\'' ? "'\\''" : (char[]){*s, 0}, stdout);
		putchar('\'');
	}
	putchar('\n');
}

static int record(const struct cli_args *args, const struct guest *g, json_t *argv, struct err *e)
{
	OWNED(char *) path = guest_path(g, "launch.json");
	OWNED(char *) folder = getcwd(NULL, 0);
	OWNED_JSON *r = json_pack("{s:s, s:s*, s:I, s:s, s:s, s:s, s:O}", "name", g->name, "folder",
				  folder, "started", (json_int_t)(time_wall_ns() / NS_PER_SEC),
				  "version", OUTLIVE_VERSION, "memory",
				  cli_value(args, "memory", "1G"), "cpus",
				  cli_value(args, "cpus", "1"), "argv", argv);

	return json_dump_file(r, path, JSON_INDENT(2)) < 0 ? err_sys(e, "%s", path) : 0;
}

/**
 * vmm_exec() - Become a VMM, detached from the terminal
 * @argv:	Its command line
 * @log_fd:	What it says goes there
 *
 * In a child; doesn't return.
 */
void vmm_exec(const json_t *argv, int log_fd)
{
	size_t n = json_array_size(argv);
	char **words = mem_calloc(n + 1, sizeof(*words));
	OWNED_FD null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	static const int ours[] = {SIGHUP, SIGINT, SIGPIPE}; /* may be ignored here */
	sigset_t none;

	for (size_t i = 0; i < n; i++)
		words[i] = str_dup(json_string_value(json_array_get(argv, i)));
	setsid();
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		signal(ours[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(null, STDIN_FILENO);
	dup2(log_fd, STDOUT_FILENO);
	dup2(log_fd, STDERR_FILENO);
	execvp(words[0], words);
	dprintf(STDERR_FILENO, "outlive: start %s: %m\n", words[0]);
	_exit(127);
}

/**
 * vmm_last_words() - The last line of a VMM's log
 * @path:	Its log
 *
 * Return: the caller frees it
 */
char *vmm_last_words(const char *path)
{
	FILE *f = fopen(path, "re");
	char line[400], last[400] = "it said nothing";

	while (f && fgets(line, sizeof(line), f))
		strcpy(last, line);
	if (f)
		fclose(f);
	last[strcspn(last, "\n")] = '\0';
	return str_dup(last);
}

/**
 * vmm_blame_log() - Say what a VMM died of: the last line of its log
 * @path:	Its log
 * @e:		Set
 *
 * Return: -ECHILD
 */
int vmm_blame_log(const char *path, struct err *e)
{
	OWNED(char *) last = vmm_last_words(path);

	return err_set(e, ECHILD, "the VMM ended at once: %s", last);
}

/**
 * guest_blame_log() - Say what a guest's VMM died of: the last line of its log
 * @g:		The guest
 * @e:		Set
 *
 * Return: -ECHILD
 */
int guest_blame_log(const struct guest *g, struct err *e)
{
	OWNED(char *) path = guest_path(g, "log");

	return vmm_blame_log(path, e);
}

static bool has_ended(pid_t pid)
{
	return waitpid(pid, NULL, WNOHANG) == pid;
}

static int wait_ready(struct guest *g, pid_t pid, struct err *e)
{
	int64_t limit = time_ns() + START_SECONDS * NS_PER_SEC;
	struct qmp q;

	while (time_ns() < limit) {
		if (guest_refresh(g) == pid && qmp_open(g, 1, &q, e) == 0) {
			qmp_close(&q);
			return 0;
		}
		if (has_ended(pid))
			return guest_blame_log(g, e);
		poll(NULL, 0, 5);
	}
	kill(pid, SIGKILL);
	return err_set(e, ETIMEDOUT, "the VMM's monitor doesn't answer after %d s", START_SECONDS);
}

/**
 * guest_launch() - Start a guest's VMM and wait for its monitor
 * @g:		Its folder is there; @pid is set
 * @argv:	The VMM's command line
 * @e:		Set on failure only
 *
 * Errors: ECHILD it ended at once; ETIMEDOUT
 * Return: 0, or a negative errno
 */
int guest_launch(struct guest *g, json_t *argv, struct err *e)
{
	OWNED(char *) path = guest_path(g, "log");
	OWNED_FD log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	pid_t pid;

	if (log_fd < 0)
		return err_sys(e, "%s", path);
	pid = fork();
	if (pid < 0)
		return err_sys(e, "fork");
	if (pid == 0)
		vmm_exec(argv, log_fd);
	return wait_ready(g, pid, e);
}

static int start(const struct cli_args *args, struct guest *g, struct err *e)
{
	json_t *argv;
	int r = build(args, g, &argv, e);

	if (r < 0)
		return r;
	r = record(args, g, argv, e);
	if (r == 0)
		r = guest_launch(g, argv, e);
	json_decref(argv);
	return r;
}

static int dry_run(const struct cli_args *args)
{
	struct guest g = {.name = str_dup(args->words[0]), .dir = str_printf("DIR")};
	OWNED_JSON *argv = NULL;
	struct err e;
	int r = build(args, &g, &argv, &e);

	guest_release(&g);
	if (r < 0)
		return cli_fail(CLI_USAGE, &e);
	if (args->json)
		cli_print_json(argv);
	else
		cli_print_words(argv);
	return CLI_OK;
}

/**
 * cmd_run() - outlive run
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_run(const struct cli_args *args)
{
	OWNED_JSON *result = NULL;
	struct guest g;
	struct err e;
	int r;

	if (cli_switch(args, "dry-run"))
		return dry_run(args);
	r = guest_make(args->words[0], &g, &e);
	if (r < 0)
		return cli_fail(guest_exit_code(r), &e);
	r = start(args, &g, &e);
	if (r == 0)
		result = json_pack("{s:s, s:i, s:s}", "name", g.name, "pid", g.pid, "folder",
				   g.dir);
	guest_release(&g);
	if (r < 0)
		return cli_fail(guest_exit_code(r), &e);
	if (args->json)
		cli_print_json(result);
	else
		printf("%s: running, pid %" PRId64 "\n", args->words[0],
		       option_int(result, "pid", 0));
	return cli_switch(args, "console") ? cmd_console(args) : CLI_OK;
}
