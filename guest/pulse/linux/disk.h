/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PULSE_LINUX_DISK_H
#define PULSE_LINUX_DISK_H

#include "../core/witness.h"

/**
 * disk_start() - Keep a file or disk busy with blocks that name themselves
 * @w:		Witness: figures, life, @args.blk threads, @args.blk_bytes bytes
 * @out:	Device of the report
 * @path:	File (made when missing) or block device; its content is overwritten
 * Return: 0, or a negative errno
 */
int disk_start(struct witness *w, struct pulse_device *out, const char *path);

#endif
