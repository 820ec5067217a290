/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: on which CPUs a thread may run and how it is scheduled is set from outside
 * (libvirt and operators pin vCPUs by the ids that QMP tells) and belongs to the thread, not to a
 * command line. So it is read from the threads and given to those of the new process. Where that
 * isn't allowed to the new process, the upgrade is refused: a guest that was pinned and isn't any
 * more would run on, only badly, and nobody would know.
 */
#include "vmm/q35/upgrade/upgrade.h"

#include "base/owned.h"
#include "device/virtio/io_thread.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define CPUS_MAX 8192 /* of a Linux on x86 */

/**
 * struct cpus - A set of host CPUs, as large as any kernel's
 * @bits:	For the CPU_..._S() macros
 */
struct cpus {
	cpu_set_t bits[CPUS_MAX / CPU_SETSIZE];
};

static json_t *cpus_describe(pid_t tid)
{
	json_t *list = json_array();
	struct cpus set;

	CPU_ZERO_S(sizeof(set), set.bits);
	if (sched_getaffinity(tid, sizeof(set), set.bits) < 0)
		return list;
	for (int i = 0; i < CPUS_MAX; i++)
		if (CPU_ISSET_S((size_t)i, sizeof(set), set.bits))
			json_array_append_new(list, json_integer(i));
	return list;
}

static json_t *thread_describe(pid_t tid)
{
	struct sched_param param = {0};

	sched_getparam(tid, &param);
	return json_pack("{s:o, s:i, s:i, s:i}", "cpus", cpus_describe(tid), "policy",
			 sched_getscheduler(tid), "priority", param.sched_priority, "nice",
			 getpriority(PRIO_PROCESS, (id_t)tid));
}

static int cpus_set(pid_t tid, const json_t *list)
{
	struct cpus set;
	size_t i;
	json_t *cpu;

	CPU_ZERO_S(sizeof(set), set.bits);
	json_array_foreach ((json_t *)(uintptr_t)list, i, cpu)
		CPU_SET_S((size_t)json_integer_value(cpu), sizeof(set), set.bits);
	return sched_setaffinity(tid, sizeof(set), set.bits);
}

/**
 * placement_schedule() - Set how a thread is scheduled
 * @tid:	Which
 * @policy:	A SCHED_ word
 * @priority:	Of a real-time policy; else 0
 *
 * Errors: errno as sched_setscheduler(2)
 * Return: 0, or -1
 */
int placement_schedule(pid_t tid, int policy, int priority)
{
	const struct sched_param param = {.sched_priority = priority};

	return sched_setscheduler(tid, policy, &param);
}

/* @want: From thread_describe(); NULL: nobody knows. Only what differs is set. */
static int thread_place(pid_t tid, const json_t *want, const char *who, struct err *e)
{
	OWNED_JSON *now = thread_describe(tid);
	const json_t *cpus = json_object_get(want, "cpus");
	int nice = (int)option_int(want, "nice", 0), r = 0;

	if (!want || json_equal(now, want))
		return 0;
	if (!json_equal(json_object_get(now, "cpus"), cpus))
		r = cpus_set(tid, cpus);
	if (r == 0 && option_int(now, "nice", 0) != nice)
		r = setpriority(PRIO_PROCESS, (id_t)tid, nice);
	if (r == 0 && (option_int(now, "policy", 0) != option_int(want, "policy", 0) ||
		       option_int(now, "priority", 0) != option_int(want, "priority", 0)))
		r = placement_schedule(tid, (int)option_int(want, "policy", 0),
				       (int)option_int(want, "priority", 0));
	if (r == 0)
		return 0;
	err_sys(e, "%s: its thread can't get the CPUs and the priority that the old one has", who);
	return err_hint(e, "unpin it, or allow it (LimitRTPRIO=, LimitNICE=, -sandbox "
			   "resourcecontrol=allow)");
}

static bool is_io_thread(const json_t *object)
{
	return !strcmp(option_str(object, "qom-type", ""), "iothread");
}

/**
 * placement_describe() - Where the guest's threads run
 * @g:		The guest; main thread
 *
 * Return: new reference, for placement_adopt()
 */
json_t *placement_describe(struct guest *g)
{
	json_t *vcpus = json_array(), *io_threads = json_object(), *o;
	struct vm *vm = &g->q->vm;
	size_t i;

	for (unsigned int n = 0; n < vm->vcpus_len; n++)
		json_array_append_new(vcpus, thread_describe(vm_vcpu_tid(vm->vcpus[n])));
	json_array_foreach (g->objects, i, o)
		if (is_io_thread(o))
			json_object_set_new(io_threads, option_str(o, "id", ""),
					    thread_describe(io_thread_tid(
						    io_thread_find(option_str(o, "id", "")))));
	return json_pack("{s:o, s:o, s:o}", "main", thread_describe(0), "vcpus", vcpus, "iothreads",
			 io_threads);
}

/**
 * placement_adopt() - Let the threads of this process run where those of the other one did
 * @g:		The guest, made
 * @want:	From placement_describe(); NULL: of a build that doesn't say
 * @e:		Set on failure only: the thread
 *
 * Errors: EPERM as sched_setaffinity(2), sched_setscheduler(2), setpriority(2)
 * Return: 0, or a negative errno
 */
int placement_adopt(struct guest *g, const json_t *want, struct err *e)
{
	const json_t *vcpus = json_object_get(want, "vcpus");
	struct vm *vm = &g->q->vm;
	int r = thread_place(0, json_object_get(want, "main"), "the main thread", e);
	const char *id;
	json_t *one;

	for (unsigned int n = 0; n < vm->vcpus_len && r >= 0; n++) {
		char who[32];

		snprintf(who, sizeof(who), "vCPU %u", vm->vcpus[n]->index);
		r = thread_place(vm_vcpu_tid(vm->vcpus[n]), json_array_get(vcpus, n), who, e);
	}
	json_object_foreach (json_object_get(want, "iothreads"), id, one) {
		OWNED(char *) who = str_printf("I/O thread %s", id);

		if (r >= 0 && io_thread_find(id))
			r = thread_place(io_thread_tid(io_thread_find(id)), one, who, e);
	}
	return r;
}

/**
 * placement_cpus() - How many host CPUs there are for this thread
 *
 * Return: 1 at least
 */
unsigned int placement_cpus(void)
{
	struct cpus set;

	CPU_ZERO_S(sizeof(set), set.bits);
	if (sched_getaffinity(0, sizeof(set), set.bits) < 0)
		return 1;
	return MAX(1U, (unsigned int)CPU_COUNT_S(sizeof(set), set.bits));
}
