/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see content.h; docs/wire.md has the octets. The list of the target's file
 * goes back to the source before anything is sent; a page that the target has is a record among
 * those of RAM. */
#include "migrate/content/content.h"

#include "migrate/preflight.h"
#include "migrate/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { PIECE_NAMES = 4095, NAMES_MAX = PIECE_NAMES * CONTENT_NAME_BYTES };

/**
 * content_list_put() - Tell the source what is in the file
 * @c:	The return path
 * @f:	The file; NULL: nothing is said
 */
void content_list_put(struct channel *c, const struct content_file *f)
{
	uint64_t left = content_file_pages(f), n;
	const uint8_t *names = left ? content_file_names(f) : NULL;

	for (; left; left -= n, names += n * CONTENT_NAME_BYTES) {
		n = MIN(left, (uint64_t)PIECE_NAMES);
		channel_put_be16(c, PREFLIGHT_HASHES);
		channel_put_be16(c, (uint16_t)(n * CONTENT_NAME_BYTES));
		channel_put(c, names, n * CONTENT_NAME_BYTES);
	}
	channel_flush(c);
}

static int get_piece(struct channel *c, struct content_index *x, uint64_t *at, struct err *e)
{
	uint16_t type = channel_get_be16(c), len = channel_get_be16(c);
	uint8_t names[NAMES_MAX];
	uint64_t n = len / CONTENT_NAME_BYTES, i;

	if (channel_failed(c))
		return channel_check(c, e);
	if (type != PREFLIGHT_HASHES || !n || len % CONTENT_NAME_BYTES || n > x->len - *at ||
	    len > sizeof(names))
		return err_set(e, EPROTO, "the target's list of known pages isn't known");
	if (!channel_get(c, names, len))
		return channel_check(c, e);
	for (i = 0; i < n; i++)
		content_index_set(x, (*at)++, names + i * CONTENT_NAME_BYTES);
	return 0;
}

/**
 * content_list_get() - Hear what is in the target's file
 * @c:		The return path
 * @x:		Filled in; content_index_destroy() also after a failure
 * @pages:	How many it said there are
 * @e:		Set on failure only
 *
 * Errors: EPROTO; ENOMEM, EFBIG; as the channel
 * Return: 0, or a negative errno
 */
int content_list_get(struct channel *c, struct content_index *x, uint64_t pages, struct err *e)
{
	uint64_t at = 0;
	int r = content_index_create(x, pages, e);

	while (r == 0 && at < pages)
		r = get_piece(c, x, &at, e);
	return r;
}

/**
 * content_record_put() - Name a page; behind the record's address and block
 * @c:	The stream
 * @p:	What the target has
 */
void content_record_put(struct channel *c, const struct content_page *p)
{
	channel_put_u8(c, (uint8_t)p->where);
	channel_put_be64(c, p->place);
	channel_put(c, p->hash, sizeof(p->hash));
}

static int read_place(const struct ram_block *b, const struct content_file *f, uint8_t where,
		      uint64_t place, uint8_t *page, struct err *e)
{
	if (where == CONTENT_FILE)
		return content_file_read(f, place, page, e);
	if (where != CONTENT_BLOCK || place >= b->size || place % WIRE_PAGE)
		return err_set(e, EINVAL, "ram/%s: a known page at %u, %#" PRIx64, b->name, where,
			       place);
	memcpy(page, b->hva + place, WIRE_PAGE);
	return 0;
}

/**
 * content_record_get() - Read what content_record_put() wrote, and get the page
 * @c:		The stream
 * @b:		Block of the page
 * @f:		File whose list the source has; NULL: none
 * @page:	Filled in, WIRE_PAGE bytes, and verified
 * @e:		Set on failure only
 *
 * Errors: EINVAL no such place; EBADMSG another content is there; EIO; as the channel
 * Return: 0, or a negative errno
 */
int content_record_get(struct channel *c, const struct ram_block *b, const struct content_file *f,
		       uint8_t *page, struct err *e)
{
	uint8_t where = channel_get_u8(c), hash[CONTENT_HASH_BYTES], found[CONTENT_HASH_BYTES];
	uint64_t place = channel_get_be64(c);
	int r;

	if (!channel_get(c, hash, sizeof(hash)))
		return channel_check(c, e);
	r = read_place(b, f, where, place, page, e);
	if (r < 0)
		return r;
	content_hash(page, found);
	if (!memcmp(hash, found, sizeof(hash)))
		return 0;
	if (where == CONTENT_FILE)
		return err_set(e, EBADMSG,
			       "page %" PRIu64 " of outlive-content-file has changed since it was "
			       "listed: keep the file as it is, or migrate without it",
			       place);
	return err_set(e, EBADMSG, "ram/%s: the page at %#" PRIx64 " isn't the one that is meant",
		       b->name, place);
}
