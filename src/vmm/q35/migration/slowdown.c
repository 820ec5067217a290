/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: after each round the engine says how far it is. If two rounds in a row show
 * that rounds alone won't do, the guest is slowed, and more so with each further one: with
 * auto-converge all vCPUs by a percentage, with dirty-limit only those that write more than they
 * may. What was begun lasts until the guest is stopped or the job ends.
 */
#include "vmm/q35/migration/migration.h"

#include "base/log.h"
#include "base/owned.h"

#define STUCK_ROUNDS 2 /* one may be chance */

/**
 * slowdown_begin() - A job begins; nothing is slowed yet
 * @m:	Main thread
 */
void slowdown_begin(struct migration *m)
{
	const struct vm *vm = &m->guest->q->vm;
	struct slowdown *s = &m->slowdown;

	s->stuck = s->percent = 0;
	s->limited = false;
	s->rested_len = vm->vcpus_len;
	s->rested_ns = mem_realloc(s->rested_ns, (s->rested_len + 1) * sizeof(*s->rested_ns));
	for (unsigned int i = 0; i < s->rested_len; i++)
		s->rested_ns[i] = vm_vcpu_rested_ns(vm->vcpus[i]);
}

/* Tells what query-migrate shows. */
static void tell(struct migration *m, unsigned int percent, bool limited)
{
	pthread_mutex_lock(&m->lock);
	m->slowdown.percent = percent;
	m->slowdown.limited = limited;
	pthread_mutex_unlock(&m->lock);
}

static void slow_all(struct migration *m, const struct converge_rules *rules,
		     const struct migrate_progress *p)
{
	struct slowdown *s = &m->slowdown;
	unsigned int percent = converge_next(rules, p, s->percent);
	struct err e;
	int r = 0;

	if (s->throttle)
		throttle_set(s->throttle, percent);
	else
		r = throttle_start(&s->throttle, &m->guest->q->vm, percent, &e);
	if (r < 0)
		log_warn("migrate: %s", e.msg);
	else
		tell(m, percent, false);
	log_info("migrate: the guest writes faster than it is sent: slowed by %u %%", percent);
}

static void slow_writers(struct migration *m, uint64_t limit)
{
	if (m->slowdown.limited)
		return;
	vm_dirty_limit(&m->guest->q->vm, limit);
	tell(m, 0, true);
	log_info("migrate: the guest writes faster than it is sent: each vCPU may write %llu MiB/s",
		 (unsigned long long)(limit / MiB));
}

/**
 * slowdown_round() - A round has ended, and another one follows
 * @m:		From the job's thread
 * @p:		After the round, with the prediction
 * @limit_us:	Pause to get below
 */
void slowdown_round(struct migration *m, const struct migrate_progress *p, uint64_t limit_us)
{
	struct slowdown *s = &m->slowdown;
	struct converge_rules rules;
	uint64_t limit;

	if (!(m->capabilities & (CAPABILITY_AUTO_CONVERGE | CAPABILITY_DIRTY_LIMIT)))
		return;
	pthread_mutex_lock(&m->lock);
	rules = s->rules;
	limit = s->dirty_limit;
	pthread_mutex_unlock(&m->lock);
	s->stuck = converge_stuck(p, limit_us, rules.threshold) ? s->stuck + 1 : 0;
	if (s->stuck < STUCK_ROUNDS)
		return;
	if (m->capabilities & CAPABILITY_DIRTY_LIMIT)
		slow_writers(m, limit);
	else
		slow_all(m, &rules, p);
}

/**
 * slowdown_end() - Nothing is slowed any more
 * @m:	Job's or main thread, while the other one waits
 */
void slowdown_end(struct migration *m)
{
	struct slowdown *s = &m->slowdown;

	throttle_stop(s->throttle);
	s->throttle = NULL;
	if (s->limited)
		vm_dirty_limit(&m->guest->q->vm, 0);
	tell(m, 0, false);
}

/* QEMU's members, as of its version 8.1. */
static void describe_limit(const struct q35 *q, json_t *info)
{
	uint64_t ring = (uint64_t)kvm_vm_ring_entries(q->kvm) * 4096, rates = 0;
	const struct vm *vm = &q->vm;
	int64_t longest_ns = 0;

	for (unsigned int i = 0; i < vm->vcpus_len; i++) {
		longest_ns = MAX(longest_ns, vm_vcpu_paced_ns(vm->vcpus[i]));
		rates += vm_vcpu_dirty_rate(vm->vcpus[i]);
	}
	rates /= MAX(vm->vcpus_len, 1u);
	json_object_set_new(info, "dirty-limit-throttle-time-per-round",
			    json_integer((json_int_t)longest_ns / 1000));
	json_object_set_new(
		info, "dirty-limit-ring-full-time",
		json_integer(rates ? (json_int_t)((double)ring * 1e6 / (double)rates) : 0));
}

/**
 * guest_query_vcpu_dirty_limit() - QMP query-vcpu-dirty-limit
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	An object per vCPU; an empty array where no limit holds, as QEMU
 * @e:		Not set
 *
 * Return: 0
 */
int guest_query_vcpu_dirty_limit(void *opaque, struct control_request *rq, const json_t *args,
				 json_t **ret, struct err *e)
{
	const struct vm *vm = &((struct guest *)opaque)->q->vm;
	uint64_t limit = vm_dirty_limit_bytes(vm);

	*ret = json_array();
	for (unsigned int i = 0; i < vm->vcpus_len && limit; i++)
		json_array_append_new(
			*ret, json_pack("{s:i, s:I, s:I}", "cpu-index", (int)vm->vcpus[i]->index,
					"limit-rate", (json_int_t)(limit / MiB), "current-rate",
					(json_int_t)(vm_vcpu_dirty_rate(vm->vcpus[i]) / MiB)));
	return 0;
}

/**
 * slowdown_describe() - Its part of query-migrate
 * @m:		Main thread
 * @info:	Added to
 */
void slowdown_describe(struct migration *m, json_t *info)
{
	const struct vm *vm = &m->guest->q->vm;
	json_t *rested = json_array();
	unsigned int percent;

	pthread_mutex_lock(&m->lock);
	percent = m->slowdown.percent;
	pthread_mutex_unlock(&m->lock);
	if (vm_dirty_limit_bytes(vm))
		describe_limit(m->guest->q, info);
	if (percent)
		json_object_set_new(info, "cpu-throttle-percentage", json_integer(percent));
	/* a vCPU that came later than the job isn't among them */
	for (unsigned int i = 0; i < MIN(vm->vcpus_len, m->slowdown.rested_len); i++) {
		uint64_t ns = vm_vcpu_rested_ns(vm->vcpus[i]) - m->slowdown.rested_ns[i];

		json_array_append_new(rested, json_integer((json_int_t)(ns / 1000)));
	}
	json_object_set_new(info, "outlive-throttled-us", rested);
}
