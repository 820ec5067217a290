/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: packets of multifd channels to bytes and back, nothing else. A packet's head
 * always has room for all pages, used or not. Source: docs/wire.md, "Several channels"; QEMU 7.2
 * and 9.0, by reading.
 */
#include "base/bytes.h"
#include "migrate/multifd/multifd.h"

#include <errno.h>
#include <string.h>

enum { MAGIC = 0x11223344, VERSION = 1 };

static int check_magic(const uint8_t *from, struct err *e)
{
	if (load_be32(from) != MAGIC || load_be32(from + 4) != VERSION)
		return err_set(e, EINVAL, "multifd: a packet begins with %#x, version %u",
			       load_be32(from), load_be32(from + 4));
	return 0;
}

/**
 * multifd_hello_put() - The first packet of a channel
 * @h:	What it says
 * @to:	Filled in
 */
void multifd_hello_put(const struct multifd_hello *h, uint8_t to[MULTIFD_HELLO_BYTES])
{
	memset(to, 0, MULTIFD_HELLO_BYTES);
	store_be32(to, MAGIC);
	store_be32(to + 4, VERSION);
	memcpy(to + 8, h->uuid, 16);
	to[24] = h->id;
	to[25] = h->channels;
}

/**
 * multifd_hello_get() - Understand the first packet of a channel
 * @h:		Filled in
 * @from:	The packet
 * @e:		Set on failure only
 *
 * Errors: EINVAL it isn't one
 * Return: 0, or a negative errno
 */
int multifd_hello_get(struct multifd_hello *h, const uint8_t from[MULTIFD_HELLO_BYTES],
		      struct err *e)
{
	memcpy(h->uuid, from + 8, 16);
	h->id = from[24];
	h->channels = from[25];
	return check_magic(from, e);
}

/**
 * multifd_packet_put() - A packet's head
 * @p:	What it says
 * @to:	Filled in
 */
void multifd_packet_put(const struct multifd_packet *p, uint8_t to[MULTIFD_PACKET_BYTES])
{
	uint32_t i, n = p->normal + p->zero;

	memset(to, 0, MULTIFD_PACKET_BYTES);
	store_be32(to, MAGIC);
	store_be32(to + 4, VERSION);
	store_be32(to + 8, p->flags);
	store_be32(to + 12, MULTIFD_PAGES);
	store_be32(to + 16, p->normal);
	store_be32(to + 20, p->payload);
	store_be64(to + 24, p->number);
	store_be32(to + 32, p->zero);
	memcpy(to + 64, p->block, strnlen(p->block, 255));
	for (i = 0; i < n; i++)
		store_be64(to + 320 + 8 * i, p->offset[i]);
}

/**
 * multifd_packet_get() - Understand a packet's head
 * @p:		Filled in
 * @from:	The packet
 * @e:		Set on failure only
 *
 * Errors: EINVAL it isn't one, or says more pages than there can be
 * Return: 0, or a negative errno
 */
int multifd_packet_get(struct multifd_packet *p, const uint8_t from[MULTIFD_PACKET_BYTES],
		       struct err *e)
{
	uint32_t i, room = load_be32(from + 12);
	int ret = check_magic(from, e);

	p->flags = load_be32(from + 8);
	p->normal = load_be32(from + 16);
	p->payload = load_be32(from + 20);
	p->number = load_be64(from + 24);
	p->zero = load_be32(from + 32);
	memcpy(p->block, from + 64, 256);
	p->block[255] = '\0';
	if (ret < 0)
		return ret;
	if (p->flags & ~(uint32_t)(MULTIFD_SYNC | MULTIFD_METHOD))
		return err_set(e, ENOTSUP, "multifd: a packet with flags %#x isn't known",
			       p->flags);
	if (room > MULTIFD_PAGES || p->normal > room || p->zero > room - p->normal)
		return err_set(e, EINVAL, "multifd: a packet with %u pages and %u of zeros, of %u",
			       p->normal, p->zero, room);
	for (i = 0; i < p->normal + p->zero; i++)
		p->offset[i] = load_be64(from + 320 + 8 * i);
	return 0;
}
