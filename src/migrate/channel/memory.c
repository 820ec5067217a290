/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: bytes to be read are borrowed, written ones are kept: for tests, fuzzing,
 * and state that crosses to another process in shared memory.
 */
#include "base/owned.h"
#include "migrate/channel/channel.h"
#include "state/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/**
 * struct memory_carrier - Memory that carries a channel
 * @from:	Bytes to be read; borrowed
 * @len:	How many
 * @at:		Read so far
 * @to:		What was written
 * @stopped:	After a shutdown
 */
struct memory_carrier {
	const uint8_t *from;
	size_t len, at;
	struct state_writer to;
	bool stopped;
};

static ssize_t memory_readv(void *carrier, const struct iovec *iov, int n)
{
	struct memory_carrier *m = carrier;
	size_t part, got = 0;
	int i;

	if (m->stopped)
		return -ECANCELED;
	for (i = 0; i < n; i++, got += part) {
		part = MIN(iov[i].iov_len, m->len - m->at);
		if (part)
			memcpy(iov[i].iov_base, m->from + m->at, part);
		m->at += part;
	}
	return (ssize_t)got;
}

static ssize_t memory_writev(void *carrier, const struct iovec *iov, int n)
{
	struct memory_carrier *m = carrier;
	size_t before = m->to.len;
	int i;

	if (m->stopped)
		return -ECANCELED;
	for (i = 0; i < n; i++)
		state_put(&m->to, iov[i].iov_base, iov[i].iov_len);
	return (ssize_t)(m->to.len - before);
}

static void memory_shutdown(void *carrier)
{
	((struct memory_carrier *)carrier)->stopped = true;
}

static void memory_close(void *carrier)
{
	struct memory_carrier *m = carrier;

	state_writer_destroy(&m->to);
	free(m);
}

static const struct channel_ops memory_ops = {.readv = memory_readv,
					      .writev = memory_writev,
					      .shutdown = memory_shutdown,
					      .close = memory_close};

/**
 * channel_open_memory() - A channel that reads from memory and keeps what is written
 * @bytes:	Borrowed as long as the channel lives; may be NULL
 * @len:	How many
 *
 * Return: never NULL
 */
struct channel *channel_open_memory(const void *bytes, size_t len)
{
	struct memory_carrier *m = mem_zalloc(sizeof(*m));

	m->from = bytes;
	m->len = len;
	return channel_create(&memory_ops, m);
}

/**
 * channel_memory() - What was written so far
 * @c:		Made by channel_open_memory(); flushed by this
 * @ret_len:	Set
 *
 * Return: the bytes, valid until the next write
 */
const uint8_t *channel_memory(struct channel *c, size_t *ret_len)
{
	struct memory_carrier *m = channel_carrier(c, &memory_ops);

	channel_flush(c);
	*ret_len = m->to.len;
	return m->to.buf;
}
