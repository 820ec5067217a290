/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_VIRTIO_IO_THREAD_H
#define DEVICE_VIRTIO_IO_THREAD_H

#include "base/loop.h"

#include <sys/types.h>

/*
 * Theory of operation: an I/O thread runs a loop on which devices watch their doorbells and back
 * ends. It exists as long as somebody holds a reference: "-object iothread" holds one for each it
 * names, devices hold one while realized. Devices that name none share one that is made for the
 * first of them. Main thread only.
 */

struct io_thread;

MUST_CHECK int io_thread_create(const char *id, struct io_thread **ret, struct err *e);
MUST_CHECK int io_thread_default(struct io_thread **ret, struct err *e);
struct io_thread *io_thread_find(const char *id);
struct io_thread *io_thread_ref(struct io_thread *t);
void io_thread_unref(struct io_thread *t);
struct loop *io_thread_loop(struct io_thread *t);
pid_t io_thread_tid(const struct io_thread *t);
void io_thread_for_each(void (*fn)(struct io_thread *t, void *opaque), void *opaque);

#endif
