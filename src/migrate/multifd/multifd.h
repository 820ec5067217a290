/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_MULTIFD_H
#define MIGRATE_MULTIFD_H

#include "migrate/migrate.h"
#include "migrate/ram/ram.h"

#include <sys/uio.h>

/*
 * Pages over several channels beside the stream, as QEMU's capability multifd. Inside this room
 * only; docs/wire.md has the octets.
 *
 * Theory of operation: the source's thread finds pages and gathers them in batches of one block;
 * each channel has a thread that sends one batch as one packet. The target has a thread per channel
 * that puts pages in their place. The order of packets of different channels isn't known, so at
 * sync points of the stream (each end of a RAM section) everybody waits for everybody: a page that
 * is sent again can't be overtaken by its older self.
 */

enum {
	MULTIFD_PAGES = 128, /* in a packet */
	MULTIFD_HELLO_BYTES = 64,
	MULTIFD_PACKET_BYTES = 320 + 8 * MULTIFD_PAGES,
};

enum multifd_flag {
	MULTIFD_SYNC = 0x01,
	MULTIFD_FLAG_ZLIB = 0x02,
	MULTIFD_FLAG_ZSTD = 0x04,
	MULTIFD_METHOD = 0x3e, /* bits of the compression */
};

/**
 * struct multifd_hello - First packet of a channel
 * @uuid:	Of the guest
 * @id:		Number of the channel
 * @channels:	How many there are; 0: QEMU, which doesn't say
 */
struct multifd_hello {
	uint8_t uuid[16], id, channels;
};

/**
 * struct multifd_packet - Any other packet
 * @flags:	Bits of enum multifd_flag
 * @normal:	Pages whose content follows
 * @zero:	Pages of zeros, behind the normal ones in @offset
 * @payload:	Bytes that follow
 * @number:	Counts the packets of all channels
 * @block:	Name of the block
 * @offset:	Of the pages in the block
 */
struct multifd_packet {
	uint32_t flags, normal, zero, payload;
	uint64_t number;
	char block[256];
	uint64_t offset[MULTIFD_PAGES];
};

/* multifd/wire.c */
void multifd_hello_put(const struct multifd_hello *h, uint8_t to[MULTIFD_HELLO_BYTES]);
MUST_CHECK int multifd_hello_get(struct multifd_hello *h, const uint8_t from[MULTIFD_HELLO_BYTES],
				 struct err *e);
void multifd_packet_put(const struct multifd_packet *p, uint8_t to[MULTIFD_PACKET_BYTES]);
MUST_CHECK int multifd_packet_get(struct multifd_packet *p,
				  const uint8_t from[MULTIFD_PACKET_BYTES], struct err *e);

/**
 * struct multifd_codec_ops - A compression; the state of each channel goes on from packet to packet
 * @flag:	In a packet's flags
 * @begin:	A state to pack (@packing) or to unpack; NULL: out of memory
 * @pack:	Pages into one piece, which stays until the next call
 * @unpack:	A piece into as many pages as were packed
 * @end:	Frees the state; may be NULL
 */
struct multifd_codec_ops {
	uint32_t flag;
	void *(*begin)(bool packing, int level);
	int (*pack)(void *codec, const struct iovec *pages, uint32_t n, struct iovec *ret,
		    struct err *e);
	int (*unpack)(void *codec, const struct iovec *piece, const struct iovec *pages, uint32_t n,
		      struct err *e);
	void (*end)(void *codec);
};

extern const struct multifd_codec_ops multifd_zlib, multifd_zstd;
/* NULL: pages go as they are. */
const struct multifd_codec_ops *multifd_codec(enum multifd_compression c);

/* multifd/source.c: all but _end() from the job's thread. */
struct multifd_source;
MUST_CHECK int multifd_source_begin(struct multifd_source **ret, struct migrate_job *job,
				    struct err *e);
void multifd_source_put(struct multifd_source *m, const struct ram_block *b, uint64_t offset);
/* Everything put so far is in the channels, and a sync mark behind it. */
void multifd_source_sync(struct multifd_source *m);
MUST_CHECK int multifd_source_check(struct multifd_source *m, struct err *e);
uint64_t multifd_source_written(struct multifd_source *m); /* bytes so far */
void multifd_source_end(struct multifd_source *m);

/* multifd/sink.c: @ram stays until the end. */
struct multifd_sink;
MUST_CHECK int multifd_sink_begin(struct multifd_sink **ret, struct ram_sink *ram, struct err *e);
/* A sync point: waits until every channel has got there. */
MUST_CHECK int multifd_sink_sync(struct multifd_sink *m, struct err *e);
/* Ends the threads. What went wrong first replaces the story of a stream that was cut for it. */
MUST_CHECK int multifd_sink_end(struct multifd_sink *m, int ret, struct err *e);

#endif
