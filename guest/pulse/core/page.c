/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A page starts with four words: its number, its sequence (content kind in the top byte), the life
 * it was written in, a check word over these. Each word of the body depends on all of them and on
 * its place. The sequence last written is also kept in a table elsewhere (worker.c), so a page can
 * be whole and still be found too old.
 */
#include "page.h"

#define SEQ_MASK   0x00ffffffffffffffull
#define TORN_DEPTH 64 /* how many earlier sequences are tried to explain a wrong word */

static uint64_t head_check(const uint64_t *head)
{
	return mix64(mix64(head[0], head[1]), head[2]);
}

static uint64_t body_seed(const struct page_name *name)
{
	return mix64(mix64(name->page, name->seq), name->life);
}

static inline uint64_t body_word(uint64_t seed, enum page_content content, uint64_t i)
{
	if (content == PAGE_ZERO)
		return 0;
	if (content == PAGE_TEXT && i % 4)
		return (seed & 0x0f0f) * 0x0001000100010001ull + 0x6161616161616161ull;
	return mix64(seed + i, i * 0x9e3779b97f4a7c15ull);
}

static void fill_body(uint64_t *at, uint64_t seed, enum page_content content)
{
	for (uint64_t i = PAGE_HEAD_WORDS; i < PAGE_WORDS; i++)
		at[i] = body_word(seed, content, i);
}

void page_write(uint64_t *at, const struct page_name *name, enum page_content content)
{
	uint64_t seed = body_seed(name);

	at[0] = name->page;
	at[1] = name->seq | (uint64_t)content << 56;
	at[2] = name->life;
	at[3] = head_check(at);
	switch (content) { /* one loop each: the kind is not looked at per word */
	case PAGE_RANDOM: fill_body(at, seed, PAGE_RANDOM); break;
	case PAGE_TEXT: fill_body(at, seed, PAGE_TEXT); break;
	default: fill_body(at, seed, PAGE_ZERO);
	}
}

/* First word of the body that isn't what @name wants; PAGE_WORDS when all are. */
static uint64_t body_differs(const uint64_t *at, uint64_t seed, enum page_content content)
{
	uint64_t i = PAGE_HEAD_WORDS;

	if (content == PAGE_RANDOM) /* the common case, its own loop for speed */
		while (i < PAGE_WORDS && at[i] == body_word(seed, PAGE_RANDOM, i))
			i++;
	else
		while (i < PAGE_WORDS && at[i] == body_word(seed, content, i))
			i++;
	return i;
}

static bool all_zero(const uint64_t *at)
{
	uint64_t bits = 0;

	for (unsigned int i = 0; i < PAGE_WORDS; i++)
		bits |= at[i];
	return !bits;
}

/* Whether a wrong word is what another write of the same page had put there. */
static bool word_of_other_write(uint64_t word, const struct page_name *name,
				enum page_content content, uint64_t i)
{
	struct page_name other = *name;

	if (content == PAGE_ZERO)
		return false;
	for (uint64_t back = 1; back <= TORN_DEPTH && back < name->seq; back++) {
		other.seq = name->seq - back;
		if (word == body_word(body_seed(&other), content, i))
			return true;
	}
	for (uint64_t ahead = 1; ahead <= TORN_DEPTH; ahead++) {
		other.seq = name->seq + ahead;
		if (word == body_word(body_seed(&other), content, i))
			return true;
	}
	return false;
}

static bool blame(struct pulse_fault *f, enum pulse_fault_kind kind, uint64_t word, uint64_t want,
		  uint64_t found)
{
	f->kind = kind;
	f->offset = word * 8;
	f->want = want;
	f->found = found;
	return false;
}

/* The body of a page whose head is whole: it must belong to the head. */
static bool body_whole(const uint64_t *at, struct pulse_fault *f)
{
	struct page_name name = {.page = at[0], .seq = at[1] & SEQ_MASK, .life = at[2]};
	enum page_content content = (enum page_content)(at[1] >> 56);
	uint64_t seed = body_seed(&name), i = body_differs(at, seed, content);

	if (i == PAGE_WORDS)
		return true;
	return blame(f, word_of_other_write(at[i], &name, content, i) ? PULSE_TORN : PULSE_CORRUPT,
		     i, body_word(seed, content, i), at[i]);
}

/* The head is not whole: name the first word of it that is wrong. */
static bool blame_head(const uint64_t *at, const struct page_name *name, struct pulse_fault *f)
{
	uint64_t want[PAGE_HEAD_WORDS] = {name->page, name->seq | (at[1] & ~SEQ_MASK), name->life};
	unsigned int i = 0;

	want[3] = head_check(want);
	if (all_zero(at))
		return blame(f, PULSE_LOST, 0, want[0], 0);
	while (i < PAGE_HEAD_WORDS - 1 && at[i] == want[i])
		i++;
	return blame(f, PULSE_CORRUPT, i, want[i], at[i]);
}

bool page_verify(const uint64_t *at, const struct page_name *name, struct pulse_fault *fault)
{
	uint64_t seq = at[1] & SEQ_MASK;

	fault->want_page = name->page;
	fault->want_seq = name->seq;
	fault->found_page = at[0];
	fault->found_seq = seq;
	if (at[3] != head_check(at))
		return blame_head(at, name, fault);
	if (!body_whole(at, fault))
		return false;
	if (at[2] != name->life)
		return blame(fault, PULSE_LOST, 2, name->life, at[2]);
	if (at[0] != name->page)
		return blame(fault, PULSE_MISPLACED, 0, name->page, at[0]);
	if (seq != name->seq)
		return blame(fault, seq < name->seq ? PULSE_STALE : PULSE_AHEAD, 1, name->seq, seq);
	return true;
}

bool page_verify_zero(const uint64_t *at, const struct page_name *name, struct pulse_fault *fault)
{
	unsigned int i = 0;

	while (i < PAGE_WORDS && !at[i])
		i++;
	if (i == PAGE_WORDS)
		return true;
	fault->want_page = name->page;
	fault->want_seq = 0;
	fault->found_page = at[0];
	fault->found_seq = at[1] & SEQ_MASK;
	if (at[3] == head_check(at) && at[0] != name->page)
		return blame(fault, PULSE_MISPLACED, 0, 0, at[0]);
	return blame(fault, PULSE_CORRUPT, i, 0, at[i]);
}
