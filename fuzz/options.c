/* SPDX-License-Identifier: Apache-2.0 */
/* Any lines as a command line: it is taken or refused with words, and nothing is left behind. */
#include "vmm/options.h"
#include "base/owned.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WORDS_MAX 64

/**
 * LLVMFuzzerTestOneInput() - One try of the fuzzer
 * @data:	Arguments, one a line
 * @size:	Bytes
 *
 * Return: 0
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	OWNED(char *) text = mem_zalloc(size + 1);
	const char *argv[WORDS_MAX + 1] = {"outlive-vmm"};
	struct vmm_options o;
	struct err e = {0};
	char *save = NULL;
	int argc = 1;
	int r;

	memcpy(text, data, size);
	for (char *w = strtok_r(text, "\n", &save); w && argc < WORDS_MAX;
	     w = strtok_r(NULL, "\n", &save))
		argv[argc++] = w;
	r = vmm_options_parse(&o, argc, argv, &e);
	if (r == 0) {
		r = vmm_options_finish(&o, &e);
		vmm_options_release(&o);
	}
	if (r < 0 && !e.msg[0])
		abort();
	return 0;
}
