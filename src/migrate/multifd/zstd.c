/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one zstd stream per channel, flushed at the end of each packet, so that
 * later packets refer to earlier ones. What the guest writes meanwhile does no harm: the streaming
 * functions work on a copy of their own.
 */
#include "base/owned.h"
#include "migrate/multifd/multifd.h"
#include "migrate/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/**
 * struct zstd_codec - State of a channel: one of the two streams
 * @in, @out:	Context that unpacks, that packs; the other is NULL
 * @room:	Of @packed, bytes
 * @packed:	What was packed
 */
struct zstd_codec {
	ZSTD_DStream *in;
	ZSTD_CCtx *out;
	size_t room;
	uint8_t packed[];
};

static void zstd_end(void *codec)
{
	struct zstd_codec *z = codec;

	if (!z)
		return;
	ZSTD_freeDStream(z->in);
	ZSTD_freeCCtx(z->out);
	free(z);
}

static void *zstd_begin(bool packing, int level)
{
	size_t room = packing ? ZSTD_compressBound(MULTIFD_PAGES * WIRE_PAGE) : 0;
	struct zstd_codec *z = mem_zalloc(sizeof(*z) + room);

	z->room = room;
	if (packing)
		z->out = ZSTD_createCCtx();
	else
		z->in = ZSTD_createDStream();
	if (z->in || (z->out && !ZSTD_isError(ZSTD_CCtx_setParameter(
					z->out, ZSTD_c_compressionLevel, level))))
		return z;
	zstd_end(z);
	return NULL;
}

static int zstd_pack(void *codec, const struct iovec *pages, uint32_t n, struct iovec *ret,
		     struct err *e)
{
	struct zstd_codec *z = codec;
	ZSTD_outBuffer out = {z->packed, z->room, 0};
	uint32_t i;

	for (i = 0; i < n; i++) {
		ZSTD_inBuffer in = {pages[i].iov_base, WIRE_PAGE, 0};
		bool last = i + 1 == n;
		size_t left;

		do {
			left = ZSTD_compressStream2(z->out, &out, &in,
						    last ? ZSTD_e_flush : ZSTD_e_continue);
			if (ZSTD_isError(left) || out.pos == out.size)
				return err_set(e, EIO, "multifd: zstd can't pack a page: %s",
					       ZSTD_getErrorName(left));
		} while (last ? left > 0 : in.pos < in.size);
	}
	*ret = (struct iovec){z->packed, out.pos};
	return 0;
}

static int zstd_unpack(void *codec, const struct iovec *piece, const struct iovec *pages,
		       uint32_t n, struct err *e)
{
	struct zstd_codec *z = codec;
	ZSTD_inBuffer in = {piece->iov_base, piece->iov_len, 0};
	uint32_t i;

	for (i = 0; i < n; i++) {
		ZSTD_outBuffer out = {pages[i].iov_base, WIRE_PAGE, 0};

		while (out.pos < out.size) {
			size_t before = in.pos + out.pos;
			size_t r = ZSTD_decompressStream(z->in, &out, &in);

			if (ZSTD_isError(r) || in.pos + out.pos == before)
				return err_set(
					e, EINVAL, "multifd: a packet's zstd data is damaged: %s",
					ZSTD_isError(r) ? ZSTD_getErrorName(r) : "it ends early");
		}
	}
	return in.pos < in.size
		       ? err_set(e, EINVAL, "multifd: a packet has more zstd data than pages")
		       : 0;
}

const struct multifd_codec_ops multifd_zstd = {.flag = MULTIFD_FLAG_ZSTD,
					       .begin = zstd_begin,
					       .pack = zstd_pack,
					       .unpack = zstd_unpack,
					       .end = zstd_end};
