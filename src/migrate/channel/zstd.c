/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what is written goes through zstd to the descriptor, what is read comes from
 * there through it. The compressed file is an ordinary .zst: frames that zstd(1) unpacks to the
 * stream. Finishing ends a frame; what is written afterwards begins another one.
 */
#include "base/bytes.h"
#include "base/owned.h"
#include "migrate/channel/carrier.h"
#include "migrate/channel/channel.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

enum { LEVEL = 1, THREADS_MAX = 4, ROOM = 256 * 1024 };

static const uint8_t frame_magic[4] = {0x28, 0xb5, 0x2f, 0xfd};

/**
 * struct zstd_carrier - A descriptor with zstd in front of it
 * @f:		The descriptor
 * @in:		Unpacks; NULL while nothing was read
 * @out:	Packs; NULL while nothing was written
 * @open:	A frame has been begun and not ended
 * @room:	Packed bytes: read, or to be written
 * @have:	Of @room, when reading
 */
struct zstd_carrier {
	struct fd_carrier f;
	ZSTD_DCtx *in;
	ZSTD_CCtx *out;
	bool open;
	uint8_t room[ROOM];
	ZSTD_inBuffer have;
};

static int packed_write(struct zstd_carrier *z, size_t n)
{
	uint8_t *from = z->room;
	ssize_t done;

	for (; n; from += done, n -= (size_t)done) {
		done = fd_carrier_transfer(&z->f, &(struct iovec){from, n}, 1, POLLOUT);
		if (done < 0)
			return (int)done;
	}
	return 0;
}

/* Packs until all of @in is taken, or the frame has ended. */
static int pack(struct zstd_carrier *z, ZSTD_inBuffer *in, ZSTD_EndDirective how)
{
	size_t left = 1;
	int ret = 0;

	while (ret == 0 && (how == ZSTD_e_end ? left : in->pos < in->size)) {
		ZSTD_outBuffer out = {z->room, ROOM, 0};

		left = ZSTD_compressStream2(z->out, &out, in, how);
		ret = ZSTD_isError(left) ? -EIO : packed_write(z, out.pos);
	}
	return ret;
}

static void out_begin(struct zstd_carrier *z)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	z->out = ZSTD_createCCtx();
	if (!z->out)
		abort(); /* out of memory */
	ZSTD_CCtx_setParameter(z->out, ZSTD_c_compressionLevel, LEVEL);
	ZSTD_CCtx_setParameter(z->out, ZSTD_c_checksumFlag, 1);
	/* Fails where the library has no threads; then it does without. */
	ZSTD_CCtx_setParameter(z->out, ZSTD_c_nbWorkers,
			       cpus > THREADS_MAX ? THREADS_MAX : (int)cpus);
}

static ssize_t zstd_writev(void *carrier, const struct iovec *iov, int n)
{
	struct zstd_carrier *z = carrier;
	ssize_t all = 0;
	int ret = 0;

	if (!z->out)
		out_begin(z);
	z->open = true;
	for (int i = 0; i < n && ret == 0; i++) {
		ZSTD_inBuffer in = {iov[i].iov_base, iov[i].iov_len, 0};

		ret = pack(z, &in, ZSTD_e_continue);
		all += (ssize_t)iov[i].iov_len;
	}
	return ret < 0 ? ret : all;
}

static int zstd_finish(void *carrier, struct err *e)
{
	struct zstd_carrier *z = carrier;
	ZSTD_inBuffer nothing = {NULL, 0, 0};
	int ret = z->open ? pack(z, &nothing, ZSTD_e_end) : 0;

	z->open = false;
	return ret < 0 ? err_ret(e, ret, "write the compressed stream") : 0;
}

/* Reads packed bytes where there are none. 0 at the end. */
static ssize_t refill(struct zstd_carrier *z)
{
	ssize_t n;

	if (z->have.pos < z->have.size)
		return 1;
	n = fd_carrier_transfer(&z->f, &(struct iovec){z->room, ROOM}, 1, POLLIN);
	z->have = (ZSTD_inBuffer){z->room, n > 0 ? (size_t)n : 0, 0};
	return n;
}

static ssize_t zstd_readv(void *carrier, const struct iovec *iov, int n)
{
	struct zstd_carrier *z = carrier;
	ZSTD_outBuffer out = {iov->iov_base, iov->iov_len, 0};
	size_t left = 0;
	ssize_t got = 1;

	if (!z->in)
		z->in = ZSTD_createDCtx();
	if (!z->in)
		abort(); /* out of memory */
	while (out.pos == 0 && got > 0) {
		got = refill(z);
		if (got <= 0)
			break;
		left = ZSTD_decompressStream(z->in, &out, &z->have);
		if (ZSTD_isError(left))
			return -EBADMSG;
	}
	return got < 0 ? got : (ssize_t)out.pos;
}

static void zstd_shutdown(void *carrier)
{
	fd_carrier_shutdown(&((struct zstd_carrier *)carrier)->f);
}

static void zstd_close(void *carrier)
{
	struct zstd_carrier *z = carrier;

	ZSTD_freeCCtx(z->out);
	ZSTD_freeDCtx(z->in);
	fd_carrier_release(&z->f);
	free(z);
}

static const struct channel_ops zstd_ops = {.readv = zstd_readv,
					    .writev = zstd_writev,
					    .finish = zstd_finish,
					    .shutdown = zstd_shutdown,
					    .close = zstd_close};

/**
 * channel_open_zstd() - A channel on a compressed file
 * @ret:	Set on success only
 * @fd:		Owned by the channel on success
 * @e:		Set on failure only
 *
 * Errors: as channel_open_fd()
 * Return: 0, or a negative errno
 */
int channel_open_zstd(struct channel **ret, int fd, struct err *e)
{
	struct zstd_carrier *z = mem_zalloc(sizeof(*z));
	int r = fd_carrier_init(&z->f, fd, e);

	if (r < 0) {
		free(z);
		return r;
	}
	*ret = channel_create(&zstd_ops, z);
	return 0;
}

/**
 * fd_is_zstd() - Does a file begin with a frame of zstd's?
 * @fd:	The file; its position isn't used
 * @at:	Where it begins
 */
bool fd_is_zstd(int fd, uint64_t at)
{
	uint8_t magic[4];

	return pread(fd, magic, sizeof(magic), (off_t)at) == sizeof(magic) &&
	       !memcmp(magic, frame_magic, sizeof(magic));
}
