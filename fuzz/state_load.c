/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes at the state loader: it may refuse them, but what it takes must survive being saved
 * and loaded again, byte for byte. The first byte chooses the version that is claimed.
 */
#include "state_sample.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int load(const uint8_t *bytes, size_t n, unsigned int version, struct sample *s)
{
	struct state_reader r = {.buf = bytes, .len = n};
	struct err e;

	memset(s, 0, sizeof(*s));
	return state_load(&sample_table, s, version, &r, &e);
}

static void must(bool holds)
{
	if (!holds)
		abort();
}

/**
 * LLVMFuzzerTestOneInput() - One try of the fuzzer
 * @data:	The try
 * @size:	Bytes
 *
 * Return: 0
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct state_writer first = {0}, second = {0};
	struct sample s;

	if (!size || load(data + 1, size - 1, data[0], &s) < 0)
		return 0;
	state_save(&sample_table, &s, &first);
	must(load(first.buf, first.len, sample_table.version, &s) == 0);
	state_save(&sample_table, &s, &second);
	must(first.len == second.len && !memcmp(first.buf, second.buf, first.len));
	state_writer_destroy(&first);
	state_writer_destroy(&second);
	return 0;
}
