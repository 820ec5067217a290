/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/zero.h"

#include "migrate/wire.h"

#include <stddef.h>
#include <stdint.h>

/* The compiler makes vector code of the inner loop, once per instruction set, and the loader picks.
 */
#if defined(__x86_64__)
#define EACH_VECTOR_SIZE __attribute__((target_clones("avx2", "default")))
#else
#define EACH_VECTOR_SIZE
#endif

/**
 * page_is_zero() - Is a page all zeros?
 * @page:	WIRE_PAGE bytes, aligned to 64. May be written meanwhile; then the answer is of some
 * moment
 *
 * Most pages that aren't zero show it in the first few bytes, so these are looked at first.
 */
EACH_VECTOR_SIZE bool page_is_zero(const void *page)
{
	const uint64_t *words = __builtin_assume_aligned(page, 64);
	size_t i, j;

	if (words[0] | words[1] | words[63] | words[511])
		return false;
	for (i = 0; i < WIRE_PAGE / 8; i += 64) {
		uint64_t any = 0;

		for (j = 0; j < 64; j++)
			any |= words[i + j];
		if (any)
			return false;
	}
	return true;
}
