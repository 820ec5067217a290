/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: requests of a disk that outlive a stop. We drain before a capture, so there
 * are only those that failed where rerror or werror say "stop", and those that another VMM had in
 * flight when it wrote its state. They are kept as guest addresses and made anew when the guest
 * runs; the ring counts them as in flight meanwhile. On the wire each is an element
 * (virtio_element.c) behind what the kind of disk puts in front.
 */
#include "device/virtio/carried.h"

#include "base/owned.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static unsigned int buffers_of(const struct virtq_chain *c)
{
	return (unsigned int)c->out_len + c->in_len;
}

/**
 * carried_add() - Keep one more request
 * @l:		The list
 * @queue:	Where it belongs
 * @c:		id, slots and lengths are copied
 *
 * Return: the request, its arrays zeroed; NULL: a state has no room for more
 */
struct carried *carried_add(struct carried_list *l, uint32_t queue, const struct virtq_chain *c)
{
	unsigned int n = buffers_of(c), sum = n;
	struct carried *to;

	for (unsigned int i = 0; i < l->len; i++)
		sum += buffers_of(&l->all[i].chain);
	if (l->len == CARRIED_MAX || sum > CARRIED_BUFFERS)
		return NULL;
	l->all = realloc(l->all, (l->len + 1) * sizeof(*l->all));
	if (!l->all)
		abort();
	to = &l->all[l->len++];
	*to = (struct carried){.queue = queue, .chain = *c};
	to->chain.iov = NULL;
	to->chain.gpas = mem_calloc(n, sizeof(gpa_t));
	to->lens = mem_calloc(n, sizeof(uint32_t));
	return to;
}

/**
 * carried_release() - Forget all
 * @l:	Empty afterwards
 */
void carried_release(struct carried_list *l)
{
	for (unsigned int i = 0; i < l->len; i++) {
		free(l->all[i].chain.gpas);
		free(l->all[i].lens);
	}
	free(l->all);
	*l = (struct carried_list){0};
}

static void entry_add(struct carried_state *s, const struct carried_entry *entry, const gpa_t *gpas,
		      const uint32_t *lens)
{
	unsigned int n = (unsigned int)entry->out_len + entry->in_len;
	struct carried_entry *to = &s->entries[s->len++];

	*to = *entry;
	to->first = s->buffers;
	memcpy(s->gpas + s->buffers, gpas, n * sizeof(*gpas));
	memcpy(s->lens + s->buffers, lens, n * sizeof(*lens));
	s->buffers += n;
}

/**
 * carried_capture() - Describe a list
 * @to:		Filled in
 * @l:		The list
 */
void carried_capture(struct carried_state *to, const struct carried_list *l)
{
	to->len = to->buffers = 0;
	for (unsigned int i = 0; i < l->len; i++) {
		const struct virtq_chain *c = &l->all[i].chain;
		const struct carried_entry entry = {.queue = l->all[i].queue,
						    .id = c->id,
						    .slots = c->slots,
						    .out_len = c->out_len,
						    .in_len = c->in_len};

		entry_add(to, &entry, c->gpas, l->all[i].lens);
	}
}

/**
 * carried_apply() - Take a judged list over
 * @to:		What was in it is forgotten
 * @s:		The list
 */
void carried_apply(struct carried_list *to, const struct carried_state *s)
{
	carried_release(to);
	for (unsigned int i = 0; i < s->len; i++) {
		const struct carried_entry *from = &s->entries[i];
		const struct virtq_chain chain = {.id = from->id,
						  .slots = from->slots,
						  .out_len = from->out_len,
						  .in_len = from->in_len};
		struct carried *c = carried_add(to, from->queue, &chain);

		memcpy(c->chain.gpas, s->gpas + from->first, buffers_of(&chain) * sizeof(gpa_t));
		memcpy(c->lens, s->lens + from->first, buffers_of(&chain) * sizeof(uint32_t));
	}
}

/**
 * carried_save() - Write the element of a request
 * @s:		The list
 * @i:		Which
 * @packed:	Packed rings are offered here
 * @w:		Where
 */
void carried_save(const struct carried_state *s, unsigned int i, bool packed,
		  struct state_writer *w)
{
	OWNED(struct virtio_element *) el = mem_zalloc(sizeof(*el));
	const struct carried_entry *c = &s->entries[i];
	unsigned int n = (unsigned int)c->out_len + c->in_len;

	el->id = c->id;
	el->slots = c->slots;
	el->out_len = c->out_len;
	el->in_len = c->in_len;
	memcpy(el->gpas, s->gpas + c->first, n * sizeof(el->gpas[0]));
	memcpy(el->lens, s->lens + c->first, n * sizeof(el->lens[0]));
	virtio_element_save(el, packed, w);
}

/**
 * carried_load() - Read the element of a request
 * @s:		It is added to this
 * @queue:	As read before
 * @packed:	Packed rings are offered here
 * @r:		From where
 * @e:		Set on failure only
 *
 * Errors: EINVAL too many, or as virtio_element_load()
 * Return: 0, or a negative errno
 */
int carried_load(struct carried_state *s, uint32_t queue, bool packed, struct state_reader *r,
		 struct err *e)
{
	OWNED(struct virtio_element *) el = mem_zalloc(sizeof(*el));
	int ret = virtio_element_load(el, packed, r, e);
	const struct carried_entry entry = {.queue = queue,
					    .id = el->id,
					    .slots = el->slots,
					    .out_len = el->out_len,
					    .in_len = el->in_len};

	if (ret)
		return ret;
	if (s->len == CARRIED_MAX ||
	    (unsigned int)el->out_len + el->in_len > CARRIED_BUFFERS - s->buffers)
		return err_set(e, EINVAL, "requests: more than %d in flight, or %d buffers",
			       CARRIED_MAX, CARRIED_BUFFERS);
	entry_add(s, &entry, el->gpas, el->lens);
	return 0;
}
