/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: each thread that the guest waits for in the pause needs a CPU a few times.
 * If another program has it, or a thread of the kernel, it keeps it until the scheduler's next tick
 * (4 ms), which is several times the whole pause. So for its length these threads run at real-time
 * priority, where this process may (CAP_SYS_NICE, RLIMIT_RTPRIO); elsewhere nothing is different.
 * Round robin at the lowest priorities there are: threads that poll and yield let each other run on
 * a CPU they share, and no real-time program of the host's is held up. Who has been given such a
 * priority keeps his own.
 *
 * A vCPU in its guest doesn't give its CPU away. So the main thread of the new process gets one
 * priority more before it starts them, and takes theirs from them a moment later: from as many at a
 * time as there are CPUs, so that each has been in its guest before.
 */
#include "vmm/q35/upgrade/upgrade.h"

#include "base/clock.h"
#include "base/owned.h"
#include "device/virtio/io_thread.h"

#include <sched.h>
#include <time.h>
#include <unistd.h>

#define PRIORITY       1 /* of 1 to 99 */
#define PRIORITY_ABOVE 2
#define TURN_NS        (100 * NS_PER_US) /* to get a CPU and into the guest */

static void hurry(struct urgency *u, pid_t tid)
{
	int policy = sched_getscheduler(tid);

	if (policy != SCHED_OTHER && policy != SCHED_BATCH && policy != SCHED_IDLE)
		return;
	if (placement_schedule(tid, SCHED_RR, PRIORITY) < 0)
		return;
	u->threads = mem_realloc(u->threads, (u->len + 1) * sizeof(*u->threads));
	u->threads[u->len++] = (struct urgent){.tid = tid, .policy = policy};
}

static void hurry_io(struct io_thread *t, void *opaque)
{
	hurry(opaque, io_thread_tid(t));
}

/**
 * urgency_begin() - The guest waits for its threads, or will in a moment
 * @u:		Zeroed, or ended
 * @vm:		The machine; main thread
 */
void urgency_begin(struct urgency *u, const struct vm *vm)
{
	hurry(u, gettid());
	for (unsigned int i = 0; i < vm->vcpus_len; i++)
		hurry(u, vm_vcpu_tid(vm->vcpus[i]));
	io_thread_for_each(hurry_io, u);
}

/**
 * urgency_start() - The vCPUs are about to run
 * @u:		Begun; urgency_settle() when they do
 */
void urgency_start(struct urgency *u)
{
	if (u->len && placement_schedule(gettid(), SCHED_RR, PRIORITY_ABOVE) < 0)
		urgency_end(u);
}

static void lower(const struct urgent *t)
{
	(void)!placement_schedule(t->tid, t->policy, 0);
}

/**
 * urgency_settle() - The vCPUs run, or will when there is a CPU for them
 * @u:		Started; ended afterwards
 */
void urgency_settle(struct urgency *u)
{
	const struct timespec turn = {.tv_nsec = TURN_NS};
	unsigned int cpus = placement_cpus(), n = 0;

	for (size_t i = 0; i < u->len; i++) {
		if (u->threads[i].tid == gettid())
			continue;
		if (n++ % cpus == 0)
			nanosleep(&turn, NULL);
		lower(&u->threads[i]);
	}
	urgency_end(u);
}

/**
 * urgency_end() - Nobody waits any more: each thread is as it was
 * @u:		Begun or not
 */
void urgency_end(struct urgency *u)
{
	for (size_t i = u->len; i-- > 0;) /* this thread last, so that it gets there */
		lower(&u->threads[i]);
	free(u->threads);
	*u = (struct urgency){0};
}
