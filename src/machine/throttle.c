/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a vCPU that is to be slower rests: it stays out of guest mode until a moment
 * (@rest_ns) that another thread, or itself, has written. It sleeps on a futex of the machine,
 * which vm_stop() changes, so that a pause is never longer for it.
 *
 * The throttle has a thread that lets all vCPUs run for SLICE_NS and then rest for as long as the
 * percentage asks. It doesn't look at what they do.
 *
 * The dirty limit hits only those that write. KVM's dirty ring knows which vCPU has dirtied a page;
 * each time the rings are emptied (one is full, or a round of a migration ends) the pages counted
 * so far say when this vCPU would have been allowed to have written them, and until then it rests.
 * A little may be written at once (CREDIT_NS); who has written less than allowed for a while saves
 * no more than that up.
 */
#include "machine/throttle.h"
#include "base/clock.h"
#include "base/owned.h"
#include "machine/private.h"

#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLICE_NS   (10 * NS_PER_MS)
#define CREDIT_NS  (100 * NS_PER_MS) /* what may be written at once of a dirty limit */
#define PAGE_BYTES 4096

/**
 * struct throttle - What slows all vCPUs
 * @vm:		The machine
 * @thread:	Makes them rest
 * @percent:	Of the time that they rest; 0: end (futex, atomic)
 */
struct throttle {
	struct vm *vm;
	pthread_t thread;
	uint32_t percent;
};

static void futex_sleep(uint32_t *word, uint32_t while_it_is, int64_t ns)
{
	struct timespec t = {.tv_sec = ns / NS_PER_SEC, .tv_nsec = ns % NS_PER_SEC};

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, while_it_is, &t, NULL, 0);
}

/**
 * vcpu_rests() - Has this vCPU been told to rest?
 * @v:		The vCPU
 */
bool vcpu_rests(const struct vm_vcpu *v)
{
	return __atomic_load_n(&v->rest_ns, __ATOMIC_RELAXED) != 0;
}

/**
 * vcpu_rest() - Rest as long as one was told to, unless the machine stops
 * @v:		The vCPU; own thread
 */
void vcpu_rest(struct vm_vcpu *v)
{
	int64_t begin = time_ns(), until, left;
	uint32_t count;

	do {
		count = __atomic_load_n(&v->vm->rest_count, __ATOMIC_SEQ_CST);
		until = __atomic_load_n(&v->rest_ns, __ATOMIC_SEQ_CST);
		left = until - time_ns();
		if (left > 0 && !vcpu_must_leave(v))
			futex_sleep(&v->vm->rest_count, count, left);
	} while (left > 0 && !vcpu_must_leave(v));
	if (left <= 0)
		__atomic_compare_exchange_n(&v->rest_ns, &until, 0, false, __ATOMIC_SEQ_CST,
					    __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&v->rested_ns, (uint64_t)(time_ns() - begin), __ATOMIC_RELAXED);
}

/**
 * vcpus_awake() - Have all vCPUs that rest look whether they still should
 * @vm:		The machine
 */
void vcpus_awake(struct vm *vm)
{
	__atomic_fetch_add(&vm->rest_count, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &vm->rest_count, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void rest_until(struct vm_vcpu *v, int64_t ns)
{
	__atomic_store_n(&v->rest_ns, ns, __ATOMIC_SEQ_CST);
	if (ns && v != vcpu_current())
		kvm_vcpu_kick(v->kvm, v->thread);
}

static void all_rest_until(struct vm *vm, int64_t ns)
{
	for (unsigned int i = 0; i < vm->vcpus_len; i++)
		rest_until(vm->vcpus[i], ns);
}

static uint32_t percent_clamp(unsigned int percent)
{
	return percent < 1 ? 1 : MIN(percent, 99u);
}

static void *throttle_main(void *arg)
{
	struct throttle *t = arg;
	uint32_t percent;

	while ((percent = __atomic_load_n(&t->percent, __ATOMIC_SEQ_CST)) != 0) {
		int64_t rest = SLICE_NS * percent / (100 - percent);

		all_rest_until(t->vm, time_ns() + rest);
		futex_sleep(&t->percent, percent, rest + SLICE_NS);
	}
	all_rest_until(t->vm, 0);
	vcpus_awake(t->vm);
	return NULL;
}

/**
 * throttle_start() - Slow all vCPUs down
 * @ret:	Set on success only; end it with throttle_stop()
 * @vm:		No vCPU may be added meanwhile
 * @percent:	Of the time that they don't run: 1 to 99
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno of pthread_create(3)
 */
int throttle_start(struct throttle **ret, struct vm *vm, unsigned int percent, struct err *e)
{
	struct throttle *t = mem_zalloc(sizeof(*t));
	sigset_t all, before;
	int r;

	t->vm = vm;
	t->percent = percent_clamp(percent);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&t->thread, NULL, throttle_main, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r) {
		free(t);
		return err_ret(e, -r, "start the thread that slows vCPUs");
	}
	pthread_setname_np(t->thread, "throttle");
	*ret = t;
	return 0;
}

static void percent_set(struct throttle *t, uint32_t percent)
{
	__atomic_store_n(&t->percent, percent, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &t->percent, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/**
 * throttle_set() - Change how much they are slowed
 * @t:		Started
 * @percent:	1 to 99
 */
void throttle_set(struct throttle *t, unsigned int percent)
{
	percent_set(t, percent_clamp(percent));
}

/**
 * throttle_stop() - Let them run as they can
 * @t:		Started, or NULL
 */
void throttle_stop(struct throttle *t)
{
	if (!t)
		return;
	percent_set(t, 0);
	pthread_join(t->thread, NULL);
	free(t);
}

static void limit_begin(struct vm_vcpu *v)
{
	v->limit_pages = kvm_vcpu_dirtied(v->kvm);
	__atomic_store_n(&v->limit_ns, time_ns(), __ATOMIC_SEQ_CST);
}

/**
 * vm_dirty_limit() - Limit what each vCPU may write
 * @vm:		With a dirty ring; any thread
 * @bytes:	A second; 0: no limit any more
 */
void vm_dirty_limit(struct vm *vm, uint64_t bytes)
{
	uint64_t pages = bytes ? MAX(bytes / PAGE_BYTES, (uint64_t)1) : 0;

	for (unsigned int i = 0; i < vm->vcpus_len && pages; i++)
		limit_begin(vm->vcpus[i]);
	__atomic_store_n(&vm->dirty_limit, pages, __ATOMIC_SEQ_CST);
	if (pages)
		return;
	all_rest_until(vm, 0);
	vcpus_awake(vm);
}

/**
 * vcpu_pace() - Have a vCPU rest that has written more than it may
 * @v:		The vCPU; its ring was just emptied. Any thread
 */
void vcpu_pace(struct vm_vcpu *v)
{
	uint64_t limit = __atomic_load_n(&v->vm->dirty_limit, __ATOMIC_SEQ_CST), pages;
	int64_t now = time_ns(), due;

	if (!limit)
		return;
	pages = kvm_vcpu_dirtied(v->kvm) - v->limit_pages;
	due = v->limit_ns + (int64_t)((double)pages / (double)limit * NS_PER_SEC);
	__atomic_store_n(&v->paced_ns, MAX(due - CREDIT_NS - now, (int64_t)0), __ATOMIC_RELAXED);
	if (due > now + CREDIT_NS)
		rest_until(v, due - CREDIT_NS);
	else if (due < now - CREDIT_NS)
		limit_begin(v);
}

/**
 * vm_dirty_pace() - Have those rest that have written more than they may
 * @vm:		Its rings were just emptied; any thread
 */
void vm_dirty_pace(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->vcpus_len; i++)
		vcpu_pace(vm->vcpus[i]);
}

/**
 * vm_dirty_limit_bytes() - What each vCPU may write
 * @vm:		Any thread
 *
 * Return: bytes a second; 0: there is no limit
 */
uint64_t vm_dirty_limit_bytes(const struct vm *vm)
{
	return __atomic_load_n(&vm->dirty_limit, __ATOMIC_SEQ_CST) * PAGE_BYTES;
}

/**
 * vm_vcpu_dirty_rate() - How fast a vCPU writes
 * @v:		The vCPU of a machine with a limit; any thread
 *
 * Return: bytes a second, from when the limit began to count
 */
uint64_t vm_vcpu_dirty_rate(const struct vm_vcpu *v)
{
	uint64_t pages = kvm_vcpu_dirtied(v->kvm) - v->limit_pages;
	int64_t ns = time_ns() - __atomic_load_n(&v->limit_ns, __ATOMIC_SEQ_CST);

	return ns > 0 ? (uint64_t)((double)pages * PAGE_BYTES * NS_PER_SEC / (double)ns) : 0;
}

/**
 * vm_vcpu_paced_ns() - How long a vCPU was told to rest when its ring was last emptied
 * @v:		The vCPU; any thread
 *
 * Return: ns; 0: it had written no more than it may
 */
int64_t vm_vcpu_paced_ns(const struct vm_vcpu *v)
{
	return __atomic_load_n(&v->paced_ns, __ATOMIC_RELAXED);
}

/**
 * vm_vcpu_rested_ns() - How long a vCPU was kept from running in all
 * @v:		The vCPU; any thread
 */
uint64_t vm_vcpu_rested_ns(const struct vm_vcpu *v)
{
	return __atomic_load_n(&v->rested_ns, __ATOMIC_RELAXED);
}
