/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a stream: at the loader of a small guest, which must refuse them without touching a
 * device or take them whole, and at inspect.
 */
#include "cli/inspect/inspect.h"
#include "migrate_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/**
 * LLVMFuzzerTestOneInput() - One try of the fuzzer
 * @data:	The try
 * @size:	Bytes
 *
 * Return: 0
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct guest *guest;
	struct channel *c = channel_open_memory(data, size);
	struct migrate_job job;
	struct err e = {0};
	unsigned int before;
	json_t *stream;
	int ret;

	if (!guest)
		guest = guest_create();
	before = guest->applied;
	job = guest_job(guest, c);
	ret = migrate_load(&job, &e);
	if (ret < 0 ? !e.msg[0] || guest->applied != before : guest->applied != before + 2)
		abort();
	channel_destroy(c);
	e.msg[0] = '\0';
	if (inspect_stream(data, size, size ? data[0] % 2 : 0, &stream, &e) < 0 && !e.msg[0])
		abort();
	json_decref(stream);
	return 0;
}
