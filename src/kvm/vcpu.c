/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a kick must never be lost. The kicker writes immediate_exit and then sends a
 * signal; the thread clears immediate_exit when KVM_RUN has returned and only then looks at what it
 * was kicked for. So a kick that comes
 * - before KVM_RUN is seen by the kernel as immediate_exit,
 * - inside KVM_RUN ends it by the signal,
 * - after it is found by the thread's own look, or stays in immediate_exit for the next run.
 * The signal is only sent while the thread is in KVM_RUN; its handler does nothing.
 *
 * KVM has no way to end a vCPU while its machine lives. One that is taken out of the machine is
 * parked: it stays as it is, run by nobody, until one with its id is wanted again.
 */
#include "base/log.h"
#include "base/owned.h"
#include "kvm/private.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define KICK_SIGNAL SIGUSR1

static int map_pages(struct kvm_vcpu *c, struct err *e)
{
	size_t page = page_size();
	void *p = mmap(NULL, c->vm->host->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);

	if (p == MAP_FAILED)
		return err_sys(e, "map the run page of vCPU %u", c->id);
	c->run = p;
	if (!c->vm->ring_bytes)
		return 0;
	p = mmap(NULL, c->vm->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd,
		 (off_t)(page * KVM_DIRTY_LOG_PAGE_OFFSET));
	if (p == MAP_FAILED)
		return err_sys(e, "map the dirty ring of vCPU %u", c->id);
	c->ring = p;
	return 0;
}

static struct kvm_vcpu *unpark(struct kvm_vm *vm, unsigned int id)
{
	struct kvm_vcpu *c, *found = NULL;

	pthread_mutex_lock(&vm->vcpus_lock);
	list_for_each (c, &vm->vcpus, link)
		if (c->parked && c->id == id)
			found = c;
	if (found)
		found->parked = false;
	pthread_mutex_unlock(&vm->vcpus_lock);
	return found;
}

/**
 * kvm_vcpu_park() - Take a vCPU out of its machine
 * @c:		No thread runs it; kvm_vcpu_create() gives it out again, in the state it has now
 */
void kvm_vcpu_park(struct kvm_vcpu *c)
{
	pthread_mutex_lock(&c->vm->vcpus_lock);
	c->parked = true;
	pthread_mutex_unlock(&c->vm->vcpus_lock);
}

/**
 * kvm_vcpu_create() - Create a vCPU, or take one that was parked
 * @ret:	Set on success; release with kvm_vcpu_destroy() or kvm_vcpu_park()
 * @vm:		Its machine
 * @id:		APIC id on x86, below caps.max_vcpus
 * @e:		Set on failure
 *
 * Errors: EEXIST the id is taken; EINVAL too many vCPUs; else as the ioctls
 * Return: 0, or a negative errno
 */
int kvm_vcpu_create(struct kvm_vcpu **ret, struct kvm_vm *vm, unsigned int id, struct err *e)
{
	struct kvm_vcpu *c = unpark(vm, id);
	int r;

	if (c) {
		*ret = c;
		return 0;
	}
	c = mem_zalloc(sizeof(*c));
	c->stats_fd = -1;
	list_init(&c->link);
	c->vm = vm;
	c->id = id;
	c->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)id);
	r = c->fd < 0 ? err_sys(e, "KVM_CREATE_VCPU %u", id) : map_pages(c, e);
	if (r < 0) {
		kvm_vcpu_destroy(c);
		return r;
	}
	pthread_mutex_lock(&vm->vcpus_lock);
	list_add_tail(&vm->vcpus, &c->link);
	pthread_mutex_unlock(&vm->vcpus_lock);
	*ret = c;
	return 0;
}

/**
 * kvm_vcpu_destroy() - Release a vCPU
 * @c:		No thread runs it; or NULL
 */
void kvm_vcpu_destroy(struct kvm_vcpu *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->vm->vcpus_lock);
	list_del(&c->link);
	pthread_mutex_unlock(&c->vm->vcpus_lock);
	if (c->ring)
		munmap(c->ring, c->vm->ring_bytes);
	if (c->run)
		munmap(c->run, c->vm->host->run_size);
	fd_close(&c->stats_fd);
	fd_close(&c->fd);
	free(c);
}

/**
 * kvm_vcpu_run_page() - What the last exit was, and what the next run takes
 * @c:		A vCPU
 *
 * Return: the page shared with the kernel; own thread only
 */
struct kvm_run *kvm_vcpu_run_page(struct kvm_vcpu *c)
{
	return c->run;
}

/**
 * kvm_vcpu_fd() - The vCPU's file descriptor
 * @c:		A vCPU
 *
 * Return: fd, still the vCPU's
 */
int kvm_vcpu_fd(const struct kvm_vcpu *c)
{
	return c->fd;
}

/**
 * kvm_vcpu_id() - The vCPU's number
 * @c:		A vCPU
 *
 * Return: as given to kvm_vcpu_create()
 */
unsigned int kvm_vcpu_id(const struct kvm_vcpu *c)
{
	return c->id;
}

/**
 * kvm_vcpu_host() - The host a vCPU is on
 * @c:		A vCPU
 *
 * Return: as given to kvm_vm_create()
 */
const struct kvm_host *kvm_vcpu_host(const struct kvm_vcpu *c)
{
	return c->vm->host;
}

static void kicked(int sig)
{
}

/**
 * kvm_vcpu_thread_init() - Make the calling thread one that can be kicked
 * @e:		Set on failure
 *
 * Every other thread of the process should block the signal.
 *
 * Errors: as sigaction(2)
 * Return: 0, or a negative errno
 */
int kvm_vcpu_thread_init(struct err *e)
{
	struct sigaction action = {.sa_handler = kicked};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, KICK_SIGNAL);
	if (sigaction(KICK_SIGNAL, &action, NULL) < 0)
		return err_sys(e, "handler of the kick signal");
	if (pthread_sigmask(SIG_UNBLOCK, &set, NULL))
		return err_set(e, EINVAL, "can't unblock the kick signal");
	return 0;
}

static int run_once(struct kvm_vcpu *c)
{
	int r;

	__atomic_store_n(&c->in_run, true, __ATOMIC_SEQ_CST);
	r = ioctl(c->fd, KVM_RUN, 0) < 0 ? -errno : 0;
	__atomic_store_n(&c->in_run, false, __ATOMIC_SEQ_CST);
	return r == -EAGAIN ? -EINTR : r; /* EAGAIN: kicked while waiting for its start-up IPI */
}

/**
 * kvm_vcpu_run() - Run guest code until an exit
 * @c:		A vCPU; own thread only
 *
 * Return: 0: look at the run page; -EINTR: kicked; else a negative errno
 */
int kvm_vcpu_run(struct kvm_vcpu *c)
{
	int r = run_once(c);

	if (r == -EINTR)
		__atomic_store_n(&c->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	return r;
}

/**
 * kvm_vcpu_kick() - Make the running or the next kvm_vcpu_run() return -EINTR
 * @c:		A vCPU
 * @thread:	That runs it
 *
 * Any thread. Say what for before the kick.
 */
void kvm_vcpu_kick(struct kvm_vcpu *c, pthread_t thread)
{
	__atomic_store_n(&c->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&c->in_run, __ATOMIC_SEQ_CST))
		pthread_kill(thread, KICK_SIGNAL);
}

/**
 * kvm_vcpu_complete_io() - Complete the I/O exit that was just served
 * @c:		A vCPU; own thread only
 *
 * Return: -EINTR: done, the registers are consistent; 0: another exit to serve first, then call
 * again; else a negative errno
 */
int kvm_vcpu_complete_io(struct kvm_vcpu *c)
{
	int r;

	__atomic_store_n(&c->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	r = run_once(c);
	__atomic_store_n(&c->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	return r;
}

static int mask_in_run(struct kvm_vcpu *c, const struct kvm_signal_mask *mask, struct err *e)
{
	return ioctl(c->fd, KVM_SET_SIGNAL_MASK, mask) < 0
		       ? err_sys(e, "KVM_SET_SIGNAL_MASK of vCPU %u", c->id)
		       : 0;
}

/* KVM_RUN with the kick signal pending: it looks after interrupts and comes back. */
static int run_signalled(struct kvm_vcpu *c, const sigset_t *kick, struct err *e)
{
	const struct timespec no_time = {0};
	struct {
		struct kvm_signal_mask head;
		uint64_t set;
	} none = {.head.len = 8};
	int r = mask_in_run(c, &none.head, e);

	if (r < 0)
		return r;
	pthread_kill(pthread_self(), KICK_SIGNAL);
	r = run_once(c);
	sigtimedwait(kick, NULL, &no_time);
	if (r != -EINTR)
		return err_set(e, EIO, "vCPU %u ran though it had a signal", c->id);
	return mask_in_run(c, NULL, e);
}

/**
 * kvm_vcpu_settle() - Have KVM write down what its timers have for a vCPU
 * @c:		A vCPU out of guest mode, its last I/O complete; its own thread, or one that blocks
 *		the kick signal while that one is parked
 * @e:		Set on failure
 *
 * A timer that has ended is only counted until the vCPU runs next; then it becomes an interrupt
 * request. KVM_RUN with a signal pending does that and returns before it enters the guest.
 *
 * Errors: EIO the kernel ran the guest all the same; else as the ioctls
 * Source: Linux 6.1 arch/x86/kvm/x86.c vcpu_run()
 * Return: 0, or a negative errno
 */
int kvm_vcpu_settle(struct kvm_vcpu *c, struct err *e)
{
	sigset_t kick, before;
	int r;

	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_BLOCK, &kick, &before);
	r = run_signalled(c, &kick, e);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

/**
 * kvm_vcpu_translate() - Where the vCPU's page tables lead
 * @c:		The vCPU; its own thread, or it is parked
 * @gva:	Address as the guest's code has it
 * @ret_gpa:	Set on success; without paging it is @gva
 *
 * Source: KVM API 4.7
 * Return: false: nothing is mapped there
 */
bool kvm_vcpu_translate(struct kvm_vcpu *c, uint64_t gva, uint64_t *ret_gpa)
{
	struct kvm_translation t = {.linear_address = gva};

	if (ioctl(c->fd, KVM_TRANSLATE, &t) < 0 || !t.valid)
		return false;
	*ret_gpa = t.physical_address;
	return true;
}

/**
 * kvm_vcpu_nmi() - Send a non-maskable interrupt to a vCPU
 * @c:		The vCPU; its own thread, or it is parked: the kernel would wait for KVM_RUN to end
 */
void kvm_vcpu_nmi(struct kvm_vcpu *c)
{
	if (ioctl(c->fd, KVM_NMI) < 0)
		log_error("vCPU %u takes no NMI: errno %d", c->id, errno);
}

/**
 * kvm_vcpu_smi() - Send a system management interrupt to a vCPU
 * @c:		The vCPU, of a host with caps.smm; its own thread, or it is parked
 */
void kvm_vcpu_smi(struct kvm_vcpu *c)
{
	if (ioctl(c->fd, KVM_SMI) < 0)
		log_error("vCPU %u takes no SMI: errno %d", c->id, errno);
}

/**
 * kvm_vcpu_in_smm() - Did a vCPU leave guest mode from within system management mode?
 * @c:		The vCPU; own thread
 *
 * Source: Documentation/virt/kvm/api.rst, KVM_RUN_X86_SMM
 * Return: false where there is no such mode
 */
bool kvm_vcpu_in_smm(const struct kvm_vcpu *c)
{
#ifdef KVM_RUN_X86_SMM
	return c->run->flags & KVM_RUN_X86_SMM;
#else
	return false;
#endif
}
