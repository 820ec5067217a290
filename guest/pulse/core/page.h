/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PULSE_CORE_PAGE_H
#define PULSE_CORE_PAGE_H

#include <stdbool.h>

#include "../report.h"

#define PAGE_BYTES      4096u
#define PAGE_WORDS      (PAGE_BYTES / 8)
#define PAGE_HEAD_WORDS 4

/**
 * enum page_content - What a page's body looks like
 * @PAGE_RANDOM:	Can't be compressed
 * @PAGE_TEXT:		One word of four is random, the others repeat: about 4:1
 * @PAGE_ZERO:		Zero but for the head
 */
enum page_content { PAGE_RANDOM, PAGE_TEXT, PAGE_ZERO };

/**
 * struct page_name - What a page should hold
 * @page:	Its number (guest physical address >> 12)
 * @seq:	How often it was written, from 1
 * @life:	Random number of this start of the witness
 */
struct page_name {
	uint64_t page;
	uint64_t seq;
	uint64_t life;
};

/**
 * page_write() - Fill a page with head and body
 * @at:		The page
 * @name:	What it shall hold
 * @content:	Kind of body
 */
void page_write(uint64_t *at, const struct page_name *name, enum page_content content);

/**
 * page_verify() - Look whether a page holds what it should
 * @at:		The page
 * @name:	What it should hold
 * @fault:	Set but for @gpa, @cpu, @tsc when it doesn't
 * Return: true when it does
 */
bool page_verify(const uint64_t *at, const struct page_name *name, struct pulse_fault *fault);

/**
 * page_verify_zero() - Look whether a page is all zero
 * @at:		The page
 * @name:	Its number; @seq is not used
 * @fault:	As above
 * Return: true when it is
 */
bool page_verify_zero(const uint64_t *at, const struct page_name *name, struct pulse_fault *fault);

/**
 * mix64() - Spread the bits of two words over one
 * @a:	Any
 * @b:	Any
 * Return: a word that depends on each bit of both
 */
static inline uint64_t mix64(uint64_t a, uint64_t b)
{
	unsigned __int128 m = (unsigned __int128)(a ^ 0xa0761d6478bd642full) *
			      (b ^ 0xe7037ed1a0b428dbull);

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

#endif
