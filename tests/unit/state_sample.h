/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_STATE_SAMPLE_H
#define TESTS_UNIT_STATE_SAMPLE_H

/* A table with every kind of row, and its bytes written by hand. */

#include "state/state.h"

#include <errno.h>
#include <string.h>

/**
 * struct sample_part - Nested
 * @low, @high:	Numbers
 */
struct sample_part {
	uint16_t low;
	uint16_t high;
};

/**
 * struct sample - A member for every kind of row; the table below says which
 */
struct sample {
	uint64_t u64;
	int64_t i64;
	uint32_t u32;
	int32_t i32;
	uint32_t grid[2][2];
	uint16_t u16s[3];
	uint16_t queue_len;
	uint32_t queue[4];
	struct sample_part parts[2];
	uint32_t newer;
	uint32_t extra;
	uint32_t text_len;
	uint8_t raw[3];
	uint8_t on;
	bool flags[2];
	uint8_t coded[2];
	char text[8];
	uint8_t cached[4];
	bool yes;
	uint8_t reserved[7];
};

static inline bool sample_newer_present(const void *state, unsigned int version)
{
	return ((const struct sample *)state)->on && version >= 2;
}

static inline bool sample_extra_needed(const void *state)
{
	return ((const struct sample *)state)->extra != 0;
}

/* A form of its own: the two bytes in reverse order, the second one inverted. */
static inline void sample_coded_save(const void *member, struct state_writer *w)
{
	const uint8_t *b = member;

	state_put_u8(w, b[1]);
	state_put_u8(w, (uint8_t)~b[0]);
}

static inline int sample_coded_load(void *member, struct state_reader *r, unsigned int version,
				    struct err *e)
{
	uint8_t *b = member;

	b[1] = state_get_u8(r);
	b[0] = (uint8_t)~state_get_u8(r);
	return b[1] == 0xee ? err_set(e, EINVAL, "0xee is not a code") : 0;
}

static inline int sample_check(const void *state, unsigned int version, struct err *e)
{
	const struct sample *s = state;

	return s->u32 == 0xbad ? err_set(e, EINVAL, "u32: %u offered, less needed", s->u32) : 0;
}

static const struct state_codec sample_codec = {
	.name = "coded", .save = sample_coded_save, .load = sample_coded_load};

static const struct state_field sample_part_fields[] = {
	FIELD("low", struct sample_part, low), FIELD("high", struct sample_part, high), FIELDS_END};
static const struct state_table sample_part_table = {.name = "part",
						     .version = 1,
						     .size = sizeof(struct sample_part),
						     .fields = sample_part_fields};

static const struct state_field sample_deep_fields[] = {
	FIELD("text_len", struct sample, text_len), FIELD_N("text", struct sample, text, text_len),
	FIELDS_END};
static const struct state_table sample_deep = {.name = "sample/extra/deep",
					       .version = 7,
					       .min_version = 7,
					       .size = sizeof(struct sample),
					       .fields = sample_deep_fields};
static const struct state_table *const sample_extra_subsections[] = {&sample_deep, NULL};

static const struct state_field sample_extra_fields[] = {FIELD("extra", struct sample, extra),
							 FIELDS_END};
static const struct state_table sample_extra = {.name = "sample/extra",
						.version = 1,
						.min_version = 1,
						.size = sizeof(struct sample),
						.fields = sample_extra_fields,
						.subsections = sample_extra_subsections,
						.needed = sample_extra_needed};
static const struct state_table *const sample_subsections[] = {&sample_extra, NULL};

static const struct state_field sample_fields[] = {
	FIELD("u64", struct sample, u64),
	FIELD("i64", struct sample, i64),
	FIELD("u32", struct sample, u32),
	FIELD("i32", struct sample, i32),
	FIELD("grid", struct sample, grid),
	FIELD("u16s", struct sample, u16s),
	PAD(2),
	FIELD("queue_len", struct sample, queue_len),
	FIELD_N("queue", struct sample, queue, queue_len),
	FIELD_STRUCTS("parts", struct sample, parts, &sample_part_table),
	FIELD("raw", struct sample, raw),
	FIELD("on", struct sample, on),
	FIELD_IF("newer", struct sample, newer, sample_newer_present),
	FIELD_U8S("flag", struct sample, flags),
	FIELD_CODEC("coded", struct sample, coded, &sample_codec),
	FIELD_V("yes", struct sample, yes, 3),
	NOT_SENT(struct sample, cached, "computed from raw"),
	NOT_SENT(struct sample, reserved, "padding"),
	FIELDS_END};

static const struct state_table sample_table = {.name = "sample",
						.version = 3,
						.min_version = 2,
						.size = sizeof(struct sample),
						.fields = sample_fields,
						.subsections = sample_subsections,
						.check = sample_check};

static const struct sample sample_state = {
	.u64 = 0x0102030405060708,
	.i64 = -2,
	.u32 = 0x11223344,
	.i32 = -1,
	.grid = {{1, 2}, {3, 4}},
	.u16s = {0xa1a2, 0xb1b2, 0xc1c2},
	.queue_len = 2,
	.queue = {7, 8},
	.parts = {{0x1011, 0x1213}, {0x2021, 0x2223}},
	.newer = 0x99,
	.extra = 0x55,
	.text_len = 2,
	.raw = {0xde, 0xad, 0x05},
	.on = 1,
	.flags = {true, false},
	.coded = {0x0f, 0x01},
	.text = "ok",
	.yes = true,
};

/* clang-format off */
static const uint8_t sample_wire[] = {
	0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, /*   0 u64 */
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, /*   8 i64 */
	0x11, 0x22, 0x33, 0x44,                         /*  16 u32 */
	0xff, 0xff, 0xff, 0xff,                         /*  20 i32 */
	0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, /*  24 grid */
	0xa1, 0xa2, 0xb1, 0xb2, 0xc1, 0xc2,             /*  40 u16s */
	0x00, 0x00,                                     /*  46 unused */
	0x00, 0x02,                                     /*  48 queue_len */
	0, 0, 0, 7, 0, 0, 0, 8,                         /*  50 queue */
	0x10, 0x11, 0x12, 0x13, 0x20, 0x21, 0x22, 0x23, /*  58 parts */
	0xde, 0xad, 0x05,                               /*  66 raw */
	0x01,                                           /*  69 on */
	0x00, 0x00, 0x00, 0x99,                         /*  70 newer, since on */
	0x01, 0x00,                                     /*  74 flag */
	0x01, 0xf0,                                     /*  76 coded */
	0x01,                                           /*  78 yes, since version 3 */
	/*  79 subsection */
	0x05, 12, 's', 'a', 'm', 'p', 'l', 'e', '/', 'e', 'x', 't', 'r', 'a',
	0x00, 0x00, 0x00, 0x01,                         /*  93 its version */
	0x00, 0x00, 0x00, 0x55,                         /*  97 extra */
	/* 101 */
	0x05, 17, 's', 'a', 'm', 'p', 'l', 'e', '/', 'e', 'x', 't', 'r', 'a',
	'/', 'd', 'e', 'e', 'p',
	0x00, 0x00, 0x00, 0x07,                         /* 120 its version */
	0x00, 0x00, 0x00, 0x02,                         /* 124 text_len */
	'o', 'k',                                       /* 128 text */
};
/* clang-format on */

#endif
