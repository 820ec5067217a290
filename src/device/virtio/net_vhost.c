/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a pair of queues whose tap came with vhost is served by the kernel while the
 * guest runs: it has the doorbells, and signals the queues' interrupts itself where these are
 * eventfds. The owner takes a pair back whenever it must look at the rings: at a stop (the rings'
 * places go into the state), at a reset, when the link is down or the pair is out of use. It also
 * serves the rings itself while dirty pages are noted: then each page a frame is written to is
 * marked, and a migration needs nothing from the kernel. Which of the two serves is nothing the
 * guest or the stream can see.
 *
 * The kernel has a table of guest memory, made anew whenever the view changes.
 */
#include "device/virtio/net.h"

#include "base/log.h"
#include "base/owned.h"
#include "net/vhost.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/eventfd.h>

#define REGIONS_MAX 64

/* What the kernel must know of, if the guest may use it. */
static const uint8_t asked_bits[] = {VIRTIO_NET_F_MRG_RXBUF, VIRTIO_F_EMPTY,      VIRTIO_F_LAYOUT,
				     VIRTIO_F_INDIRECT,      VIRTIO_F_EVENT,      VIRTIO_F_V1,
				     VIRTIO_F_PACKED_RING,   VIRTIO_F_QUEUE_RESET};

/**
 * struct net_vhost - What the interface's pairs share
 * @listener:	At guest memory
 * @lock:	A leaf lock: protects @table and which pairs the kernel serves
 * @table:	Of guest memory; has room for REGIONS_MAX
 * @features:	Of the kernel that the device may offer
 * @failed:	It was tried in vain; which has been logged
 */
struct net_vhost {
	struct memory_listener listener;
	struct virtio_net *n;
	pthread_mutex_t lock;
	struct vhost_memory *table;
	uint64_t features;
	bool failed;
};

static uint64_t asked(void)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < ARRAY_SIZE(asked_bits); i++)
		mask |= VIRTIO_BIT(asked_bits[i]);
	return mask;
}

static void table_fill(struct vhost_memory *t, const struct memory_view *view)
{
	t->nregions = 0;
	for (size_t i = 0; i < view->len && t->nregions < REGIONS_MAX; i++) {
		const struct memory_range *r = &view->ranges[i];

		if (!r->readonly)
			t->regions[t->nregions++] = (struct vhost_memory_region){
				.guest_phys_addr = r->gpa,
				.memory_size = r->size,
				.userspace_addr = (uintptr_t)r->block->hva + r->offset};
	}
}

static int view_changed(struct memory_listener *l, enum memory_space space,
			const struct memory_view *view, struct err *e)
{
	struct net_vhost *h = CONTAINER_OF(l, struct net_vhost, listener);
	int r = 0;

	if (space != MEMORY_NORMAL)
		return 0;
	pthread_mutex_lock(&h->lock);
	table_fill(h->table, view);
	for (unsigned int i = 0; i < h->n->max_pairs && r >= 0; i++)
		if (h->n->pairs[i].in_kernel)
			r = vhost_net_set_memory(net_vhost_fd(h->n->pairs[i].nq), h->table, e);
	pthread_mutex_unlock(&h->lock);
	return r;
}

static void owner_update(void *opaque)
{
	net_vhost_update(opaque);
}

static void tracking_changed(struct memory_listener *l, bool on)
{
	struct net_vhost *h = CONTAINER_OF(l, struct net_vhost, listener);

	virtio_call(&h->n->v, owner_update, h->n);
	if (!on)
		virtio_kick_all(&h->n->v);
}

static bool wanted(const struct virtio_net *n, const struct net_pair *p)
{
	uint64_t needed = n->v.features & asked();

	return !n->vhost->failed && p->index < n->curr_pairs && n->host_header &&
	       net_vhost_fd(p->nq) >= 0 && virtio_servable(&n->v, net_rx(p)) &&
	       virtio_servable(&n->v, net_tx(p)) &&
	       __atomic_load_n(&n->status, __ATOMIC_RELAXED) & NET_S_LINK_UP &&
	       !(needed & ~n->vhost->features) &&
	       !__atomic_load_n(&n->v.pci.dev.env->memory->tracking, __ATOMIC_SEQ_CST);
}

static int call_fd_of(const struct net_pair *p, unsigned int i, const struct virtio_queue *q)
{
	int fd = __atomic_load_n(&q->irq_fd, __ATOMIC_ACQUIRE);

	return fd >= 0 && pci_msix_enabled(&p->n->v.pci) ? fd : p->call_fd[i];
}

static bool ring_fill(const struct net_pair *p, unsigned int i, struct vhost_ring *r)
{
	const struct virtio_queue *q = &p->n->v.queues[2 * p->index + i];
	const struct virtqueue_state *s = &q->vq.s;
	struct memory *m = q->vq.memory;

	*r = (struct vhost_ring){
		.num = s->num,
		.base = s->last_avail,
		.desc = memory_ptr(m, s->desc, 16ULL * s->num, MEMORY_WRITE),
		.avail = memory_ptr(m, s->avail, 6 + 2ULL * s->num, MEMORY_WRITE),
		.used = memory_ptr(m, s->used, 6 + 8ULL * s->num, MEMORY_WRITE),
		.kick_fd = q->doorbell_fd,
		.call_fd = call_fd_of(p, i, q),
	};
	return r->desc && r->avail && r->used;
}

static void doorbells_watch(struct net_pair *p, bool on)
{
	for (unsigned int i = 0; i < VHOST_RINGS; i++)
		sd_event_source_set_enabled(p->n->v.queues[2 * p->index + i].source,
					    on ? SD_EVENT_ON : SD_EVENT_OFF);
}

static void pair_start(struct net_pair *p)
{
	struct virtio_net *n = p->n;
	struct vhost_ring rings[VHOST_RINGS];
	struct err e = {.msg = "a ring isn't in memory"};
	int r = ring_fill(p, 0, &rings[0]) && ring_fill(p, 1, &rings[1]) ? 0 : -EFAULT;

	net_want_read(p->nq, false);
	doorbells_watch(p, false);
	pthread_mutex_lock(&n->vhost->lock);
	if (r >= 0)
		r = vhost_net_start(net_vhost_fd(p->nq), net_tap_fd(p->nq),
				    n->v.features & n->vhost->features & asked(), n->vhost->table,
				    rings, &e);
	p->in_kernel = r >= 0;
	pthread_mutex_unlock(&n->vhost->lock);
	if (r >= 0) {
		virtio_queue_signal(&n->v, 2 * p->index + 1);
		return;
	}
	log_warn("%s: vhost: %s; frames are moved by the VMM", net_id(n->netdev), e.msg);
	n->vhost->failed = true;
	doorbells_watch(p, true);
}

static void pair_stop(struct net_pair *p)
{
	struct virtio_net *n = p->n;
	uint16_t base[VHOST_RINGS];

	pthread_mutex_lock(&n->vhost->lock);
	vhost_net_stop(net_vhost_fd(p->nq), base);
	p->in_kernel = false;
	pthread_mutex_unlock(&n->vhost->lock);
	for (unsigned int i = 0; i < VHOST_RINGS; i++) {
		struct virtqueue *q = &n->v.queues[2 * p->index + i].vq;

		q->s.last_avail = base[i];
		virtqueue_resume(q, n->v.features);
		virtio_queue_signal(&n->v, q->index);
	}
	doorbells_watch(p, true);
}

/**
 * net_vhost_update() - Let the kernel serve the pairs that it should, and no other
 * @n:	The interface; owner
 */
void net_vhost_update(struct virtio_net *n)
{
	for (unsigned int i = 0; n->vhost && i < n->max_pairs; i++) {
		struct net_pair *p = &n->pairs[i];
		bool want = wanted(n, p);

		if (want && !p->in_kernel)
			pair_start(p);
		else if (!want && p->in_kernel)
			pair_stop(p);
	}
}

/**
 * net_vhost_stop() - Take all rings back
 * @n:	The interface; owner
 */
void net_vhost_stop(struct virtio_net *n)
{
	for (unsigned int i = 0; n->vhost && i < n->max_pairs; i++)
		if (n->pairs[i].in_kernel)
			pair_stop(&n->pairs[i]);
}

/**
 * net_vhost_vector() - The driver chose another interrupt for a queue
 * @n:		The interface; owner
 * @index:	Of the queue
 */
void net_vhost_vector(struct virtio_net *n, unsigned int index)
{
	struct net_pair *p = &n->pairs[index / 2];

	if (!n->vhost || index / 2 >= n->max_pairs || !p->in_kernel)
		return;
	vhost_net_set_call(net_vhost_fd(p->nq), index & 1,
			   call_fd_of(p, index & 1, &n->v.queues[index]));
}

/* The kernel has used buffers, and the interrupt is none that it could raise. */
static int on_call(sd_event_source *source, int fd, uint32_t revents, void *opaque)
{
	struct virtio_queue *q = opaque;
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0)
		return errno == EAGAIN ? 0 : -errno;
	virtio_interrupt(q->v, q);
	return 0;
}

static int call_open(struct net_pair *p, unsigned int i, struct err *e)
{
	struct virtio_queue *q = &p->n->v.queues[2 * p->index + i];
	int r;

	p->call_fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->call_fd[i] < 0)
		return err_sys(e, "eventfd");
	r = sd_event_add_io(loop_event(virtio_loop(&p->n->v)), &p->call_source[i], p->call_fd[i],
			    EPOLLIN, on_call, q);
	return r < 0 ? err_ret(e, r, "watch an eventfd") : 0;
}

/**
 * net_vhost_offer() - Take what the kernel can't do from what the device offers
 * @n:	The interface, before its features are final
 */
void net_vhost_offer(struct virtio_net *n)
{
	uint64_t features = n->netdev ? vhost_net_features(net_vhost_fd(net_queue(n->netdev, 0)))
				      : 0;

	if (features)
		n->v.host_features &= features | ~asked();
}

/**
 * net_vhost_open() - Get ready to have pairs served by the kernel, if the back end wants it
 * @n:		The interface; owner, its queues are made and its pairs have their back end
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int net_vhost_open(struct virtio_net *n, struct err *e)
{
	uint64_t features = vhost_net_features(net_vhost_fd(n->pairs[0].nq));
	int r = 0;

	if (!features)
		return 0;
	n->vhost = mem_zalloc(sizeof(*n->vhost));
	n->vhost->n = n;
	n->vhost->features = features;
	n->vhost->table = mem_zalloc(sizeof(struct vhost_memory) +
				     REGIONS_MAX * sizeof(struct vhost_memory_region));
	pthread_mutex_init(&n->vhost->lock, NULL);
	for (unsigned int i = 0; i < n->max_pairs; i++)
		n->pairs[i].call_fd[0] = n->pairs[i].call_fd[1] = -1;
	for (unsigned int i = 0; i < 2 * n->max_pairs && r >= 0; i++)
		r = call_open(&n->pairs[i / 2], i & 1, e);
	return r;
}

/**
 * net_vhost_listen() - Follow guest memory
 * @n:	The interface; main thread
 */
void net_vhost_listen(struct virtio_net *n)
{
	struct memory *m = n->v.pci.dev.env->memory;
	struct err e;

	if (!n->vhost)
		return;
	n->vhost->listener.changed = view_changed;
	n->vhost->listener.tracking = tracking_changed;
	pthread_mutex_lock(&m->lock);
	if (m->views[MEMORY_NORMAL].now &&
	    view_changed(&n->vhost->listener, MEMORY_NORMAL, m->views[MEMORY_NORMAL].now, &e) < 0)
		n->vhost->failed = true;
	memory_listen(m, &n->vhost->listener);
	pthread_mutex_unlock(&m->lock);
}

/**
 * net_vhost_close() - Undo net_vhost_open() and net_vhost_listen()
 * @n:	The interface; detached, its queues' owner does nothing more
 */
void net_vhost_close(struct virtio_net *n)
{
	struct memory *m = n->v.pci.dev.env->memory;

	if (!n->vhost)
		return;
	pthread_mutex_lock(&m->lock);
	if (n->vhost->listener.changed)
		list_del(&n->vhost->listener.link);
	pthread_mutex_unlock(&m->lock);
	for (unsigned int i = 0; i < 2 * n->max_pairs; i++)
		fd_close(&n->pairs[i / 2].call_fd[i & 1]);
	pthread_mutex_destroy(&n->vhost->lock);
	free(n->vhost->table);
	mem_free(&n->vhost);
}

/**
 * net_vhost_unwatch() - Let go of the loop
 * @n:	The interface; owner
 */
void net_vhost_unwatch(struct virtio_net *n)
{
	net_vhost_stop(n);
	for (unsigned int i = 0; n->vhost && i < 2 * n->max_pairs; i++)
		n->pairs[i / 2].call_source[i & 1] =
			sd_event_source_disable_unref(n->pairs[i / 2].call_source[i & 1]);
}
