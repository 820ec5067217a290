/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: an index is a hash table without deletion. Slots hold numbers of pages, and
 * a page's name is looked up by its number; so a page that gets another content needs no search for
 * its old slot, which just doesn't fit any more and is used again. At most TRIES slots are looked
 * at: whoever fills them by names that collide makes pages be sent, no more.
 */
#include "migrate/content/content.h"

#include "base/bytes.h"
#include "base/owned.h"
#include "migrate/wire.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <string.h>

enum { TRIES = 8 };

_Static_assert((int)CONTENT_HASH_BYTES == SHA256_DIGEST_SIZE, "a hash is one of SHA-256");

static const uint8_t no_name[CONTENT_NAME_BYTES];

/**
 * content_hash() - Name a page's content
 * @page:	WIRE_PAGE bytes, which stay as they are meanwhile
 * @hash:	Filled in
 */
void content_hash(const void *page, uint8_t hash[CONTENT_HASH_BYTES])
{
	struct sha256_ctx sha;

	sha256_init(&sha);
	sha256_update(&sha, WIRE_PAGE, page);
	sha256_digest(&sha, CONTENT_HASH_BYTES, hash);
}

/**
 * content_index_create() - An index of pages without names
 * @x:		Filled in; content_index_destroy() also after a failure
 * @len:	Pages, numbered from 0
 * @e:		Set on failure only
 *
 * Errors: ENOMEM; EFBIG more pages than numbers (16 TiB)
 * Return: 0, or a negative errno
 */
int content_index_create(struct content_index *x, uint64_t len, struct err *e)
{
	uint64_t slots = 2;

	*x = (struct content_index){.len = len};
	if (len >= UINT32_MAX)
		return err_set(e, EFBIG, "content hashes: more than 16 TiB");
	while (slots < 2 * len)
		slots *= 2;
	x->mask = slots - 1;
	x->names = calloc(MAX(len, (uint64_t)1), sizeof(*x->names));
	x->slots = calloc(slots, sizeof(*x->slots));
	return x->names && x->slots ? 0 : err_set(e, ENOMEM, "no memory for content hashes");
}

/**
 * content_index_destroy() - Free an index
 * @x:	Created, or all zero
 */
void content_index_destroy(struct content_index *x)
{
	free(x->names);
	free(x->slots);
	*x = (struct content_index){0};
}

static bool slot_fits(const struct content_index *x, uint32_t slot, const uint8_t *name)
{
	return slot && !memcmp(x->names[slot - 1], name, CONTENT_NAME_BYTES);
}

static uint32_t *slot_at(const struct content_index *x, const uint8_t *name, uint64_t i)
{
	return &x->slots[(load_be64(name) + i) & x->mask];
}

/* A slot whose page has another name by now: its name leads elsewhere, or to a slot of its own. */
static bool slot_is_stale(const struct content_index *x, const uint32_t *slot)
{
	const uint8_t *name = x->names[*slot - 1];
	uint64_t i;

	for (i = 0; i < TRIES; i++)
		if (slot_at(x, name, i) == slot)
			return false;
	return true;
}

/**
 * content_index_set() - A page has this content from now on
 * @x:		Index
 * @number:	Of the page
 * @name:	CONTENT_NAME_BYTES
 */
void content_index_set(struct content_index *x, uint64_t number, const uint8_t *name)
{
	uint32_t *free_slot = NULL;
	uint64_t i;

	memcpy(x->names[number], name, CONTENT_NAME_BYTES);
	for (i = 0; i < TRIES; i++) {
		uint32_t *slot = slot_at(x, name, i);

		if (slot_fits(x, *slot, name))
			return; /* another page of the same content serves as well */
		if (!free_slot && (!*slot || slot_is_stale(x, slot)))
			free_slot = slot;
	}
	if (!free_slot)
		free_slot = slot_at(x, name, number % TRIES);
	*free_slot = (uint32_t)(number + 1);
}

/**
 * content_index_forget() - Nothing is known of a page's content any more
 * @x:		Index
 * @number:	Of the page
 */
void content_index_forget(struct content_index *x, uint64_t number)
{
	memcpy(x->names[number], no_name, CONTENT_NAME_BYTES);
}

/**
 * content_index_find() - A page of this content
 * @x:		Index, or all zero
 * @name:	CONTENT_NAME_BYTES
 * @ret:	Set to its number, if there is one
 */
bool content_index_find(const struct content_index *x, const uint8_t *name, uint64_t *ret)
{
	uint64_t i;

	if (!x->len || !memcmp(name, no_name, CONTENT_NAME_BYTES))
		return false;
	for (i = 0; i < TRIES; i++) {
		uint32_t slot = *slot_at(x, name, i);

		if (slot_fits(x, slot, name)) {
			*ret = slot - 1;
			return true;
		}
	}
	return false;
}
