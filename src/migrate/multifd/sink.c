/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: see multifd.h. A thread per channel puts pages in their place, which needs
 * no lock: no two channels bring the same page between two sync points. A channel that has come to
 * its sync mark waits until the stream has, too, and the stream waits for all channels. Whoever
 * fails first cuts the stream and the other channels, so that nobody waits for what doesn't come.
 */
#include "base/owned.h"
#include "migrate/multifd/multifd.h"
#include "migrate/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/**
 * struct sink_lane - A channel and its thread
 * @owner:	Whose
 * @channel:	Borrowed
 * @known:	How pages are compressed: @method, bits of a packet's flags
 * @ops, @codec: Of the compression, or NULL
 * @thread:	Runs if @started
 * @syncs:	Marks that came. Under the lock of @owner
 * @ended:	Nothing more comes. Under the lock
 */
struct sink_lane {
	struct multifd_sink *owner;
	struct channel *channel;
	bool known;
	uint32_t method;
	const struct multifd_codec_ops *ops;
	void *codec;
	pthread_t thread;
	bool started;
	uint64_t syncs;
	bool ended;
};

/**
 * struct multifd_sink - The channels of a guest that comes
 * @job:	Whose
 * @ram:	Where pages go
 * @lanes, @len: The channels
 * @lock:	Of what follows
 * @changed:	Any of it has
 * @syncs:	Sync points that all have passed
 * @failure:	The first; its code is 0 while there is none
 * @quit:	The stream has ended
 */
struct multifd_sink {
	struct migrate_job *job;
	struct ram_sink *ram;
	struct sink_lane *lanes;
	unsigned int len;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t syncs;
	struct err failure;
	bool quit;
};

static void cut_all(struct multifd_sink *m)
{
	unsigned int i;

	channel_shutdown(m->job->channel);
	for (i = 0; i < m->len; i++)
		channel_shutdown(m->lanes[i].channel);
}

static void fail(struct multifd_sink *m, const struct err *e)
{
	pthread_mutex_lock(&m->lock);
	if (!m->failure.code && !m->quit) {
		m->failure = *e;
		cut_all(m);
	}
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
}

static int check_hello(const struct multifd_sink *m, const struct multifd_hello *h, struct err *e)
{
	const struct multifd_options *o = &m->job->options.multifd;

	if (memcmp(h->uuid, o->uuid, sizeof(h->uuid)))
		return err_set(e, EINVAL,
			       "multifd: a channel of a guest with another UUID; start "
			       "this side with the same -uuid");
	if (h->channels ? h->channels != m->len : !o->channels)
		return err_set(e, EINVAL,
			       "multifd: the source has other channels than the %u that came; set "
			       "the capability multifd and multifd-channels here as there",
			       m->len);
	if (h->id >= m->len)
		return err_set(e, EINVAL, "multifd: channel %u of %u", h->id, m->len);
	return 0;
}

/* The first packet with pages says how they are compressed, and so it stays. */
static int learn_method(struct sink_lane *l, uint32_t flags, struct err *e)
{
	uint32_t has = flags & MULTIFD_METHOD;

	if (l->known)
		return has == l->method ? 0
					: err_set(e, EINVAL, "multifd: the compression changes");
	l->known = true;
	l->method = has;
	if (!has)
		return 0;
	l->ops = has == multifd_zlib.flag   ? &multifd_zlib
		 : has == multifd_zstd.flag ? &multifd_zstd
					    : NULL;
	if (!l->ops)
		return err_set(
			e, ENOTSUP,
			"multifd: pages compressed by method %#x; set multifd-compression of "
			"the source to none, zlib or zstd",
			has);
	l->codec = l->ops->begin(false, 0);
	return l->codec ? 0 : err_set(e, ENOMEM, "no memory for the compression of a channel");
}

static struct ram_sink_block *block_of(const struct multifd_sink *m, const struct multifd_packet *p,
				       struct err *e)
{
	struct ram_sink_block *sb = ram_sink_find(m->ram, p->block);
	uint32_t i;

	if (!sb) {
		err_set(e, ENOENT, "multifd: there is no block %s here", p->block);
		return NULL;
	}
	for (i = 0; i < p->normal + p->zero; i++)
		if (p->offset[i] >= sb->block->size || p->offset[i] % WIRE_PAGE) {
			err_set(e, EINVAL,
				"multifd: a page of %s at %#" PRIx64 ", the block ends at "
				"%#" PRIx64,
				p->block, p->offset[i], sb->block->size);
			return NULL;
		}
	return sb;
}

/* How many of the pages from @i on follow each other in the block. */
static uint32_t run_length(const struct multifd_packet *p, uint32_t i)
{
	uint32_t n = 1;

	while (i + n < p->normal && p->offset[i + n] == p->offset[i] + (uint64_t)n * WIRE_PAGE)
		n++;
	return n;
}

/* A library writes them, to where they belong. */
static int reserve(const struct multifd_packet *p, struct ram_sink_block *sb, struct err *e)
{
	uint32_t i, n;
	int ret = 0;

	for (i = 0; i < p->normal && ret == 0; i += n) {
		n = run_length(p, i);
		bitmap_set_range(&sb->touched, p->offset[i] / WIRE_PAGE, n);
		ret = ram_reserve(sb->block, p->offset[i], (uint64_t)n * WIRE_PAGE, e);
	}
	return ret;
}

static int unpack(const struct sink_lane *l, const struct multifd_packet *p,
		  struct ram_sink_block *sb, struct err *e)
{
	struct iovec pages[MULTIFD_PAGES], piece = {NULL, p->payload};
	uint32_t i;
	int ret;

	piece.iov_base = (void *)(uintptr_t)channel_peek(l->channel, p->payload);
	if (!piece.iov_base)
		return channel_check(l->channel, e) < 0
			       ? -e->code
			       : err_set(e, EPIPE, "multifd: a channel ends within a packet");
	for (i = 0; i < p->normal; i++)
		pages[i] = (struct iovec){sb->block->hva + p->offset[i], WIRE_PAGE};
	ret = reserve(p, sb, e);
	if (ret == 0)
		ret = l->ops->unpack(l->codec, &piece, pages, p->normal, e);
	channel_skip(l->channel, p->payload);
	return ret;
}

/* Pages that follow each other in the block go there in one piece. */
static void place(const struct sink_lane *l, const struct multifd_packet *p,
		  struct ram_sink_block *sb)
{
	uint32_t i, n;

	for (i = 0; i < p->normal; i += n) {
		n = run_length(p, i);
		ram_sink_take(l->channel, sb, p->offset[i], n);
	}
}

static int get_pages(struct sink_lane *l, const struct multifd_packet *p, struct err *e)
{
	struct migrate_progress *g = &l->owner->job->progress;
	struct ram_sink_block *sb = block_of(l->owner, p, e);
	uint32_t i;
	int ret = sb ? 0 : -e->code;

	if (ret == 0 && p->normal)
		ret = learn_method(l, p->flags, e);
	if (ret == 0 && (p->normal && l->ops ? p->payload > 2 * MULTIFD_PAGES * WIRE_PAGE
					     : p->payload != p->normal * WIRE_PAGE))
		ret = err_set(e, EINVAL, "multifd: %u pages in %u bytes", p->normal, p->payload);
	if (ret < 0)
		return ret;
	if (p->normal && l->ops)
		ret = unpack(l, p, sb, e);
	else
		place(l, p, sb);
	for (i = 0; i < p->zero && ret == 0; i++)
		ret = ram_sink_fill(sb, p->offset[p->normal + i], 0, e);
	__atomic_fetch_add(&g->normal_pages, p->normal, __ATOMIC_RELAXED);
	__atomic_fetch_add(&g->zero_pages, p->zero, __ATOMIC_RELAXED);
	return ret < 0 ? ret : channel_check(l->channel, e);
}

/* This channel is at its mark: waits until everybody has got there. */
static void wait_for_all(struct sink_lane *l)
{
	struct multifd_sink *m = l->owner;

	pthread_mutex_lock(&m->lock);
	l->syncs++;
	pthread_cond_broadcast(&m->changed);
	while (m->syncs < l->syncs && !m->quit && !m->failure.code)
		pthread_cond_wait(&m->changed, &m->lock);
	pthread_mutex_unlock(&m->lock);
}

static int get_hello(struct sink_lane *l, struct err *e)
{
	uint8_t bytes[MULTIFD_HELLO_BYTES];
	struct multifd_hello h;
	int ret;

	if (!channel_get(l->channel, bytes, sizeof(bytes)))
		return channel_check(l->channel, e);
	ret = multifd_hello_get(&h, bytes, e);
	return ret < 0 ? ret : check_hello(l->owner, &h, e);
}

static int get_packets(struct sink_lane *l, struct err *e)
{
	uint8_t head[MULTIFD_PACKET_BYTES];
	struct multifd_packet p;
	int ret = get_hello(l, e);

	while (ret == 0 && channel_peek(l->channel, 1)) {
		if (!channel_get(l->channel, head, sizeof(head)))
			return channel_check(l->channel, e);
		ret = multifd_packet_get(&p, head, e);
		if (ret == 0 && p.normal + p.zero)
			ret = get_pages(l, &p, e);
		if (ret == 0 && p.flags & MULTIFD_SYNC)
			wait_for_all(l);
	}
	return ret < 0 ? ret : channel_check(l->channel, e);
}

static void *lane_main(void *opaque)
{
	struct sink_lane *l = opaque;
	struct multifd_sink *m = l->owner;
	struct err e;

	if (get_packets(l, &e) < 0)
		fail(m, &e);
	pthread_mutex_lock(&m->lock);
	l->ended = true;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

/* 1: all channels are at the next sync point; 0: not yet; or a negative errno. */
static int all_there(const struct multifd_sink *m, struct err *e)
{
	unsigned int i;

	if (m->failure.code) {
		*e = m->failure;
		return -e->code;
	}
	for (i = 0; i < m->len; i++) {
		if (m->lanes[i].syncs > m->syncs)
			continue;
		return m->lanes[i].ended
			       ? err_set(e, EPIPE, "multifd: a channel ended before the stream")
			       : 0;
	}
	return 1;
}

/**
 * multifd_sink_sync() - A sync point of the stream
 * @m:	Begun, or NULL
 * @e:	Set on failure only
 *
 * Errors: EPIPE a channel has ended; else what went wrong in a channel
 * Return: 0 when all that came before on any channel is in its place, or a negative errno
 */
int multifd_sink_sync(struct multifd_sink *m, struct err *e)
{
	int ret;

	if (!m)
		return 0;
	pthread_mutex_lock(&m->lock);
	while ((ret = all_there(m, e)) == 0)
		pthread_cond_wait(&m->changed, &m->lock);
	m->syncs += ret > 0;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
	return ret < 0 ? ret : 0;
}

static int lane_begin(struct multifd_sink *m, unsigned int i, struct err *e)
{
	struct sink_lane *l = &m->lanes[i];
	int r;

	r = pthread_create(&l->thread, NULL, lane_main, l);
	if (r)
		return err_ret(e, -r, "start the thread of a channel");
	pthread_setname_np(l->thread, "multifd-recv");
	l->started = true;
	return 0;
}

/**
 * multifd_sink_begin() - Receive from the channels of a job
 * @ret:	Set if there are any, also on failure: multifd_sink_end() it
 * @ram:	Begun, with its job; stays until the end
 * @e:		Set on failure only
 *
 * Errors: ENOMEM; as pthread_create(3)
 * Return: 0, or a negative errno
 */
int multifd_sink_begin(struct multifd_sink **ret, struct ram_sink *ram, struct err *e)
{
	struct migrate_job *job = ram->job;
	struct multifd_sink *m;
	unsigned int i;
	int r = 0;

	*ret = NULL;
	if (!job->multifd_len)
		return 0;
	*ret = m = mem_zalloc(sizeof(*m));
	m->job = job;
	m->ram = ram;
	m->lanes = mem_calloc(job->multifd_len, sizeof(*m->lanes));
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->changed, NULL);
	m->len = job->multifd_len;
	for (i = 0; i < m->len; i++) {
		m->lanes[i].owner = m;
		m->lanes[i].channel = job->multifd[i];
	}
	for (i = 0; i < m->len && r == 0; i++)
		r = lane_begin(m, i, e);
	return r;
}

static void lanes_stop(struct multifd_sink *m)
{
	unsigned int i;

	pthread_mutex_lock(&m->lock);
	m->quit = true;
	pthread_cond_broadcast(&m->changed);
	for (i = 0; i < m->len; i++)
		channel_shutdown(m->lanes[i].channel);
	pthread_mutex_unlock(&m->lock);
	for (i = 0; i < m->len; i++)
		if (m->lanes[i].started)
			pthread_join(m->lanes[i].thread, NULL);
}

/**
 * multifd_sink_end() - End the threads and free all; the channels stay open
 * @m:		May be NULL
 * @ret:	How the stream ended
 * @e:		Of the stream; gets the story of the channel that failed first
 *
 * Return: @ret, or the negative errno of that channel
 */
int multifd_sink_end(struct multifd_sink *m, int ret, struct err *e)
{
	unsigned int i;

	if (!m)
		return ret;
	lanes_stop(m);
	if (m->failure.code) {
		*e = m->failure;
		ret = -e->code;
	}
	for (i = 0; i < m->len; i++)
		if (m->lanes[i].codec)
			m->lanes[i].ops->end(m->lanes[i].codec);
	pthread_cond_destroy(&m->changed);
	pthread_mutex_destroy(&m->lock);
	free(m->lanes);
	free(m);
	return ret;
}
