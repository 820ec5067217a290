/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_SNAPSHOT_H
#define CLI_SNAPSHOT_H

#include "cli/cli.h"

/* What the commands about snapshots share: files, descriptions, loading. */

char *snapshot_folder(const struct cli_args *args, const struct guest *g);
MUST_CHECK int snapshot_folder_make(const struct cli_args *args, const struct guest *g, char **ret,
				    struct err *e);
char *snapshot_file(const char *dir, const char *name, const char *kind);
MUST_CHECK int snapshot_describe(const char *dir, const char *name, const struct guest *g,
				 const json_t *info, struct err *e);
MUST_CHECK int snapshot_enter(const json_t *description, struct err *e);
MUST_CHECK int snapshot_file_check(const char *dir, const char *name, const json_t *description,
				   struct err *e);
MUST_CHECK int snapshot_description(const char *dir, const char *name, json_t **ret, struct err *e);
/* verify.c: takes as long as reading it does; before a guest that runs is given up for it. */
MUST_CHECK int snapshot_verify(const struct cli_args *args, const json_t *description,
			       const char *path, struct err *e);
const json_t *snapshot_images(const json_t *description);
MUST_CHECK int snapshot_images_check(const json_t *description, struct err *e);
bool snapshot_is_point(const json_t *description);
MUST_CHECK int snapshot_forget(const char *dir, const char *name, const json_t *description,
			       struct err *e);
/* @prefix: of the files that keep what the disks are; NULL: the guest's disks aren't kept. */
MUST_CHECK int snapshot_write(const struct cli_args *args, struct qmp *q, const char *path,
			      const char *prefix, json_t **info, struct err *e);
MUST_CHECK int snapshot_end(const struct cli_args *args, struct qmp *q, bool known, struct err *e);
void snapshot_report(const struct cli_args *args, const char *path, const json_t *info);
MUST_CHECK int snapshot_wait_loaded(struct guest *g, struct err *e);
MUST_CHECK int snapshot_guest_end(struct guest *g, struct err *e);
/* Descriptions of the points in a folder, the newest first. New reference. */
json_t *snapshot_points(const char *dir);
int snapshot_with_guest(const struct cli_args *args,
			int (*fn)(const struct cli_args *args, struct guest *g, struct err *e),
			bool running);
/* remains.c: what a save that was cut off has left; described as a point newer than all others. */
MUST_CHECK int snapshot_remains(const char *dir, const char *name, struct guest *g, json_t **ret,
				struct err *e);
MUST_CHECK int snapshot_cut_off(const char *dir, const char *name, struct err *e);
/* point.c: what a point's disks are in, and what leads back to it. */
const json_t *point_disks(const json_t *description);
json_t *point_way_back(const json_t *points, const json_t *target);
/* point.c: keeps no more what disks were at a point that is being deleted. */
MUST_CHECK int point_drop(struct guest *g, const char *dir, const json_t *description,
			  struct err *e);

#endif
