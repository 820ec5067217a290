/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_CLONE_H
#define CLI_CLONE_H

#include "cli/snapshot/snapshot.h"

/**
 * struct clone - A guest that is being made from another one's snapshot
 * @args:	NAME SNAPSHOT NEW and options
 * @from:	The guest whose snapshot it is
 * @to:		The new one; its folder is there
 * @dir:	Folder of the snapshot; owned
 * @folder:	Of the clone's disks; owned; NULL: each is beside the image
 * @description: Of the snapshot
 * @disks:	Array of {"image", "copy", "from", "shared"}: an image, the clone's file for it,
 *		what that is copied from, and whether they share blocks
 * @undo:	What makes the copies what the images were, for outlive-rollback; empty: nothing
 * @made:	How many of @disks are there
 * @uuid:	Of the new guest; owned
 * @macs:	Its interfaces' addresses, array of strings
 * @argv:	Its command line
 */
struct clone {
	const struct cli_args *args;
	const struct guest *from;
	struct guest to;
	char *dir, *folder;
	json_t *description, *disks, *undo, *macs, *argv;
	size_t made;
	char *uuid;
};

/* clone_disk.c: what is copied where, before anything is; the copies; taken away again. */
MUST_CHECK int clone_disks_plan(struct clone *c, struct err *e);
MUST_CHECK int clone_disks_make(struct clone *c, struct err *e);
void clone_disks_remove(struct clone *c);

/* clone_words.c: the command line with the new identity. */
MUST_CHECK int clone_words(struct clone *c, struct err *e);

#endif
