/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: see multifd.h. The job's thread fills one batch; when it is full it is given
 * to the next channel that has nothing to do. A channel's thread makes a packet of its batch: the
 * pages are handed to the kernel from where they are. The first failure of any channel is kept, and
 * from then on batches are dropped: the job finds out when it looks.
 */
#include "base/owned.h"
#include "migrate/multifd/multifd.h"
#include "migrate/ram/zero.h"
#include "migrate/tls/tls.h"
#include "migrate/wire.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/**
 * struct batch - Pages of one block that go in one packet
 */
struct batch {
	const struct ram_block *block;
	uint32_t n;
	uint64_t number, offset[MULTIFD_PAGES];
};

/**
 * struct source_lane - A channel and its thread
 * @owner:	Whose
 * @channel:	Borrowed
 * @id:		Its number
 * @codec:	State of the compression, or NULL
 * @thread:	Runs if @started
 * @wake:	There is work, or the end. With the lock of @owner
 * @batch:	The thread's while @busy
 * @busy, @sync: What is to be sent. Under the lock
 * @number:	Of the sync packet. Under the lock
 * @written:	Bytes so far. Under the lock
 */
struct source_lane {
	struct multifd_source *owner;
	struct channel *channel;
	uint8_t id;
	void *codec;
	pthread_t thread;
	bool started;
	pthread_cond_t wake;
	struct batch batch;
	bool busy, sync;
	uint64_t number, written;
};

/**
 * struct multifd_source - The channels of a guest that leaves
 * @job:	Whose
 * @ops:	Compression, or NULL
 * @lanes, @len: The channels
 * @next:	Where the search for an idle one begins
 * @batch:	Being filled
 * @number:	Of the next packet
 * @lock:	Of what follows
 * @idle:	A channel has got something done
 * @failure:	The first; its code is 0 while there is none
 * @quit:	The threads end
 */
struct multifd_source {
	struct migrate_job *job;
	const struct multifd_codec_ops *ops;
	struct source_lane *lanes;
	unsigned int len, next;
	struct batch batch;
	uint64_t number;
	pthread_mutex_t lock;
	pthread_cond_t idle;
	struct err failure;
	bool quit;
};

/**
 * multifd_codec() - The functions of a compression
 * @c:	Which
 *
 * Return: NULL for none
 */
const struct multifd_codec_ops *multifd_codec(enum multifd_compression c)
{
	return c == MULTIFD_ZLIB ? &multifd_zlib : c == MULTIFD_ZSTD ? &multifd_zstd : NULL;
}

/* Puts the pages of zeros behind the others. */
static void sort_zeros(const struct batch *b, struct multifd_packet *p)
{
	uint32_t i;

	p->normal = p->zero = 0;
	for (i = 0; i < b->n; i++)
		if (page_is_zero(b->block->hva + b->offset[i]))
			p->offset[b->n - ++p->zero] = b->offset[i];
		else
			p->offset[p->normal++] = b->offset[i];
}

static void describe(const struct source_lane *l, struct multifd_packet *p)
{
	const struct multifd_source *m = l->owner;
	const struct batch *b = &l->batch;

	p->flags = m->ops ? m->ops->flag : 0;
	p->number = b->number;
	snprintf(p->block, sizeof(p->block), "%s", b->block->name);
	if (m->job->options.multifd.find_zeros) {
		sort_zeros(b, p);
		return;
	}
	p->normal = b->n;
	p->zero = 0;
	memcpy(p->offset, b->offset, b->n * sizeof(*b->offset));
}

static int send_batch(struct source_lane *l, struct err *e)
{
	const struct multifd_codec_ops *ops = l->owner->ops;
	struct iovec pages[MULTIFD_PAGES], packed;
	uint8_t head[MULTIFD_PACKET_BYTES];
	struct multifd_packet p;
	uint32_t i;
	int ret = 0;

	describe(l, &p);
	for (i = 0; i < p.normal; i++)
		pages[i] = (struct iovec){l->batch.block->hva + p.offset[i], WIRE_PAGE};
	p.payload = p.normal * WIRE_PAGE;
	if (ops && p.normal) {
		ret = ops->pack(l->codec, pages, p.normal, &packed, e);
		p.payload = (uint32_t)packed.iov_len;
	}
	if (ret < 0)
		return ret;
	multifd_packet_put(&p, head);
	channel_put(l->channel, head, sizeof(head));
	if (ops && p.normal)
		channel_put_ref(l->channel, packed.iov_base, packed.iov_len);
	for (i = 0; !ops && i < p.normal; i++)
		channel_put_ref(l->channel, pages[i].iov_base, WIRE_PAGE);
	channel_flush(l->channel);
	return channel_check(l->channel, e);
}

static int send_sync(struct source_lane *l, struct err *e)
{
	struct multifd_packet p = {.flags = MULTIFD_SYNC, .number = l->number};
	uint8_t head[MULTIFD_PACKET_BYTES];

	multifd_packet_put(&p, head);
	channel_put(l->channel, head, sizeof(head));
	channel_flush(l->channel);
	return channel_check(l->channel, e);
}

static void fail(struct multifd_source *m, const struct source_lane *l, struct err *e)
{
	pthread_mutex_lock(&m->lock);
	if (!m->failure.code) {
		err_in(e, "channel %u", l->id);
		m->failure = *e;
	}
	pthread_mutex_unlock(&m->lock);
}

static void work(struct source_lane *l, bool busy, bool sync)
{
	struct multifd_source *m = l->owner;
	struct err e;
	int ret = 0;

	if (busy)
		ret = send_batch(l, &e);
	if (ret == 0 && sync)
		ret = send_sync(l, &e);
	if (ret < 0)
		fail(m, l, &e);
}

static void *lane_main(void *opaque)
{
	struct source_lane *l = opaque;
	struct multifd_source *m = l->owner;
	bool busy, sync;

	pthread_mutex_lock(&m->lock);
	while (!m->quit) {
		busy = l->busy;
		sync = l->sync;
		if (!busy && !sync) {
			pthread_cond_wait(&l->wake, &m->lock);
			continue;
		}
		pthread_mutex_unlock(&m->lock);
		work(l, busy, sync);
		pthread_mutex_lock(&m->lock);
		l->busy = false;
		l->sync = l->sync && !sync;
		l->written = channel_written(l->channel);
		pthread_cond_signal(&m->idle);
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

static struct source_lane *find_idle(struct multifd_source *m)
{
	unsigned int i;

	for (i = 0; i < m->len; i++) {
		struct source_lane *l = &m->lanes[(m->next + i) % m->len];

		if (!l->busy && !l->sync)
			return l;
	}
	return NULL;
}

/* Gives the batch to a channel; waits for one. */
static void hand_batch(struct multifd_source *m)
{
	struct source_lane *l = NULL;

	pthread_mutex_lock(&m->lock);
	while (!m->failure.code && !(l = find_idle(m)))
		pthread_cond_wait(&m->idle, &m->lock);
	if (l) {
		m->next = l->id + 1U;
		m->batch.number = m->number++;
		l->batch = m->batch;
		l->busy = true;
		pthread_cond_signal(&l->wake);
	}
	pthread_mutex_unlock(&m->lock);
	m->batch.n = 0;
}

/**
 * multifd_source_put() - Send a page over one of the channels
 * @m:		Begun
 * @b:		Its block
 * @offset:	Where in it. What is sent is its content at some time before the next sync ends
 */
void multifd_source_put(struct multifd_source *m, const struct ram_block *b, uint64_t offset)
{
	if (m->batch.n && (m->batch.n == MULTIFD_PAGES || m->batch.block != b))
		hand_batch(m);
	m->batch.block = b;
	m->batch.offset[m->batch.n++] = offset;
}

/* Is any channel at work? */
static bool any_at_work(const struct multifd_source *m)
{
	unsigned int i;

	for (i = 0; i < m->len; i++)
		if (m->lanes[i].busy || m->lanes[i].sync)
			return true;
	return false;
}

/**
 * multifd_source_sync() - A sync point
 * @m:	Begun; all that was put is in the channels afterwards, or multifd_source_check() tells
 */
void multifd_source_sync(struct multifd_source *m)
{
	unsigned int i;

	if (m->batch.n)
		hand_batch(m);
	pthread_mutex_lock(&m->lock);
	for (i = 0; i < m->len; i++) {
		m->lanes[i].number = m->number++;
		m->lanes[i].sync = true;
		pthread_cond_signal(&m->lanes[i].wake);
	}
	while (!m->failure.code && any_at_work(m))
		pthread_cond_wait(&m->idle, &m->lock);
	pthread_mutex_unlock(&m->lock);
}

/**
 * multifd_source_check() - Has a channel failed?
 * @m:	Begun, or NULL
 * @e:	Gets its story
 *
 * Return: 0, or its negative errno
 */
int multifd_source_check(struct multifd_source *m, struct err *e)
{
	int code;

	if (!m)
		return 0;
	pthread_mutex_lock(&m->lock);
	code = m->failure.code;
	if (code)
		*e = m->failure;
	pthread_mutex_unlock(&m->lock);
	return -code;
}

/**
 * multifd_source_written() - Bytes that went into all channels
 * @m:	Begun, or NULL
 */
uint64_t multifd_source_written(struct multifd_source *m)
{
	uint64_t sum = 0;
	unsigned int i;

	if (!m)
		return 0;
	pthread_mutex_lock(&m->lock);
	for (i = 0; i < m->len; i++)
		sum += m->lanes[i].written;
	pthread_mutex_unlock(&m->lock);
	return sum;
}

/* A QEMU with TLS that has a channel's handshake waits for its first packet and does nothing else,
 * so the one follows the other before the next channel's turn. */
static int lane_begin(struct multifd_source *m, unsigned int i, struct err *e)
{
	const struct multifd_options *o = &m->job->options.multifd;
	struct source_lane *l = &m->lanes[i];
	struct multifd_hello hello = {.id = (uint8_t)i, .channels = (uint8_t)m->job->multifd_len};
	uint8_t bytes[MULTIFD_HELLO_BYTES];

	*l = (struct source_lane){.owner = m, .channel = m->job->multifd[i], .id = (uint8_t)i};
	pthread_cond_init(&l->wake, NULL);
	l->codec = m->ops ? m->ops->begin(true, o->level) : NULL;
	if (m->ops && !l->codec)
		return err_set(e, ENOMEM, "no memory for the compression of a channel");
	if (channel_handshake(l->channel, e) < 0)
		return -e->code;
	memcpy(hello.uuid, o->uuid, sizeof(hello.uuid));
	multifd_hello_put(&hello, bytes);
	channel_put(l->channel, bytes, sizeof(bytes));
	channel_flush(l->channel);
	return channel_settle(l->channel, e);
}

static int lanes_start(struct multifd_source *m, struct err *e)
{
	unsigned int i;
	int r;

	for (i = 0; i < m->len; i++) {
		r = pthread_create(&m->lanes[i].thread, NULL, lane_main, &m->lanes[i]);
		if (r)
			return err_ret(e, -r, "start the thread of a channel");
		pthread_setname_np(m->lanes[i].thread, "multifd-send");
		m->lanes[i].started = true;
	}
	return 0;
}

/**
 * multifd_source_begin() - Get the channels of a job going
 * @ret:	Set if there are any, also on failure: multifd_source_end() it
 * @job:	With its channels, connected
 * @e:		Set on failure only
 *
 * When it returns, the other side's kernel has the first packet of each channel: who reads the
 * stream afterwards finds all of them.
 *
 * Errors: ENOMEM; as the channels and channel_handshake(), as pthread_create(3)
 * Return: 0, or a negative errno
 */
int multifd_source_begin(struct multifd_source **ret, struct migrate_job *job, struct err *e)
{
	struct multifd_source *m;
	int r = 0;

	*ret = NULL;
	if (!job->multifd_len)
		return 0;
	*ret = m = mem_zalloc(sizeof(*m));
	m->job = job;
	m->ops = multifd_codec(job->options.multifd.compression);
	m->lanes = mem_calloc(job->multifd_len, sizeof(*m->lanes));
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->idle, NULL);
	while (r == 0 && m->len < job->multifd_len)
		r = lane_begin(m, m->len++, e);
	return r < 0 ? r : lanes_start(m, e);
}

/**
 * multifd_source_end() - End the threads and free all; the channels stay open
 * @m:	May be NULL
 */
void multifd_source_end(struct multifd_source *m)
{
	unsigned int i;

	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	m->quit = true;
	for (i = 0; i < m->len; i++) {
		pthread_cond_signal(&m->lanes[i].wake);
		if (m->lanes[i].busy || m->lanes[i].sync) /* only after a failure */
			channel_shutdown(m->lanes[i].channel);
	}
	pthread_mutex_unlock(&m->lock);
	for (i = 0; i < m->len; i++) {
		if (m->lanes[i].started)
			pthread_join(m->lanes[i].thread, NULL);
		if (m->lanes[i].codec)
			m->ops->end(m->lanes[i].codec);
		pthread_cond_destroy(&m->lanes[i].wake);
	}
	pthread_cond_destroy(&m->idle);
	pthread_mutex_destroy(&m->lock);
	free(m->lanes);
	free(m);
}
