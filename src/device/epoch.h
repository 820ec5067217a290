/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_EPOCH_H
#define DEVICE_EPOCH_H

/* Readers that take no lock, and memory that is freed when none of them can see it any more. */

void epoch_enter(void); /* may nest */
void epoch_leave(void);
void epoch_free(void *unpublished); /* free() it when every reader of now has left; never waits */
void epoch_wait(void);              /* until every reader of now has left; not from a reader */
void epoch_collect(void);           /* frees what can be freed */

#endif
