/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: queues and the thread that serves them. Each queue has an eventfd that the
 * guest's doorbell write signals (in the kernel where it can) and that the owner's loop watches
 * from the day the device is made; a signal for a queue that isn't ready is dropped, and whatever
 * makes queues ready signals them all once. So no order of kicks, set-up, stop and run can lose
 * one.
 *
 * Stopping: ->quiesce() on the owner completes what is in flight; from then on signals are dropped
 * until run.
 */
#include "device/virtio/virtio.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/owned.h"

#include <assert.h>
#include <errno.h>
#include <sys/eventfd.h>

/**
 * virtio_loop() - The loop that serves the queues
 * @v:		The device
 *
 * Return: borrowed
 */
struct loop *virtio_loop(struct virtio *v)
{
	return v->io ? io_thread_loop(v->io) : v->pci.dev.env->loop;
}

/**
 * virtio_call() - Run on the owner's side and wait
 * @v:		The device; its lock is held, or the caller is the main thread and the guest is
 * stopped
 * @fn:		Runs on the I/O thread, or here if the main loop serves the device
 * @opaque:	Its argument
 */
void virtio_call(struct virtio *v, loop_fn *fn, void *opaque)
{
	if (v->io)
		loop_call(io_thread_loop(v->io), fn, opaque);
	else
		fn(opaque);
}

/**
 * virtio_lock_owner() - Begin work that a loop's event caused
 * @v:		The device. On the main loop this takes the device's lock; an I/O thread owns the
 * queues by itself
 */
void virtio_lock_owner(struct virtio *v)
{
	if (!v->io)
		pthread_mutex_lock(v->pci.dev.lock);
}

/**
 * virtio_unlock_owner() - End it
 * @v:		The device
 */
void virtio_unlock_owner(struct virtio *v)
{
	if (!v->io)
		pthread_mutex_unlock(v->pci.dev.lock);
}

/**
 * virtio_servable() - May this queue be served now?
 * @v:		The device; owner
 * @q:		The queue
 *
 * Return: the guest runs, the driver is ready and the queue is set up and whole
 */
bool virtio_servable(const struct virtio *v, const struct virtqueue *q)
{
	return v->running && q->active && !q->broken &&
	       __atomic_load_n(&v->ready, __ATOMIC_ACQUIRE);
}

static int on_doorbell(sd_event_source *source, int fd, uint32_t revents, void *opaque)
{
	struct virtio_queue *q = opaque;
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0)
		return errno == EAGAIN ? 0 : -errno;
	virtio_lock_owner(q->v);
	if (virtio_servable(q->v, &q->vq))
		q->v->ops->kick(q->v, &q->vq);
	virtio_unlock_owner(q->v);
	return 0;
}

static void on_broken(struct virtqueue *q, const char *why)
{
	virtio_needs_reset(q->opaque, why);
}

static int queue_create(struct virtio *v, unsigned int index, uint16_t size, struct err *e)
{
	struct virtio_queue *q = &v->queues[index];

	virtqueue_init(&q->vq, v->pci.dev.env->memory, v->scratch, index, size);
	q->vq.on_broken = on_broken;
	q->vq.opaque = v;
	q->v = v;
	q->irq_fd = -1;
	q->doorbell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->doorbell_fd < 0)
		return err_sys(e, "doorbell of queue %u", index);
	return 0;
}

/**
 * struct watch - Request to the owner to begin watching
 * @v:		The device
 * @r:		Result
 */
struct watch {
	struct virtio *v;
	int r;
};

static void owner_watch(void *opaque)
{
	struct watch *w = opaque;
	sd_event *event = loop_event(virtio_loop(w->v));

	for (unsigned int i = 0; i < w->v->queues_len && w->r >= 0; i++) {
		struct virtio_queue *q = &w->v->queues[i];

		w->r = sd_event_add_io(event, &q->source, q->doorbell_fd, EPOLLIN, on_doorbell, q);
	}
}

/**
 * virtio_queues_create() - Make all queues and watch their doorbells
 * @v:		Its owner is known
 * @n:		How many, up to VIRTIO_QUEUES_MAX
 * @sizes:	Entries of each
 * @e:		Set on failure only
 *
 * Errors: EINVAL too many; else as eventfd(2), epoll_ctl(2)
 * Return: 0, or a negative errno; call virtio_queues_destroy() in any case
 */
int virtio_queues_create(struct virtio *v, unsigned int n, const uint16_t *sizes, struct err *e)
{
	struct watch w = {.v = v};
	int r = 0;

	if (n > VIRTIO_QUEUES_MAX)
		return err_set(e, EINVAL, "%u queues, at most %u are possible", n,
			       VIRTIO_QUEUES_MAX);
	v->scratch = mem_zalloc(sizeof(*v->scratch));
	v->queues = mem_calloc(n, sizeof(*v->queues));
	v->queues_len = n;
	for (unsigned int i = 0; i < n; i++)
		v->queues[i].doorbell_fd = -1;
	for (unsigned int i = 0; i < n && !r; i++)
		r = queue_create(v, i, sizes[i], e);
	if (r)
		return r;
	virtio_call(v, owner_watch, &w);
	return w.r < 0 ? err_ret(e, w.r, "watch doorbells") : 0;
}

static void owner_unwatch(void *opaque)
{
	struct virtio *v = opaque;

	for (unsigned int i = 0; i < v->queues_len; i++)
		v->queues[i].source = sd_event_source_disable_unref(v->queues[i].source);
}

/**
 * virtio_queues_destroy() - Release the queues
 * @v:		Detached from the bus, nothing in flight; may have none
 */
void virtio_queues_destroy(struct virtio *v)
{
	if (v->queues)
		virtio_call(v, owner_unwatch, v);
	for (unsigned int i = 0; i < v->queues_len; i++)
		fd_close(&v->queues[i].doorbell_fd);
	mem_free(&v->queues);
	mem_free(&v->scratch);
	v->queues_len = 0;
}

static void owner_start(void *opaque)
{
	struct virtio_queue *q = opaque;

	virtqueue_start(&q->vq, q->v->features);
}

/**
 * virtio_queue_start() - The driver has set a queue up
 * @v:		The device
 * @q:		With size and addresses
 */
void virtio_queue_start(struct virtio *v, struct virtio_queue *q)
{
	virtio_call(v, owner_start, q);
	virtio_queue_signal(v, q->vq.index);
}

static void owner_restart(void *opaque)
{
	struct virtio_queue *q = opaque;

	if (q->v->ops->quiesce)
		q->v->ops->quiesce(q->v);
	if (q->v->ops->forget)
		q->v->ops->forget(q->v, &q->vq);
	virtqueue_reset(&q->vq);
}

/**
 * virtio_queue_restart() - Reset one queue: what is in flight completes first
 * @v:		The device
 * @q:		The queue
 *
 * Source: VIRTIO 1.2, 2.6.1
 */
void virtio_queue_restart(struct virtio *v, struct virtio_queue *q)
{
	if (q->bells) {
		io_doorbell_del(&v->modern_bar, &q->modern_bell);
		if (v->legacy)
			io_doorbell_del(&v->legacy_bar, &q->legacy_bell);
		q->bells = false;
	}
	virtio_call(v, owner_restart, q);
	virtio_queue_set_vector(v, q, VIRTQUEUE_NO_VECTOR);
	virtio_kick_all(v);
}

static void owner_vector(void *opaque)
{
	struct virtio_queue *q = opaque;

	q->v->ops->vector(q->v, q->vq.index);
}

/**
 * virtio_queue_set_vector() - The driver chose a queue's interrupt
 * @v:		The device
 * @q:		The queue
 * @vector:	Checked, or VIRTQUEUE_NO_VECTOR
 */
void virtio_queue_set_vector(struct virtio *v, struct virtio_queue *q, uint16_t vector)
{
	int fd = vector == VIRTQUEUE_NO_VECTOR ? -1 : pci_msix_irqfd(&v->pci, vector);

	__atomic_store_n(&q->vq.s.vector, vector, __ATOMIC_RELAXED);
	__atomic_store_n(&q->irq_fd, fd, __ATOMIC_RELEASE);
	if (v->ops->vector)
		virtio_call(v, owner_vector, q);
}

/**
 * virtio_queue_signal() - Ring a queue's doorbell
 * @v:		The device; any thread
 * @index:	Ignored if there is no such queue (the guest chose the number)
 */
void virtio_queue_signal(struct virtio *v, unsigned int index)
{
	uint64_t one = 1;

	if (index >= v->queues_len)
		return;
	if (write(v->queues[index].doorbell_fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN); /* full: it is ringing already */
}

static void bells_add(struct virtio *v, struct virtio_queue *q)
{
	uint64_t stride = v->page_per_vq ? 0x1000 : 4;

	q->modern_bell = (struct io_doorbell){.offset = 0x3000 + stride * q->vq.index,
					      .fd = q->doorbell_fd};
	q->legacy_bell = (struct io_doorbell){.offset = 16,
					      .size = 2,
					      .datamatch = true,
					      .match = q->vq.index,
					      .fd = q->doorbell_fd};
	if (v->modern)
		io_doorbell_add(&v->modern_bar, &q->modern_bell);
	if (v->legacy)
		io_doorbell_add(&v->legacy_bar, &q->legacy_bell);
	q->bells = true;
}

static void bells_del(struct virtio *v, struct virtio_queue *q)
{
	if (v->modern)
		io_doorbell_del(&v->modern_bar, &q->modern_bell);
	if (v->legacy)
		io_doorbell_del(&v->legacy_bar, &q->legacy_bell);
	q->bells = false;
}

/**
 * virtio_bells() - Let the kernel take the doorbell writes of the queues in use
 * @v:		Attached
 * @on:		Or not
 */
void virtio_bells(struct virtio *v, bool on)
{
	on = on && v->ioeventfd;
	for (unsigned int i = 0; i < v->queues_len; i++) {
		struct virtio_queue *q = &v->queues[i];

		if (on && !q->bells && q->vq.active)
			bells_add(v, q);
		else if (!on && q->bells)
			bells_del(v, q);
	}
}

/**
 * virtio_kick_all() - Ring every queue in use
 * @v:		The device; any side
 */
void virtio_kick_all(struct virtio *v)
{
	for (unsigned int i = 0; i < v->queues_len; i++)
		if (v->queues[i].vq.active)
			virtio_queue_signal(v, i);
}

/**
 * virtio_interrupt() - Interrupt the driver for a queue
 * @v:		The device; any thread
 * @q:		The queue
 */
void virtio_interrupt(struct virtio *v, struct virtio_queue *q)
{
	uint16_t vector = __atomic_load_n(&q->vq.s.vector, __ATOMIC_RELAXED);
	int fd = __atomic_load_n(&q->irq_fd, __ATOMIC_ACQUIRE);
	uint64_t one = 1;

	if (!(__atomic_load_n(&v->isr, __ATOMIC_RELAXED) & VIRTIO_ISR_QUEUE))
		__atomic_or_fetch(&v->isr, VIRTIO_ISR_QUEUE, __ATOMIC_SEQ_CST);
	if (!pci_msix_enabled(&v->pci))
		pci_intx_set(&v->pci, true);
	else if (vector == VIRTQUEUE_NO_VECTOR)
		return;
	else if (fd < 0 || write(fd, &one, sizeof(one)) < 0)
		pci_msix_notify(&v->pci, vector);
}

/**
 * virtio_notify() - Publish what was pushed and interrupt the driver if it wants
 * @v:		The device; owner
 * @q:		The queue
 */
void virtio_notify(struct virtio *v, struct virtqueue *q)
{
	virtqueue_flush(q);
	if (virtqueue_should_notify(q))
		virtio_interrupt(v, virtio_queue_of(q));
}

/**
 * virtio_complete() - Give one chain back and tell the driver
 * @v:		The device; owner
 * @q:		The queue
 * @c:		Freed
 * @written:	Bytes
 */
void virtio_complete(struct virtio *v, struct virtqueue *q, struct virtq_chain *c, uint32_t written)
{
	virtqueue_push(q, c, written);
	virtio_notify(v, q);
}

/**
 * virtio_serve() - Serve a queue until it is empty
 * @v:		The device; owner
 * @q:		The queue
 * @one:	Takes one chain; see enum virtio_served
 *
 * Kicks are spared meanwhile. A driver that never stops filling the queue, or that gives chains
 * with far more work than any needs, gets a bounded turn, then its own doorbell is rung, so that
 * other queues and back ends of the loop have theirs.
 */
void virtio_serve(struct virtio *v, struct virtqueue *q,
		  enum virtio_served (*one)(struct virtio *v, struct virtqueue *q))
{
	unsigned int budget = 2 * q->s.num + 1;
	enum virtio_served r;

	do {
		virtqueue_want_kicks(q, false);
		do
			r = one(v, q);
		while (r == VIRTIO_SERVED && --budget);
		virtio_notify(v, q);
		virtqueue_want_kicks(q, true);
	} while (r == VIRTIO_EMPTY && budget && !virtqueue_empty(q));
	if (!budget || r == VIRTIO_LONG)
		virtio_queue_signal(v, q->index);
}

/**
 * struct halt - Request to the owner to bring its queues to rest
 * @v:		The device
 * @until_ns:	When to give up
 * @left:	Requests still in flight then; the queues are served on
 */
struct halt {
	struct virtio *v;
	int64_t until_ns;
	unsigned int left;
};

static void owner_halt(void *opaque)
{
	struct halt *h = opaque;
	struct virtio *v = h->v;

	v->running = false;
	if (v->ops->drain)
		h->left = v->ops->drain(v, h->until_ns);
	if (h->left)
		v->running = true;
	else if (v->ops->quiesce)
		v->ops->quiesce(v);
}

/**
 * virtio_settle() - Class op of devices whose requests may take long: as virtio_stop(), in time
 * @dev:	The device; vCPUs and clock stand still
 * @until_ns:	time_ns() at which to give up
 * @e:		Set on failure: how many requests are in flight
 *
 * Errors: ETIMEDOUT; the device goes on
 * Return: 0, or a negative errno
 */
int virtio_settle(struct device *dev, int64_t until_ns, struct err *e)
{
	struct halt h = {.v = virtio_of(dev), .until_ns = until_ns};

	virtio_call(h.v, owner_halt, &h);
	if (!h.left)
		return 0;
	virtio_kick_all(h.v);
	return err_set(e, ETIMEDOUT, "%u request%s not answered by the disk", h.left,
		       h.left == 1 ? " is" : "s are");
}

/**
 * virtio_stop() - Class op: no request is in flight and nothing touches queues when it returns
 * @dev:	The device; guest stopped
 */
void virtio_stop(struct device *dev)
{
	struct halt h = {.v = virtio_of(dev), .until_ns = TIME_NEVER};

	if (h.v->running)
		virtio_call(h.v, owner_halt, &h);
}

/**
 * virtio_rewind_loaded() - Take chains again that another VMM had taken and that nobody carries
 * @v:		The device; owner, in its resume
 */
void virtio_rewind_loaded(struct virtio *v)
{
	for (unsigned int i = 0; i < v->queues_len; i++) {
		struct virtqueue *q = &v->queues[i].vq;

		if (q->active && !q->broken)
			virtqueue_rewind(q, q->s.inuse);
	}
}

static void loaded_resume(struct virtio *v)
{
	for (unsigned int i = 0; i < v->queues_len; i++) {
		struct virtio_queue *q = &v->queues[i];

		if (q->loaded)
			virtqueue_resume(&q->vq, v->features);
		q->loaded = false;
	}
}

static void owner_run(void *opaque)
{
	struct virtio *v = opaque;

	v->running = true;
	loaded_resume(v);
	if (v->ops->resume)
		v->ops->resume(v);
}

/**
 * virtio_run() - Class op: the guest runs; every queue is looked at once
 * @dev:	The device
 */
void virtio_run(struct device *dev)
{
	struct virtio *v = virtio_of(dev);

	virtio_ready_update(v);
	virtio_call(v, owner_run, v);
	virtio_bells(v, v->ready);
	virtio_kick_all(v);
}
