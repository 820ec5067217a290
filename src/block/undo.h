/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BLOCK_UNDO_H
#define BLOCK_UNDO_H

#include "base/boot.h"
#include "base/err.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * What an image was at a moment: before a piece of it is written for the first time since then, its
 * old content is copied to an undo file. Inside this room only; docs/wire.md has the octets.
 *
 * Contract: the image itself is always what the guest wrote, at its own place: whatever happens to
 * the undo file, the guest loses nothing. Copying back what the undo file has gives the image of
 * that moment, as often as one likes. The bitmap and the header are shared memory on the file: a
 * VMM that is killed has lost nothing of them, and the next process of an upgrade goes on with
 * them. After a crash of the host they may have, so an undo file that wasn't closed in this boot of
 * the host isn't trusted; nor is one whose image somebody else has written since. That it is open
 * is on the disk before the image is written.
 *
 * A newer undo file takes the place of an older one only when somebody knows of it: until then both
 * get what is overwritten, so that whoever is killed in between leaves the older one whole.
 */

enum { UNDO_CLUSTER = 64 * 1024 };

enum undo_state { UNDO_OPEN = 1, UNDO_CLOSED, UNDO_BROKEN };

/**
 * struct undo_header - The first page of the file, little-endian
 * @magic:	"OUTLUND1"
 * @image_bytes: Size of the image at that moment
 * @cluster_bytes: UNDO_CLUSTER
 * @data_at:	Offset of the clusters' content; the bitmap is behind this page
 * @state:	enum undo_state
 * @written_ns:	When the image was last written by who keeps this file, wall clock
 * @closed_ns:	When it was closed: the time of change that the image had then
 * @boot_id:	Boot of the host in which it was open
 */
struct undo_header {
	char magic[8];
	uint64_t image_bytes, cluster_bytes, data_at, state, written_ns, closed_ns;
	char boot_id[BOOT_ID_BYTES];
};

/**
 * struct undo - An open undo file
 * @path:	Owned
 * @fd:		Owned
 * @h:		Mapped, with the bitmap behind it, @map_bytes in all
 * @bits:	A bit per cluster that was saved
 * @clusters:	How many
 * @older:	Is fed as well, since nobody knows of this one yet; owned; NULL: none
 * @opened:	The disk has it as open: after a crash of the host nobody takes it for whole; atomic
 * @lock:	One cluster is saved at a time
 */
struct undo {
	char *path;
	int fd;
	struct undo_header *h;
	uint64_t map_bytes, clusters;
	uint64_t *bits;
	struct undo *older;
	bool opened;
	pthread_mutex_t lock;
};

MUST_CHECK int undo_create(struct undo **ret, const char *path, uint64_t image_bytes,
			   struct err *e);
MUST_CHECK int undo_open(struct undo **ret, const char *path, struct err *e);
void undo_close(struct undo *u, int image_fd); /* and the older ones that are fed as well */
void undo_drop(struct undo *u);                /* as it is, after a look at it */
/* Before a part of the image is changed; any thread. What can't be saved breaks the undo file, not
 * the guest. */
void undo_save(struct undo *u, int image_fd, uint64_t offset, uint64_t bytes);
/* May its content be copied back to the image? */
MUST_CHECK int undo_check(const struct undo *u, int image_fd, struct err *e);
/* Only reads @u, which may be in another process' use; @image_fd: of a copy of its image. */
MUST_CHECK int undo_copy_back(const struct undo *u, int image_fd, struct err *e);
MUST_CHECK int undo_apply(struct undo *u, int image_fd, struct err *e);
/* @older gets what it hasn't got: it goes on where @u was. */
MUST_CHECK int undo_merge(struct undo *older, const struct undo *u, struct err *e);

#endif
