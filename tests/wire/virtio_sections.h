/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_WIRE_VIRTIO_SECTIONS_H
#define TESTS_WIRE_VIRTIO_SECTIONS_H

#include "unit/virtio_machine.h"

/* Test data by file name; the caller frees. */
uint8_t *section_read(const char *name, size_t *len);
/* A device as it was made writes these bytes. */
void assert_writes(struct device *dev, const char *file);
/* It takes the state over, and what it then captures is the same bytes again. */
void assert_carries(struct device *dev, const char *file);

#endif
