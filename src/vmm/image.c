/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: see image.h. The scratch states are allocated and touched once beforehand,
 * so that the pause costs no page fault. In the process that takes over they are filled with the
 * devices' own state beforehand too, for what the other side doesn't send; reading that from KVM in
 * the pause would cost as much as loading all the rest.
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
	for (size_t n = 0; n < i->sections.len; n++)
		i->states[n] = mem_zalloc(i->sections.all[n].table->size);
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
	migrate_sections_destroy(&i->sections);
}

static void write_one(const struct migrate_section *s, void *state, bool capture,
		      struct state_writer *w)
{
	char id[256];
	size_t at;

	migrate_section_id(s, id);
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
 * @w:		Appended to
 */
void image_write(struct image *i, struct state_writer *w)
{
	for (size_t n = 0; n < i->sections.len; n++)
		write_one(&i->sections.all[n], i->states[n], true, w);
}

/**
 * image_rehearse() - Write states that aren't the guest's: warms all that image_write() will touch
 * @i:		Of the source; its guest runs, so its devices aren't asked
 * @w:		Cleared at the end
 */
void image_rehearse(struct image *i, struct state_writer *w)
{
	for (size_t n = 0; n < i->sections.len; n++)
		write_one(&i->sections.all[n], i->states[n], false, w);
	state_writer_clear(w);
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
	char mine[256];

	for (size_t k = 0; k < i->sections.len; k++) {
		size_t n = (hint + k) % i->sections.len;

		migrate_section_id(&i->sections.all[n], mine);
		if (i->sections.all[n].instance == instance && !strcmp(mine, id))
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
	if (r->failed || bytes > r->len - r->at)
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

/**
 * image_load() - Read and judge the state of all devices
 * @i:		Of the target, after image_prefill()
 * @r:		Bytes that image_write() made
 * @e:		Set on failure only
 *
 * Errors: EPROTO damaged; ENOENT a device is missing here; ENODATA one is missing there; EINVAL as
 * state_load()
 * Return: 0, or a negative errno
 */
int image_load(struct image *i, struct state_reader *r, struct err *e)
{
	OWNED(bool *) seen = mem_calloc(i->sections.len, sizeof(*seen));
	size_t hint = 0;
	int ret = 0;

	while (r->at < r->len && ret >= 0)
		ret = load_one(i, r, &hint, seen, e);
	for (size_t n = 0; n < i->sections.len && ret >= 0; n++)
		if (!seen[n])
			ret = err_set(e, ENODATA, "%s: no state came for it",
				      i->sections.all[n].name);
	return ret;
}

/**
 * image_prefill() - Before the first image_load(): the states become what the devices have now
 * @i:		Of the target, whose guest isn't there yet
 * @e:		Set on failure only
 *
 * Takes the same way as the guest's state will, which warms it.
 *
 * Errors: as image_load()
 * Return: 0, or a negative errno
 */
int image_prefill(struct image *i, struct err *e)
{
	struct state_writer w = {0};
	struct state_reader r;
	int ret;

	image_write(i, &w);
	r = (struct state_reader){.buf = w.buf, .len = w.len};
	ret = image_load(i, &r, e);
	state_writer_destroy(&w);
	return ret;
}

/**
 * image_apply() - Give each device its state
 * @i:		Loaded
 */
void image_apply(struct image *i)
{
	for (size_t n = 0; n < i->sections.len; n++)
		i->sections.all[n].apply(i->sections.all[n].opaque, i->states[n]);
}
