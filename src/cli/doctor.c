/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a list of checks, each a function that looks at one thing and gives a
 * level, what was found, what it costs and the command that mends it. What only KVM can tell is
 * asked of "outlive-vmm -probe-host", which answers in JSON: this program knows nothing of KVM.
 * Essential checks that fail make the exit code 1.
 */
#include "base/option.h"
#include "base/owned.h"
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/**
 * struct finding - What a check found
 * @level:	"good", "could be better", "missing"
 * @found:	In words
 * @cost:	What it costs the operator; "" if good
 * @mend:	A command; "" if there is none or none is needed
 */
struct finding {
	const char *level;
	char found[200];
	const char *cost, *mend;
};

static const char good[] = "good", better[] = "could be better", missing[] = "missing";

#define FOUND(f, l, c, m, ...)                                         \
	do {                                                           \
		(f)->level = l;                                        \
		(f)->cost = c;                                         \
		(f)->mend = m;                                         \
		snprintf((f)->found, sizeof((f)->found), __VA_ARGS__); \
	} while (0)

/* First line of a small file, "" if it can't be read. */
static void first_line(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");

	*buf = '\0';
	if (f && fgets(buf, (int)size, f))
		buf[strcspn(buf, "\n")] = '\0';
	if (f)
		fclose(f);
}

static void check_kvm(const json_t *host, struct finding *f)
{
	const char *why = option_str(host, "error", NULL);

	if (why)
		FOUND(f, missing, "no guest can run",
		      "usermod -aG kvm \"$USER\"  # or: modprobe kvm_intel or kvm_amd", "%.190s",
		      why);
	else
		FOUND(f, good, "", "",
		      "usable, API %" PRId64 ", up to %" PRId64 " vCPUs and %" PRId64
		      " memory slots",
		      option_int(host, "api", 0), option_int(host, "max-vcpus", 0),
		      option_int(host, "max-slots", 0));
}

static void check_caps(const json_t *host, struct finding *f)
{
	const json_t *lacking = json_object_get(host, "lacking");
	OWNED(char *) text = json_dumps(lacking, JSON_COMPACT);

	if (!host || json_object_get(host, "error"))
		FOUND(f, missing, "unknown without KVM", "", "can't be asked");
	else if (json_array_size(lacking))
		FOUND(f, better, "what these would speed up is done without them", "",
		      "the kernel lacks %.150s", text);
	else
		FOUND(f, good, "", "",
		      "all that we use: dirty log with manual protect, dirty ring, irqfd ...");
}

static void check_ring0(const json_t *host, struct finding *f)
{
	double speed = json_number_value(json_object_get(host, "ring0-instructions-per-second"));

	if (speed <= 0)
		FOUND(f, better, "unknown", "", "couldn't be measured");
	else if (speed < 50e6)
		FOUND(f, missing,
		      "the guest's kernel is emulated: Linux guests don't get up in useful time",
		      "# use a host with hardware virtualisation (nested counts)",
		      "%.2f million instructions a second", speed / 1e6);
	else
		FOUND(f, good, "", "", "%.0f million instructions a second", speed / 1e6);
}

static void check_hugetlb(const json_t *host, struct finding *f)
{
	char pages[32];

	first_line("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", pages,
		   sizeof(pages));
	if (strtol(pages, NULL, 10) > 0)
		FOUND(f, good, "", "", "%s free pages of 2 MiB", pages);
	else
		FOUND(f, better, "hugetlb=on isn't possible; longer brownout after an upgrade",
		      "sysctl vm.nr_hugepages=1024  # 2 GiB", "the pool is empty");
}

static void check_ram_huge(const json_t *host, struct finding *f)
{
	const char *why = json_string_value(json_object_get(host, "small-pages"));
	const char *mend = "echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled";

	if (!why)
		FOUND(f, good, "", "", "guest RAM gets them where it is touched");
	else
		FOUND(f, better,
		      "guest RAM has small pages: more TLB misses than with QEMU's default", mend,
		      "%s", why);
}

static void check_userfaultfd(const json_t *host, struct finding *f)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	bool ok = fd >= 0 || dev >= 0;

	fd_close(&fd);
	fd_close(&dev);
	if (ok)
		FOUND(f, good, "", "", "faults of the kernel's own accesses can be served");
	else
		FOUND(f, better, "no post-copy migration, no lazy restore",
		      "sysctl vm.unprivileged_userfaultfd=1", "not allowed: %s", strerror(errno));
}

static void check_memlock(const json_t *host, struct finding *f)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_MEMLOCK, &l) == 0 && l.rlim_cur != RLIM_INFINITY && geteuid() != 0 &&
	    l.rlim_cur < GiB)
		FOUND(f, better, "mem-lock=on, VFIO and many I/O rings may fail",
		      "ulimit -l unlimited  # or LimitMEMLOCK=infinity", "%llu KiB",
		      (unsigned long long)l.rlim_cur / 1024);
	else
		FOUND(f, good, "", "", "enough");
}

/* A device file that is there needs rights, not its module. */
static void check_device(struct finding *f, const char *path, const char *cost, const char *module,
			 const char *rights)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		FOUND(f, good, "", "", "%s is usable", path);
	else
		FOUND(f, better, cost, errno == EACCES || errno == EPERM ? rights : module,
		      "%s: %s", path, strerror(errno));
	fd_close(&fd);
}

static void check_tun(const json_t *host, struct finding *f)
{
	check_device(f, "/dev/net/tun", "no tap networks, unless descriptors are passed in",
		     "modprobe tun", "chmod 0666 /dev/net/tun  # taps stay their owners'");
}

static void check_vhost(const json_t *host, struct finding *f)
{
	check_device(
		f, "/dev/vhost-net", "network packets are copied by the VMM: more CPU a packet",
		"modprobe vhost_net",
		"chgrp kvm /dev/vhost-net; chmod 0660 /dev/vhost-net; usermod -aG kvm \"$USER\"");
}

static void check_clock(const json_t *host, struct finding *f)
{
	char source[64];

	first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource", source,
		   sizeof(source));
	if (!strcmp(source, "tsc") || !strcmp(source, "kvm-clock"))
		FOUND(f, good, "", "", "%s", source);
	else
		FOUND(f, better,
		      "every look at the clock is a system call; guests get no stable kvmclock",
		      "# boot with tsc=reliable if the TSC is known to be good", "%s",
		      *source ? source : "unknown");
}

static void check_seccomp(const json_t *host, struct finding *f)
{
	if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0 &&
	    access("/proc/sys/kernel/seccomp/actions_avail", R_OK) == 0)
		FOUND(f, good, "", "", "filters can be set");
	else
		FOUND(f, better, "the VMM runs without its system call filter", "",
		      "the kernel has none");
}

/**
 * struct filtered - Which running guests have a system call filter
 * @with, @without: How many
 * @name:	The first one without
 */
struct filtered {
	unsigned int with, without;
	char name[64];
};

static bool has_filter(pid_t pid)
{
	char path[64], line[128];
	int mode = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Seccomp: %d", &mode) == 1)
			break;
	if (f)
		fclose(f);
	return mode == 2;
}

static void count_filter(const struct guest *g, void *opaque)
{
	struct filtered *n = opaque;

	if (!g->pid)
		return;
	if (has_filter(g->pid))
		n->with++;
	else if (!n->without++)
		snprintf(n->name, sizeof(n->name), "%s", g->name);
}

static void check_sandbox(const json_t *host, struct finding *f)
{
	struct filtered n = {0};

	guest_each(count_filter, &n);
	if (n.without)
		FOUND(f, better, "who breaks out of such a guest may make any system call",
		      "# start it with -sandbox on,elevateprivileges=deny,spawn=deny,"
		      "resourcecontrol=deny",
		      "%u of %u running guests have none (%s)", n.without, n.with + n.without,
		      n.name);
	else
		FOUND(f, good, "", "", "%u running guests have one, none has not", n.with);
}

static void check_memory(const json_t *host, struct finding *f)
{
	FILE *file = fopen("/proc/meminfo", "re");
	OWNED(char *) size = NULL;
	char line[128];
	uint64_t kib = 0;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
			break;
	if (file)
		fclose(file);
	size = cli_size(kib * 1024);
	if (kib < 512 * 1024)
		FOUND(f, missing, "hardly room for a guest", "", "%s available", size);
	else
		FOUND(f, good, "", "", "%s available", size);
}

static const struct {
	const char *name;
	bool essential;
	void (*look)(const json_t *host, struct finding *f);
} checks[] = {
	{"KVM", true, check_kvm},
	{"KVM capabilities", false, check_caps},
	{"speed of ring 0", true, check_ring0},
	{"free memory", true, check_memory},
	{"huge pages (hugetlb)", false, check_hugetlb},
	{"huge pages (transparent)", false, check_ram_huge},
	{"userfaultfd", false, check_userfaultfd},
	{"locked memory", false, check_memlock},
	{"tun/tap", false, check_tun},
	{"vhost-net", false, check_vhost},
	{"clock source", false, check_clock},
	{"seccomp", false, check_seccomp},
	{"system call filters", false, check_sandbox},
};

/* The VMM's answer, or {"error": ...}. */
static json_t *probe(void)
{
	OWNED(char *) program = vmm_program();
	OWNED(char *) command = str_printf("exec timeout 30 '%s' -probe-host 2>&1", program);
	FILE *out = strchr(program, '\'') ? NULL : popen(command, "re");
	char text[8192];
	size_t n = out ? fread(text, 1, sizeof(text) - 1, out) : 0;
	json_t *answer;

	text[n] = '\0';
	if (out)
		pclose(out);
	answer = json_loads(text, 0, NULL);
	text[strcspn(text, "\n")] = '\0';
	return answer ? answer
		      : json_pack("{s:s}", "error", n ? text : "outlive-vmm can't be started");
}

static void print_finding(const char *name, const struct finding *f)
{
	printf("%-28s %-16s %s\n", name, f->level, f->found);
	if (*f->cost)
		printf("%-28s   cost: %s\n", "", f->cost);
	if (*f->mend)
		printf("%-28s   mend: %s\n", "", f->mend);
}

/**
 * cmd_doctor() - outlive doctor
 * @args:	Parsed
 *
 * Return: CLI_FAILED if something essential is missing
 */
int cmd_doctor(const struct cli_args *args)
{
	OWNED_JSON *host = probe();
	OWNED_JSON *all = json_array();
	int code = CLI_OK;

	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		struct finding f = {0};

		checks[i].look(host, &f);
		if (checks[i].essential && f.level == missing)
			code = CLI_FAILED;
		json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:s, s:s, s:b}", "check",
						     checks[i].name, "level", f.level, "found",
						     f.found, "cost", f.cost, "mend", f.mend,
						     "essential", checks[i].essential));
		if (!args->json)
			print_finding(checks[i].name, &f);
	}
	if (args->json)
		cli_print_json(all);
	return code;
}
