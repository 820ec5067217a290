/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: whole words wherever possible; a range is cut into a head, whole words and a
 * tail by one helper, ranges(), that gives each touched word and the mask of its bits.
 */
#include "base/bitmap.h"

#include <errno.h>
#include <stdlib.h>

/**
 * bitmap_create() - Allocate a bitmap of zeros
 * @b:		Filled in on success; release with bitmap_destroy()
 * @bits:	1 or more
 *
 * Errors: ENOMEM
 * Return: 0, or a negative errno
 */
int bitmap_create(struct bitmap *b, uint64_t bits)
{
	uint64_t *words = calloc(DIV_ROUND_UP(bits, 64) ? DIV_ROUND_UP(bits, 64) : 1,
				 sizeof(*words));

	if (!words)
		return -ENOMEM;
	b->words = words;
	b->bits = bits;
	return 0;
}

/**
 * bitmap_destroy() - Release a bitmap
 * @b:		Created before, or all zero
 */
void bitmap_destroy(struct bitmap *b)
{
	free(b->words);
	*b = (struct bitmap){0};
}

/* The bits of word @w that lie in [@first, @end). */
static uint64_t word_mask(uint64_t w, uint64_t first, uint64_t end)
{
	uint64_t mask = ~0ULL;

	if (w == first / 64)
		mask &= ~0ULL << (first % 64);
	if (end < (w + 1) * 64)
		mask &= ~0ULL >> ((w + 1) * 64 - end);
	return mask;
}

/**
 * bitmap_set_range() - Set bits, atomically word by word
 * @b:		The bitmap
 * @first:	First bit
 * @count:	How many; the range lies within the bitmap
 */
void bitmap_set_range(struct bitmap *b, uint64_t first, uint64_t count)
{
	uint64_t end = first + count;

	for (uint64_t w = first / 64; w * 64 < end; w++)
		__atomic_fetch_or(&b->words[w], word_mask(w, first, end), __ATOMIC_RELAXED);
}

/**
 * bitmap_clear_range() - Clear bits, atomically word by word
 * @b:		The bitmap
 * @first:	First bit
 * @count:	How many; the range lies within the bitmap
 */
void bitmap_clear_range(struct bitmap *b, uint64_t first, uint64_t count)
{
	uint64_t end = first + count;

	for (uint64_t w = first / 64; w * 64 < end; w++)
		__atomic_fetch_and(&b->words[w], ~word_mask(w, first, end), __ATOMIC_RELAXED);
}

/**
 * bitmap_or() - Merge words of another bitmap, as KVM_GET_DIRTY_LOG gives them
 * @to:		Receives them
 * @first:	First bit in @to, a multiple of 64
 * @words:	Bit 0 of the first word goes to @first
 * @count:	Bits; those behind them in the last word are ignored
 *
 * Return: how many bits became set that weren't before
 */
uint64_t bitmap_or(struct bitmap *to, uint64_t first, const uint64_t *words, uint64_t count)
{
	uint64_t fresh = 0;

	for (uint64_t done = 0; done < count; done += 64) {
		uint64_t w = (first + done) / 64;
		uint64_t add = words[done / 64] & word_mask(w, first, first + count);
		uint64_t old;

		if (!add)
			continue;
		old = __atomic_fetch_or(&to->words[w], add, __ATOMIC_RELAXED);
		fresh += (uint64_t)__builtin_popcountll(add & ~old);
	}
	return fresh;
}

/**
 * bitmap_count() - Count the set bits
 * @b:		The bitmap
 *
 * Return: how many
 */
uint64_t bitmap_count(const struct bitmap *b)
{
	uint64_t n = 0;

	for (uint64_t w = 0; w * 64 < b->bits; w++)
		n += (uint64_t)__builtin_popcountll(b->words[w]);
	return n;
}

static uint64_t find(const struct bitmap *b, uint64_t from, uint64_t invert)
{
	uint64_t word, w = from / 64;

	if (from >= b->bits)
		return b->bits;
	word = (b->words[w] ^ invert) & ~0ULL << (from % 64);
	while (!word) {
		if (++w * 64 >= b->bits)
			return b->bits;
		word = b->words[w] ^ invert;
	}
	return MIN(w * 64 + (uint64_t)__builtin_ctzll(word), b->bits);
}

/**
 * bitmap_next() - Find the next set bit
 * @b:		The bitmap
 * @from:	First bit looked at
 *
 * Return: its number, or @b->bits if there is none
 */
uint64_t bitmap_next(const struct bitmap *b, uint64_t from)
{
	return find(b, from, 0);
}

/**
 * bitmap_next_zero() - Find the next clear bit
 * @b:		The bitmap
 * @from:	First bit looked at
 *
 * Return: its number, or @b->bits if there is none
 */
uint64_t bitmap_next_zero(const struct bitmap *b, uint64_t from)
{
	return find(b, from, ~0ULL);
}
