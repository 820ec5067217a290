/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one portable loop, which the compiler makes vector code of; on x86 a second
 * time for AVX2, chosen by what the CPU has. (target_clones would say that in a word, but clang 14
 * doesn't link what it makes.)
 */
#include "migrate/ram/zero.h"

#include "migrate/wire.h"

#include <stddef.h>
#include <stdint.h>

static inline __attribute__((always_inline)) bool words_are_zero(const uint64_t *words)
{
	size_t i, j;

	for (i = 0; i < WIRE_PAGE / 8; i += 64) {
		uint64_t any = 0;

		for (j = 0; j < 64; j++)
			any |= words[i + j];
		if (any)
			return false;
	}
	return true;
}

#if defined(__x86_64__) && !defined(ZERO_WITHOUT_AVX2)
static __attribute__((target("avx2"))) bool words_are_zero_avx2(const uint64_t *words)
{
	return words_are_zero(words);
}
#endif

/**
 * page_is_zero() - Is a page all zeros?
 * @page:	WIRE_PAGE bytes, aligned to 64. May be written meanwhile; then the answer is of some
 *		moment
 *
 * Most pages that aren't zero show it in the first few bytes, so these are looked at first.
 */
bool page_is_zero(const void *page)
{
	const uint64_t *words = __builtin_assume_aligned(page, 64);

	if (words[0] | words[1] | words[63] | words[511])
		return false;
#if defined(__x86_64__) && !defined(ZERO_WITHOUT_AVX2)
	if (__builtin_cpu_supports("avx2"))
		return words_are_zero_avx2(words);
#endif
	return words_are_zero(words);
}
