/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_BITMAP_H
#define BASE_BITMAP_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>

/**
 * struct bitmap - A fixed number of bits
 * @words:	Little-endian order of bits, as KVM's dirty log has it; owned
 * @bits:	How many; the bits of the last word behind them are always 0
 *
 * Setting is atomic (vCPUs and I/O threads mark pages as they write); everything else is for the
 * one owner.
 */
struct bitmap {
	uint64_t *words;
	uint64_t bits;
};

MUST_CHECK int bitmap_create(struct bitmap *b, uint64_t bits);
void bitmap_destroy(struct bitmap *b);
void bitmap_set_range(struct bitmap *b, uint64_t first, uint64_t count);
void bitmap_clear_range(struct bitmap *b, uint64_t first, uint64_t count);
uint64_t bitmap_or(struct bitmap *to, uint64_t first, const uint64_t *words, uint64_t count);
uint64_t bitmap_count(const struct bitmap *b);
uint64_t bitmap_next(const struct bitmap *b, uint64_t from);
uint64_t bitmap_next_zero(const struct bitmap *b, uint64_t from);

static inline bool bitmap_test(const struct bitmap *b, uint64_t bit)
{
	return b->words[bit / 64] >> (bit % 64) & 1;
}

static inline void bitmap_set(struct bitmap *b, uint64_t bit)
{
	__atomic_fetch_or(&b->words[bit / 64], 1ULL << (bit % 64), __ATOMIC_RELAXED);
}

/* Clears the bit and returns what it was. */
static inline bool bitmap_take(struct bitmap *b, uint64_t bit)
{
	uint64_t mask = 1ULL << (bit % 64);

	return __atomic_fetch_and(&b->words[bit / 64], ~mask, __ATOMIC_RELAXED) & mask;
}

#define bitmap_for_each_set(bit, b) \
	for (bit = bitmap_next(b, 0); bit < (b)->bits; bit = bitmap_next(b, bit + 1))

#endif
