/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: sections that QEMU wrote against devices of ours, byte for byte; the first
 * difference is shown with its offset.
 */
#include "wire/virtio_sections.h"

#include "base/owned.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

uint8_t *section_read(const char *name, size_t *len)
{
	char path[512];
	struct stat st;
	uint8_t *buf;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", WIRE_DATA, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		fail_msg("%s", path);
	buf = mem_zalloc((size_t)st.st_size);
	assert_int_equal(read(fd, buf, (size_t)st.st_size), st.st_size);
	close(fd);
	*len = (size_t)st.st_size;
	return buf;
}

static void assert_saves(struct device *dev, const uint8_t *want, size_t len, const char *file)
{
	void *state = mem_zalloc(dev->class->state->size);
	struct state_writer w = {0};

	dev->class->capture(dev, state);
	state_save(dev->class->state, state, &w);
	for (size_t i = 0; i < len && i < w.len; i++)
		if (w.buf[i] != want[i])
			fail_msg("%s: byte %zu: %#x here, %#x in the file", file, i, w.buf[i],
				 want[i]);
	assert_int_equal(w.len, len);
	state_writer_destroy(&w);
	free(state);
}

void assert_writes(struct device *dev, const char *file)
{
	size_t len;
	uint8_t *want = section_read(file, &len);

	assert_saves(dev, want, len, file);
	free(want);
}

void assert_carries(struct device *dev, const char *file)
{
	void *state = mem_zalloc(dev->class->state->size);
	size_t len;
	uint8_t *want = section_read(file, &len);
	struct state_reader r = {.buf = want, .len = len};
	struct err e;

	dev->class->capture(dev, state);
	if (state_load(dev->class->state, state, dev->class->state->version, &r, &e) ||
	    (dev->class->validate && dev->class->validate(dev, state, &e)))
		fail_msg("%s: %s", file, e.msg);
	assert_int_equal(r.at, len);
	dev->class->apply(dev, state);
	assert_saves(dev, want, len, file);
	free(state);
	free(want);
}
