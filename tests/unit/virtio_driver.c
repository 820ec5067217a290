/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a virtio driver of a few functions. It keeps descriptors on a free list,
 * publishes chains in either ring format, reads used ones back and asks for or declines interrupts.
 * Everything is in TEST_RAM.
 */
#include "unit/virtio_driver.h"

#include "base/bytes.h"

#include <assert.h>

#define AVAIL (1u << 7)
#define USED  (1u << 15)

void driver_init(struct driver *d, struct virtqueue *q, uint16_t num, uint64_t features, gpa_t base,
		 bool indirect)
{
	*d = (struct driver){.packed = features & VIRTQ_F_PACKED,
			     .event = features & VIRTQ_F_EVENT_IDX,
			     .indirect = indirect,
			     .num = num,
			     .avail_wrap = true,
			     .used_wrap = true};
	d->desc = base;
	d->avail = base + 16ULL * num;
	d->used = ALIGN_UP(d->avail + 6 + 2ULL * num, 4);
	d->tables = ALIGN_UP(d->used + 6 + 8ULL * num, 4096);
	assert(d->tables + num * 512ULL <= TEST_RAM_GPA + TEST_RAM_BYTES);
	memset(RAM(base), 0, d->tables - base);
	for (uint16_t i = 0; i < num; i++)
		d->free[d->free_len++] = (uint16_t)(num - 1 - i);
	d->slots_free = num;
	q->s.num = num;
	q->s.desc = d->desc;
	q->s.avail = d->avail;
	q->s.used = d->used;
}

void driver_desc(gpa_t table, unsigned int i, gpa_t gpa, uint32_t len, uint16_t c, uint16_t d)
{
	uint8_t *p = RAM(table + 16ULL * i);

	store_le64(p, gpa);
	store_le32(p + 8, len);
	store_le16(p + 12, c);
	store_le16(p + 14, d);
}

/* A word of guest memory for atomic access: rings are aligned. */
static uint16_t *ram_word(uint64_t gpa)
{
	return (uint16_t *)RAM(gpa);
}

static uint16_t buf_flags(const struct driver_buf *b, bool next)
{
	return (uint16_t)((b->write ? VIRTQ_DESC_F_WRITE : 0) | (next ? VIRTQ_DESC_F_NEXT : 0));
}

void driver_split_publish(struct driver *d, uint16_t head)
{
	uint16_t *idx = (uint16_t *)RAM(d->avail + 2);

	store_le16(RAM(d->avail + 4 + 2ULL * (d->avail_idx % d->num)), head);
	__atomic_store_n(idx, ++d->avail_idx, __ATOMIC_RELEASE);
}

static int split_add(struct driver *d, const struct driver_buf *bufs, unsigned int len)
{
	uint16_t ids[DRIVER_BUFS_MAX] = {0};
	unsigned int need = d->indirect ? 1 : len;
	gpa_t table;

	if (d->free_len < need)
		return -1;
	for (unsigned int i = 0; i < need; i++)
		ids[i] = d->free[--d->free_len];
	table = d->tables + ids[0] * 512ULL;
	for (unsigned int i = 0; i < len; i++)
		driver_desc(d->indirect ? table : d->desc, d->indirect ? i : ids[i], bufs[i].gpa,
			    bufs[i].len, buf_flags(&bufs[i], i + 1 < len),
			    (uint16_t)(d->indirect   ? i + 1
				       : i + 1 < len ? ids[i + 1]
						     : 0));
	if (d->indirect)
		driver_desc(d->desc, ids[0], table, 16 * len, VIRTQ_DESC_F_INDIRECT, 0);
	driver_split_publish(d, ids[0]);
	return ids[0];
}

static void step(struct driver *d, uint16_t *at, bool *wrap, unsigned int n)
{
	*at = (uint16_t)(*at + n);
	if (*at >= d->num) {
		*at = (uint16_t)(*at - d->num);
		*wrap = !*wrap;
	}
}

static uint16_t packed_avail_flags(bool wrap)
{
	return wrap ? AVAIL : USED;
}

static int packed_add(struct driver *d, const struct driver_buf *bufs, unsigned int len)
{
	unsigned int need = d->indirect ? 1 : len;
	uint16_t at = d->avail_idx, head = at, head_flags = 0, id;
	bool wrap = d->avail_wrap;

	if (!d->free_len || d->slots_free < need)
		return -1;
	id = d->free[--d->free_len];
	d->slots_free = (uint16_t)(d->slots_free - need);
	d->slots[id] = (uint16_t)need;
	for (unsigned int i = 0; d->indirect && i < len; i++)
		driver_desc(d->tables + id * 512ULL, i, bufs[i].gpa, bufs[i].len, 0,
			    buf_flags(&bufs[i], false));
	for (unsigned int i = 0; i < need; i++) {
		uint16_t flags = packed_avail_flags(wrap);

		flags |= d->indirect ? VIRTQ_DESC_F_INDIRECT : buf_flags(&bufs[i], i + 1 < len);
		driver_desc(d->desc, at, d->indirect ? d->tables + id * 512ULL : bufs[i].gpa,
			    d->indirect ? 16 * len : bufs[i].len, id, i ? flags : head_flags);
		if (!i) {
			head_flags = flags;
			store_le16(RAM(d->desc + 16ULL * at + 14), packed_avail_flags(!wrap));
		}
		step(d, &at, &wrap, 1);
	}
	__atomic_store_n(ram_word(d->desc + 16ULL * head + 14), head_flags, __ATOMIC_RELEASE);
	d->avail_idx = at;
	d->avail_wrap = wrap;
	return id;
}

int driver_add(struct driver *d, const struct driver_buf *bufs, unsigned int len)
{
	return d->packed ? packed_add(d, bufs, len) : split_add(d, bufs, len);
}

static void split_free(struct driver *d, uint16_t id)
{
	uint8_t *p;

	for (;;) {
		p = RAM(d->desc + 16ULL * id);
		d->free[d->free_len++] = id;
		if (load_le16(p + 12) & VIRTQ_DESC_F_INDIRECT ||
		    !(load_le16(p + 12) & VIRTQ_DESC_F_NEXT))
			return;
		id = load_le16(p + 14);
	}
}

static bool split_take(struct driver *d, uint16_t *id, uint32_t *written)
{
	const uint8_t *e = RAM(d->used + 4 + 8ULL * (d->used_idx % d->num));

	if (__atomic_load_n(ram_word(d->used + 2), __ATOMIC_ACQUIRE) == d->used_idx)
		return false;
	*id = (uint16_t)load_le32(e);
	*written = load_le32(e + 4);
	d->used_idx++;
	if (d->event)
		__atomic_store_n((uint16_t *)RAM(d->avail + 4 + 2ULL * d->num), d->used_idx,
				 __ATOMIC_RELAXED);
	split_free(d, *id);
	return true;
}

static bool packed_take(struct driver *d, uint16_t *id, uint32_t *written)
{
	const uint8_t *e = RAM(d->desc + 16ULL * d->used_idx);
	uint16_t flags = __atomic_load_n((uint16_t *)(void *)(e + 14), __ATOMIC_ACQUIRE);

	if (!!(flags & AVAIL) != d->used_wrap || !!(flags & USED) != d->used_wrap)
		return false;
	*written = load_le32(e + 8);
	*id = load_le16(e + 12);
	assert(*id < d->num && d->slots[*id]);
	step(d, &d->used_idx, &d->used_wrap, d->slots[*id]);
	d->slots_free = (uint16_t)(d->slots_free + d->slots[*id]);
	d->slots[*id] = 0;
	d->free[d->free_len++] = *id;
	if (d->event) {
		store_le16(RAM(d->avail), (uint16_t)(d->used_idx | (d->used_wrap ? 1u << 15 : 0)));
		store_le16(RAM(d->avail + 2), 2);
	}
	return true;
}

bool driver_take(struct driver *d, uint16_t *id, uint32_t *written)
{
	return d->packed ? packed_take(d, id, written) : split_take(d, id, written);
}

/* Called after each add; as Linux's virtqueue_kick_prepare() for one chain. */
bool driver_must_kick(struct driver *d)
{
	uint16_t event, flags;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!d->packed && !d->event)
		return !(load_le16(RAM(d->used)) & 1);
	if (!d->packed) {
		event = load_le16(RAM(d->used + 4 + 8ULL * d->num));
		return (uint16_t)(d->avail_idx - event - 1) < 1;
	}
	flags = load_le16(RAM(d->used + 2));
	if (flags != 2)
		return flags == 0;
	event = load_le16(RAM(d->used));
	if (d->avail_idx)
		return event == (uint16_t)((d->avail_idx - 1) | (d->avail_wrap ? 1u << 15 : 0));
	return event == (uint16_t)((d->num - 1) | (d->avail_wrap ? 0 : 1u << 15));
}

void driver_interrupts(struct driver *d, bool on)
{
	if (d->packed)
		store_le16(RAM(d->avail + 2), on ? 0 : 1);
	else
		store_le16(RAM(d->avail), on ? 0 : 1);
}
