/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The witness for guests that run Linux: one thread per CPU instead of vCPUs, memory of its own
 * instead of all the guest's, the kernel's clocks instead of KVM's; all else is the same code.
 * Reports are lines on the standard output, requests letters on the standard input. The report page
 * is in private memory; dump=FILE keeps a copy for tools/pulse-report.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "disk.h"
#include "peer.h"

#define CALIBRATE_NS 50000000ull

/** struct options - Words that only this form knows */
struct options {
	const char *disk;
	const char *dump;
	const char *peer;
};

static struct witness witness;
static struct options options;
static cpu_set_t allowed; /* CPUs we may use, before threads are pinned */
static union {
	struct pulse_report report;
	uint8_t bytes[PULSE_REPORT_MAX];
} page __attribute__((aligned(4096)));

static uint64_t read_clock(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t mono(unsigned int cpu)
{
	return read_clock(CLOCK_MONOTONIC);
}

/* As the monotonic clock was given, both must be of one moment: their difference now is used. */
static uint64_t wall(uint64_t mono_ns)
{
	return mono_ns + (read_clock(CLOCK_REALTIME) - read_clock(CLOCK_MONOTONIC));
}

static void save(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, &page, witness.report->size) < 0)
		perror(path);
	if (fd >= 0)
		close(fd);
}

static void print(const char *line, size_t length)
{
	while (length) {
		ssize_t n = write(STDOUT_FILENO, line, length);

		if (n <= 0)
			break;
		line += n;
		length -= (size_t)n;
	}
	if (options.dump)
		save(options.dump);
}

static bool console(void)
{
	return false;
}

static int letter(void)
{
	char c;

	return read(STDIN_FILENO, &c, 1) == 1 ? c : -1;
}

static void rest(uint64_t ns)
{
	struct timespec t = {.tv_sec = (time_t)(ns / 1000000000),
			     .tv_nsec = (long)(ns % 1000000000)};

	nanosleep(&t, NULL);
}

static void end(const struct witness *w, uint32_t code)
{
	_exit((int)code);
}

static const struct witness_hooks hooks = {
	.mono = mono,
	.wall = wall,
	.print = print,
	.console = console,
	.letter = letter,
	.sleep = rest,
	.end = end,
};

static uint64_t measure_hz(void)
{
	uint64_t ns = read_clock(CLOCK_MONOTONIC_RAW), ticks = tsc(), passed;

	do {
		passed = read_clock(CLOCK_MONOTONIC_RAW) - ns;
	} while (passed < CALIBRATE_NS);
	return (uint64_t)((unsigned __int128)(tsc() - ticks) * 1000000000u / passed);
}

static void clocks_start(struct witness *w)
{
	w->report->tsc_source = w->args.tsc_hz ? PULSE_TSC_PARAMETER : PULSE_TSC_HOST;
	clock_set(&w->clock, w->args.tsc_hz ? w->args.tsc_hz : measure_hz());
	w->report->tsc_hz = w->clock.hz;
	w->report->has_mono = 1;
	w->report->tsc_start = tsc();
	w->report->mono_start_ns = mono(0);
}

/* Memory of our own; numbered by its addresses. */
static int memory_start(struct witness *w)
{
	uint64_t bytes = w->args.working / PAGE_BYTES * PAGE_BYTES;
	uint64_t shadow_bytes = bytes / PAGE_BYTES * sizeof(uint32_t);
	void *at, *shadow;

	at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	shadow = mmap(NULL, shadow_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	if (at == MAP_FAILED || shadow == MAP_FAILED)
		return -errno;
	witness_memory_add(w, (uintptr_t)at, bytes, at);
	witness_memory_divide(w, shadow);
	w->report->ram_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	return 0;
}

/* Each thread on a CPU of its own, as far as there are any. */
static void pin(unsigned int n)
{
	cpu_set_t one;
	unsigned int seen = 0;

	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || seen++ != n)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
		witness.cpu[n].apic_id = (uint32_t)cpu;
	}
}

static void *run(void *arg)
{
	unsigned int n = (unsigned int)(uintptr_t)arg;

	pin(n);
	witness_work(&witness, n);
}

static int threads_start(struct witness *w)
{
	for (unsigned int n = 0; n < w->report->cpus; n++) {
		pthread_t thread;
		int code = n ? pthread_create(&thread, NULL, run, (void *)(uintptr_t)n) : 0;

		if (code)
			return -code;
		w->cpu[n].index = n;
		w->cpu[n].online = 1;
	}
	pin(0);
	return 0;
}

static int usage(const char *word)
{
	fprintf(stderr,
		"pulse-linux: can't understand %s\n"
		"usage: pulse-linux [NAME=VALUE]... [disk=PATH] [peer=udp:A.B.C.D:PORT] "
		"[dump=FILE]; see docs/pulse.md\n",
		word);
	return 2;
}

static int parse(struct witness *w, char **words)
{
	args_default(&w->args);
	for (; *words; words++) {
		if (!strncmp(*words, "disk=", 5))
			options.disk = *words + 5;
		else if (!strncmp(*words, "dump=", 5))
			options.dump = *words + 5;
		else if (!strncmp(*words, "peer=", 5))
			options.peer = *words + 5;
		else if (!args_known(*words) || args_parse(&w->args, *words))
			return usage(*words);
	}
	if (w->args.fill != FILL_NONE || w->args.working == SIZE_ALL)
		return usage("fill= or ws=all: there is only the working set here, give ws=SIZE");
	if (w->args.net && !options.peer)
		return usage("net= without peer=udp:A.B.C.D:PORT or peer=tcp:A.B.C.D:PORT");
	if (options.peer && !w->args.net)
		w->args.net = 1;
	return 0;
}

static uint32_t cpu_count(const struct witness *w)
{
	uint64_t n = w->args.cpus;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		CPU_ZERO(&allowed);
	if (!n)
		n = CPU_COUNT(&allowed) ? (uint64_t)CPU_COUNT(&allowed) : 1;
	return n < PULSE_MAX_CPUS ? (uint32_t)n : PULSE_MAX_CPUS;
}

static int prepare(struct witness *w)
{
	int code;

	w->hooks = &hooks;
	witness_report_start(w, &page);
	w->report->form = PULSE_FORM_LINUX;
	w->report->cpus = cpu_count(w);
	if (getrandom(&w->report->life, sizeof(w->report->life), 0) < 0)
		return -errno;
	clocks_start(w);
	code = memory_start(w);
	if (!code && options.disk)
		code = disk_start(w, &w->report->device[0], options.disk);
	if (!code && options.peer)
		code = peer_start(w, &w->report->device[options.disk ? 1 : 0], options.peer);
	return code;
}

/**
 * main() - Run the witness until it is asked to quit
 * @argc:	Count of @argv
 * @argv:	Parameters, as name=value
 * Return: 0; 1 when something was found wrong; 2 when it can't begin
 */
int main(int argc, char **argv)
{
	int code = parse(&witness, argv + 1);

	if (code)
		return code;
	code = prepare(&witness);
	if (!code) {
		fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
		witness_start(&witness);
		code = threads_start(&witness);
	}
	if (code) {
		fprintf(stderr, "pulse-linux: %s\n", strerror(-code));
		return 2;
	}
	witness_work(&witness, 0);
}
