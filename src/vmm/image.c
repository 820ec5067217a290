/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: see image.h. The scratch states are allocated and touched once beforehand,
 * so that the pause costs no page fault. In the process that takes over they are filled with the
 * devices' own state beforehand too, for what the other side doesn't send; reading that from KVM in
 * the pause would cost as much as loading all the rest.
 *
 * The two processes work at once: each section is given away when it is written, and loaded, judged
 * and applied while the next is captured. That a device has its state before another one's was
 * judged does no harm, since a process that refuses one ends and the guest goes on where it was.
 * They are applied in the machine's order all the same.
 */
#include "vmm/image.h"

#include "base/bytes.h"
#include "base/owned.h"

#include <errno.h>
#include <string.h>

/**
 * image_open() - Make room for a state of each section
 * @i:		Filled in
 * @taken_sections: Owned by @i from here on
 */
void image_open(struct image *i, const struct migrate_sections *taken_sections)
{
	i->sections = *taken_sections;
	i->states = mem_calloc(i->sections.len, sizeof(*i->states));
	i->ids = mem_calloc(i->sections.len, sizeof(*i->ids));
	for (size_t n = 0; n < i->sections.len; n++) {
		i->states[n] = mem_zalloc(i->sections.all[n].table->size);
		migrate_section_id(&i->sections.all[n], i->ids[n]);
	}
}

/**
 * image_close() - Give the room back
 * @i:		Opened
 */
void image_close(struct image *i)
{
	for (size_t n = 0; n < i->sections.len; n++)
		free(i->states[n]);
	free(i->states);
	free(i->ids);
	migrate_sections_destroy(&i->sections);
}

/* A section that a stream may lack says nothing that a device needs, and builds before the one that
 * got it don't know it. */
static bool carried(const struct image *i, size_t n)
{
	return !i->sections.all[n].optional;
}

static void write_one(const struct image *i, size_t n, bool capture, struct state_writer *w)
{
	const struct migrate_section *s = &i->sections.all[n];
	const char *id = i->ids[n];
	void *state = i->states[n];
	size_t at;

	state_put_be16(w, (uint16_t)strlen(id));
	state_put(w, id, strlen(id));
	state_put_be32(w, s->instance);
	state_put_be32(w, s->table->version);
	at = w->len;
	state_put_be32(w, 0);
	memset(state, 0, s->table->size);
	if (capture)
		s->capture(s->opaque, state);
	state_save(s->table, state, w);
	store_be32(w->buf + at, (uint32_t)(w->len - at - 4));
}

/**
 * image_write() - Capture all devices
 * @i:		Of the source
 * @w:		Appended to, and flushed after each section
 */
void image_write(struct image *i, struct state_writer *w)
{
	for (size_t n = 0; n < i->sections.len; n++) {
		if (!carried(i, n))
			continue;
		write_one(i, n, true, w);
		if (w->flush)
			w->flush(w);
	}
}

/**
 * image_rehearse() - Write states that aren't the guest's: warms all that image_write() will touch
 * @i:		Of the source; its guest runs, so its devices aren't asked
 * @w:		Cleared at the end
 *
 * Return: bytes that were written; the guest's own states take more where they have lists
 */
size_t image_rehearse(struct image *i, struct state_writer *w)
{
	size_t len;

	for (size_t n = 0; n < i->sections.len; n++)
		if (carried(i, n))
			write_one(i, n, false, w);
	len = w->len;
	state_writer_clear(w);
	return len;
}

/**
 * image_capture() - Capture all devices, without writing
 * @i:	Of the source
 */
void image_capture(struct image *i)
{
	for (size_t n = 0; n < i->sections.len; n++) {
		const struct migrate_section *s = &i->sections.all[n];

		memset(i->states[n], 0, s->table->size);
		s->capture(s->opaque, i->states[n]);
	}
}

/* Sections come in the order of the machine that wrote them, which is mostly ours. */
static size_t find(const struct image *i, const char *id, uint32_t instance, size_t hint)
{
	for (size_t k = 0; k < i->sections.len; k++) {
		size_t n = (hint + k) % i->sections.len;

		if (i->sections.all[n].instance == instance && !strcmp(i->ids[n], id))
			return n;
	}
	return i->sections.len;
}

static int load_payload(const struct migrate_section *s, void *state, struct state_reader *r,
			uint32_t version, struct err *e)
{
	int ret = state_load(s->table, state, version, r, e);

	if (ret >= 0 && r->at != r->len)
		ret = err_set(e, EINVAL, "%s: %zu bytes are left over", s->table->name,
			      r->len - r->at);
	if (ret >= 0 && s->validate)
		ret = s->validate(s->opaque, state, e);
	return ret;
}

static int load_one(struct image *i, struct state_reader *r, size_t *hint, bool *seen,
		    struct err *e)
{
	char id[256] = "";
	size_t len = state_get_be16(r), n;
	uint32_t instance, version, bytes;
	struct state_reader payload;
	int ret;

	if (len >= sizeof(id) || !state_get(r, id, len))
		return err_set(e, EPROTO, "the state is damaged");
	instance = state_get_be32(r);
	version = state_get_be32(r);
	bytes = state_get_be32(r);
	if (r->failed || !state_peek(r, bytes))
		return err_set(e, EPROTO, "%s: the state is cut off", id);
	n = find(i, id, instance, *hint);
	if (n == i->sections.len)
		return err_set(e, ENOENT, "%s, instance %u: there is no such device here", id,
			       instance);
	payload = (struct state_reader){.buf = r->buf + r->at, .len = bytes};
	ret = load_payload(&i->sections.all[n], i->states[n], &payload, version, e);
	r->at += bytes;
	*hint = n + 1;
	seen[n] = true;
	return ret < 0 ? err_in(e, "%s", id) : 0;
}

/* Applied are those that have come without a gap from the first on: the machine's order. */
static size_t apply_until(struct image *i, size_t next, const bool *seen)
{
	for (; next < i->sections.len && (seen[next] || !carried(i, next)); next++)
		if (carried(i, next))
			i->sections.all[next].apply(i->sections.all[next].opaque, i->states[next]);
	return next;
}

static int load_all(struct image *i, struct state_reader *r, bool apply, struct err *e)
{
	OWNED(bool *) seen = mem_calloc(i->sections.len, sizeof(*seen));
	size_t hint = 0, next = 0, left = 0;
	int ret = 0;

	for (size_t n = 0; n < i->sections.len; n++)
		left += carried(i, n);
	for (; left && ret >= 0 && state_peek(r, 1); left--) {
		ret = load_one(i, r, &hint, seen, e);
		if (ret >= 0 && apply)
			next = apply_until(i, next, seen);
	}
	for (size_t n = 0; n < i->sections.len && ret >= 0; n++)
		if (!seen[n] && carried(i, n))
			ret = err_set(e, ENODATA, "%s: no state came for it",
				      i->sections.all[n].name);
	return ret;
}

/**
 * image_receive() - Read and judge the state of each device, and give it to the device
 * @i:		Of the target, after image_prefill()
 * @r:		Bytes that image_write() made or is making
 * @e:		Set on failure only
 *
 * Doesn't wait for the end behind the last section: image_ended() tells whether there is one.
 *
 * Errors: EPROTO damaged; ENOENT a device is missing here; ENODATA one is missing there; EINVAL as
 * state_load()
 * Return: 0, or a negative errno
 */
int image_receive(struct image *i, struct state_reader *r, struct err *e)
{
	return load_all(i, r, true, e);
}

/**
 * image_ended() - Is there nothing behind the last section?
 * @r:		As image_receive() left it; waits for all to be written
 * @e:		Set on failure only
 *
 * Errors: ENOENT the other side has another device
 * Return: 0, or a negative errno
 */
int image_ended(struct state_reader *r, struct err *e)
{
	char id[256] = "";
	size_t len;

	if (!state_peek(r, 1))
		return 0;
	len = state_get_be16(r);
	if (len < sizeof(id))
		state_get(r, id, len);
	return err_set(e, ENOENT, "%s: there is one such device more over there", id);
}

/**
 * image_prefill() - Before image_receive(): the states become what the devices have now
 * @i:		Of the target, whose guest isn't there yet
 * @e:		Set on failure only
 *
 * Takes the same way as the guest's state will, which warms it; nothing is applied.
 *
 * Errors: as image_receive()
 * Return: 0, or a negative errno
 */
int image_prefill(struct image *i, struct err *e)
{
	struct state_writer w = {0};
	struct state_reader r;
	int ret;

	image_write(i, &w);
	r = (struct state_reader){.buf = w.buf, .len = w.len};
	ret = load_all(i, &r, false, e);
	state_writer_destroy(&w);
	return ret;
}
