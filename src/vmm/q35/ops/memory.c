/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: guest memory as QMP shows it, and the balloon. The guest moves the balloon
 * on a vCPU's thread; BALLOON_CHANGE is said on the main thread, once for all changes up to then.
 */
#include "vmm/q35/ops/ops.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/**
 * guest_balloon() - The balloon
 * @g:		The guest
 *
 * Return: borrowed, or NULL
 */
struct device *guest_balloon(struct guest *g)
{
	struct device *dev;

	list_for_each (dev, &g->q->devices, link)
		if (!strncmp(dev->class->name, "virtio-balloon-pci", 18))
			return dev;
	return NULL;
}

static void on_moved(void *opaque)
{
	struct guest *g = opaque;
	struct device *dev = guest_balloon(g);

	__atomic_store_n(&g->balloon_moved, false, __ATOMIC_RELEASE);
	if (dev)
		control_event(g->v->control, "BALLOON_CHANGE",
			      json_pack("{s:I}", "actual", (json_int_t)balloon_actual(dev)));
}

/* vCPU thread, device's lock held. */
static void moved(void *opaque)
{
	struct guest *g = opaque;

	if (!__atomic_exchange_n(&g->balloon_moved, true, __ATOMIC_ACQ_REL))
		loop_post(g->v->loop, on_moved, g);
}

/**
 * guest_balloon_watch() - Turn changes of a balloon's size into events
 * @g:		The guest
 * @dev:	A device that is new; nothing happens if it is no balloon
 */
void guest_balloon_watch(struct guest *g, struct device *dev)
{
	if (guest_balloon(g) == dev)
		balloon_on_change(dev, moved, g);
}

static int balloon_get(struct guest *g, struct device **ret, struct err *e)
{
	*ret = guest_balloon(g);
	return *ret ? 0 : err_set(e, ENODEV, "No balloon device has been activated");
}

/**
 * op_balloon() - QMP balloon: set the target
 * @opaque:	The guest
 * @rq:		The command
 * @args:	Bytes that the guest shall keep
 * @ret:	Stays NULL
 * @e:		Set on failure only
 *
 * Errors: EINVAL not positive; ENODEV there is no balloon
 * Return: 0, or a negative errno
 */
int op_balloon(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
	       struct err *e)
{
	int64_t bytes = option_int(args, "value", 0);
	struct device *dev;
	int r = balloon_get(opaque, &dev, e);

	if (r < 0)
		return r;
	if (bytes <= 0)
		return err_set(e, EINVAL, "value: bytes that the guest keeps, more than 0");
	balloon_set_target(dev, (uint64_t)bytes);
	return 0;
}

/**
 * op_query_balloon() - QMP query-balloon
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	What the guest has, bytes
 * @e:		Set on failure only
 *
 * Errors: ENODEV there is no balloon
 * Return: 0, or a negative errno
 */
int op_query_balloon(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		     struct err *e)
{
	struct device *dev;
	int r = balloon_get(opaque, &dev, e);

	if (r >= 0)
		*ret = json_pack("{s:I}", "actual", (json_int_t)balloon_actual(dev));
	return r;
}

/**
 * balloon_statistics() - What the guest said about its memory
 * @dev:	A balloon
 *
 * Return: QEMU's "guest-stats"; what the guest doesn't say is left out
 */
json_t *balloon_statistics(struct device *dev)
{
	static const char *const names[BALLOON_STATS] = {
		"stat-swap-in",          "stat-swap-out",    "stat-major-faults",
		"stat-minor-faults",     "stat-free-memory", "stat-total-memory",
		"stat-available-memory", "stat-disk-caches", "stat-htlb-pgalloc",
		"stat-htlb-pgfail"};
	const struct virtio_balloon *b = balloon_of(virtio_of(dev));
	json_t *stats = json_object();
	int64_t at;

	pthread_mutex_lock(dev->lock);
	for (size_t i = 0; i < BALLOON_STATS; i++)
		if (b->stats[i] <= INT64_MAX)
			json_object_set_new(stats, names[i], json_integer((json_int_t)b->stats[i]));
	at = b->stats_at_s;
	pthread_mutex_unlock(dev->lock);
	return json_pack("{s:o, s:I}", "stats", stats, "last-update", (json_int_t)at);
}

/**
 * op_query_memory_size() - QMP query-memory-size-summary
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	Bytes at start and plugged
 * @e:		Not set
 *
 * Return: 0
 */
int op_query_memory_size(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
			 struct err *e)
{
	const struct guest *g = opaque;

	*ret = json_pack("{s:I, s:I}", "base-memory", (json_int_t)g->q->ram.bytes, "plugged-memory",
			 (json_int_t)0);
	return 0;
}

/**
 * op_query_memory_devices() - QMP query-memory-devices: there are no kinds of them
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	An empty list
 * @e:		Not set
 *
 * Return: 0
 */
int op_query_memory_devices(void *opaque, struct control_request *rq, const json_t *args,
			    json_t **ret, struct err *e)
{
	*ret = json_array();
	return 0;
}

/**
 * guest_memory_read() - Copy guest memory
 * @opaque:	The guest
 * @gpa:	First address
 * @buf:	Set
 * @len:	Bytes
 *
 * Return: false: some of it isn't RAM
 */
bool guest_memory_read(void *opaque, uint64_t gpa, void *buf, uint64_t len)
{
	return memory_read(&((struct guest *)opaque)->q->memory, gpa, buf, len);
}

#define PAGE_BYTES 4096

/* Pages that a vCPU is asked for. */
struct translation {
	struct kvm_vcpu *vcpu;
	uint64_t gva;
	uint64_t gpas[MiB / PAGE_BYTES + 1]; /* NO_PAGE: none */
	size_t len;
};

#define NO_PAGE UINT64_MAX

static void translate(struct vm_vcpu *v, void *opaque)
{
	struct translation *t = opaque;

	if (v->kvm != t->vcpu)
		return;
	for (size_t i = 0; i < t->len; i++)
		if (!kvm_vcpu_translate(v->kvm, t->gva + i * PAGE_BYTES, &t->gpas[i]))
			t->gpas[i] = NO_PAGE;
}

static struct kvm_vcpu *vcpu_at(const struct vm *vm, unsigned int place)
{
	for (unsigned int i = 0; i < vm->vcpus_len; i++)
		if (vm->vcpus[i]->index == place)
			return vm->vcpus[i]->kvm;
	return NULL;
}

/**
 * guest_memory_read_virtual() - Copy guest memory as a vCPU's page tables show it now
 * @opaque:	The guest
 * @place:	The vCPU's
 * @gva:	First address
 * @buf:	Set
 * @len:	Bytes, up to 1 MiB
 * @e:		Set on failure only
 *
 * The guest may run: its vCPUs leave guest mode while the tables are walked, not for the copy.
 *
 * Errors: EINVAL there is no such vCPU; EFAULT not mapped, or no RAM
 * Return: 0, or a negative errno
 */
int guest_memory_read_virtual(void *opaque, unsigned int place, uint64_t gva, void *buf,
			      uint64_t len, struct err *e)
{
	struct guest *g = opaque;
	uint64_t skip = gva % PAGE_BYTES;
	struct translation t = {.vcpu = vcpu_at(&g->q->vm, place),
				.gva = gva - skip,
				.len = (skip + len + PAGE_BYTES - 1) / PAGE_BYTES};
	uint8_t *to = buf;

	assert(len <= MiB);
	if (!t.vcpu)
		return err_set(e, EINVAL, "there is no vCPU %u, see query-cpus-fast", place);
	vm_visit_vcpus(&g->q->vm, translate, &t);
	for (size_t i = 0; i < t.len; i++) {
		uint64_t n = MIN(PAGE_BYTES - skip, len);

		if (t.gpas[i] == NO_PAGE || !memory_read(&g->q->memory, t.gpas[i] + skip, to, n))
			return err_set(e, EFAULT, "vCPU %u sees no memory at %#jx", place,
				       (uintmax_t)(t.gva + i * PAGE_BYTES + skip));
		to += n;
		len -= n;
		skip = 0;
	}
	return 0;
}
