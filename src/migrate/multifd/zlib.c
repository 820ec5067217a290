/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one deflate stream per channel, flushed at the end of each packet, so that
 * later packets refer to earlier ones. The guest may write a page while it is packed, which zlib
 * doesn't allow: each page is copied first.
 */
#include "base/owned.h"
#include "migrate/multifd/multifd.h"
#include "migrate/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/**
 * struct zlib_codec - State of a channel
 * @stream:	zlib's
 * @packing:	It deflates
 * @room:	Of @out, bytes
 * @page:	Copy of the page at hand
 * @out:	What was packed
 */
struct zlib_codec {
	z_stream stream;
	bool packing;
	uLong room;
	uint8_t page[WIRE_PAGE];
	uint8_t out[];
};

static void *zlib_begin(bool packing, int level)
{
	uLong room = packing ? compressBound(MULTIFD_PAGES * WIRE_PAGE) : 0;
	struct zlib_codec *z = mem_zalloc(sizeof(*z) + room);
	int ret;

	z->packing = packing;
	z->room = room;
	ret = packing ? deflateInit(&z->stream, level) : inflateInit(&z->stream);
	if (ret == Z_OK)
		return z;
	free(z);
	return NULL;
}

static void zlib_end(void *codec)
{
	struct zlib_codec *z = codec;

	if (!z)
		return;
	if (z->packing)
		deflateEnd(&z->stream);
	else
		inflateEnd(&z->stream);
	free(z);
}

static int zlib_pack(void *codec, const struct iovec *pages, uint32_t n, struct iovec *ret,
		     struct err *e)
{
	struct zlib_codec *z = codec;
	z_stream *s = &z->stream;
	uint32_t i;
	int r;

	s->next_out = z->out;
	s->avail_out = (uInt)z->room;
	for (i = 0; i < n; i++) {
		memcpy(z->page, pages[i].iov_base, WIRE_PAGE);
		s->next_in = z->page;
		s->avail_in = WIRE_PAGE;
		r = deflate(s, i + 1 == n ? Z_SYNC_FLUSH : Z_NO_FLUSH);
		if (r != Z_OK || s->avail_in)
			return err_set(e, EIO, "multifd: zlib can't pack a page: %d", r);
	}
	*ret = (struct iovec){z->out, z->room - s->avail_out};
	return 0;
}

static int zlib_unpack(void *codec, const struct iovec *piece, const struct iovec *pages,
		       uint32_t n, struct err *e)
{
	struct zlib_codec *z = codec;
	z_stream *s = &z->stream;
	uint32_t i;
	int r = Z_OK;

	s->next_in = piece->iov_base;
	s->avail_in = (uInt)piece->iov_len;
	for (i = 0; i < n; i++) {
		s->next_out = pages[i].iov_base;
		s->avail_out = WIRE_PAGE;
		while (r == Z_OK && s->avail_out)
			r = inflate(s, Z_SYNC_FLUSH);
		if (s->avail_out)
			return err_set(e, EINVAL, "multifd: a packet's zlib data is damaged: %s",
				       s->msg ? s->msg : "it ends early");
	}
	/* What is left is the flush mark, which has no output. */
	if (s->avail_in)
		inflate(s, Z_SYNC_FLUSH);
	return s->avail_in ? err_set(e, EINVAL, "multifd: a packet has more zlib data than pages")
			   : 0;
}

const struct multifd_codec_ops multifd_zlib = {.flag = MULTIFD_FLAG_ZLIB,
					       .begin = zlib_begin,
					       .pack = zlib_pack,
					       .unpack = zlib_unpack,
					       .end = zlib_end};
