/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STATE_STATE_H
#define STATE_STATE_H

#include "base/compiler.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Theory of operation: a device's guest-visible state is one C struct; a constant table says how
 * each member stands on the wire. Everything else is derived from the table: saving, loading (into
 * a scratch copy, never into a live device), the JSON description at the end of a stream, the
 * schema dump that the tree keeps golden copies of, the comparison of two schemas, and the proof
 * that no byte of the struct was forgotten.
 *
 * The wire format is that of QEMU's migration stream, version 3: big-endian numbers, no padding,
 * subsections behind the fields they belong to. Wire names are string literals and never follow a
 * C name.
 *
 * This room is pure: bytes in, bytes out; no I/O, no devices. What it allocates is the writer's
 * buffer and the JSON trees of descriptions and schemas (jansson).
 *
 * What a struct must be for that: flat (no pointers), and without padding that the compiler adds
 * unseen: order the members by size, and name what is left ("uint8_t reserved[3]", NOT_SENT).
 * state_cover_check() finds every byte that no row speaks of.
 *
 * What a loader must do: fill the scratch with the state of the fresh device (capture), then
 * state_load() over it, so that what the stream doesn't carry (an older version, a subsection that
 * wasn't needed) has its power-on value.
 */

struct state_table;
struct state_writer;
struct state_reader;

enum state_kind {
	STATE_END,      /* closes a list of fields */
	STATE_UINT,     /* unsigned number of 1, 2, 4 or 8 bytes */
	STATE_INT,      /* signed number of 1, 2, 4 or 8 bytes */
	STATE_BOOL,     /* bool, one byte, 0 or 1 */
	STATE_BYTES,    /* uint8_t array, as it is; wire type "buffer" */
	STATE_STRUCT,   /* nested struct with a table of its own */
	STATE_PAD,      /* bytes on the wire that mean nothing: written as 0, skipped when read */
	STATE_CODEC,    /* by functions, where the wire form is older than any table (virtio) */
	STATE_NOT_SENT, /* a member that is never on the wire, with the reason in its row */
};

/**
 * struct state_codec - A wire form that no table row can say
 * @name:	Wire type in the description
 * @save:	Writes the member; can't fail
 * @load:	Reads into the scratch member and checks what it can. Errors: EINVAL with
 *		section-relative text
 * @covers:	The bytes of the member that are on the wire, 0 for all of it
 */
struct state_codec {
	const char *name;
	void (*save)(const void *member, struct state_writer *w);
	int (*load)(void *member, struct state_reader *r, unsigned int version, struct err *e);
	size_t covers;
};

/**
 * struct state_field - One row: a member and how it is sent
 * @name:	Wire name
 * @kind:	Wire kind
 * @offset:	Of the member in the struct, bytes
 * @size:	Of one element, bytes
 * @count:	Elements (1 for a plain member); for a variable array its capacity
 * @stride:	Distance of two elements in memory, bytes
 * @count_offset: Of the member that counts a variable array, bytes; -1: the count is fixed
 * @count_size:	Its size, bytes
 * @since:	First table version that has it; 0: always
 * @until:	Last table version that has it; 0: always
 * @present:	Decides by the state itself whether it is sent; NULL: always
 * @table:	For STATE_STRUCT
 * @codec:	For STATE_CODEC
 * @reason:	For STATE_NOT_SENT: why not
 */
struct state_field {
	const char *name;
	enum state_kind kind;
	size_t offset, size, count, stride;
	ptrdiff_t count_offset;
	size_t count_size;
	uint16_t since, until;
	bool (*present)(const void *state, unsigned int version);
	const struct state_table *table;
	const struct state_codec *codec;
	const char *reason;
};

/**
 * struct state_table - A struct on the wire: a section, a subsection or a nested struct
 * @name:	Wire name ("mc146818rtc"); of a subsection the full one ("cpu/tsc_khz")
 * @version:	Version written
 * @min_version: Oldest version read
 * @size:	sizeof() the struct that the fields describe
 * @fields:	Rows in wire order, closed by FIELDS_END
 * @subsections: NULL-terminated list of tables over the *same* struct, or NULL
 * @needed:	For a subsection: is it written for this state? A NULL means always
 * @fresh:	The struct as in a fresh device, for whoever loads without one (tests, inspect);
 *		NULL: zeros
 * @check:	Judges a loaded scratch state as a whole before anything is applied; NULL: nothing
 *		to judge. The text names the field: "curr_queue_pairs: 4 offered, 1 configured
 *		here"
 */
struct state_table {
	const char *name;
	unsigned int version, min_version;
	size_t size;
	const struct state_field *fields;
	const struct state_table *const *subsections;
	bool (*needed)(const void *state);
	const void *fresh;
	int (*check)(const void *state, unsigned int version, struct err *e);
};

/*
 * Rows. FIELD takes the wire kind from the member's type. Numbers in arrays become arrays on the
 * wire.
 */

#define STATE_KIND_OF(x) \
	_Generic((x),                                                                              \
		bool: STATE_BOOL,                                                                  \
		uint8_t: STATE_UINT,                                                               \
		uint16_t: STATE_UINT,                                                              \
		uint32_t: STATE_UINT,                                                              \
		uint64_t: STATE_UINT,                                                              \
		int8_t: STATE_INT,                                                                 \
		int16_t: STATE_INT,                                                                \
		int32_t: STATE_INT,                                                                \
		int64_t: STATE_INT,                                                                \
		uint8_t *: STATE_BYTES,                                                            \
		char *: STATE_BYTES,                                                               \
		bool *: STATE_BOOL,                                                                \
		uint16_t *: STATE_UINT,                                                            \
		uint32_t *: STATE_UINT,                                                            \
		uint64_t *: STATE_UINT,                                                            \
		int8_t *: STATE_INT,                                                               \
		int16_t *: STATE_INT,                                                              \
		int32_t *: STATE_INT,                                                              \
		int64_t *: STATE_INT,                                                              \
		uint8_t(*)[]: STATE_BYTES,                                                         \
		bool(*)[]: STATE_BOOL,                                                             \
		uint16_t(*)[]: STATE_UINT,                                                         \
		uint32_t(*)[]: STATE_UINT,                                                         \
		uint64_t(*)[]: STATE_UINT,                                                         \
		int8_t(*)[]: STATE_INT,                                                            \
		int16_t(*)[]: STATE_INT,                                                           \
		int32_t(*)[]: STATE_INT,                                                           \
		int64_t(*)[]: STATE_INT)

#define STATE_MEMBER(type, m) (((type *)0)->m)

/*
 * Size of one element: of the number in an array of numbers (of one or two dimensions), of the
 * whole array for uint8_t[] and char[]. The controlling expression is never evaluated; an array in
 * it decays to a pointer.
 */
#define STATE_ELEMENT_SIZE(type, m)                                                             \
	_Generic(STATE_MEMBER(type, m), bool * : 1, uint16_t * : 2, uint32_t * : 4,             \
		 uint64_t * : 8, int8_t * : 1, int16_t * : 2, int32_t * : 4, int64_t * : 8,     \
		 bool(*)[] : 1, uint16_t(*)[] : 2, uint32_t(*)[] : 4, uint64_t(*)[] : 8,        \
		 int8_t(*)[] : 1, int16_t(*)[] : 2, int32_t(*)[] : 4, int64_t(*)[] : 8, default \
		 : SIZEOF_MEMBER(type, m))

#define STATE_ROW(wire, type, m, ...)                                                             \
	{                                                                                         \
		.name = (wire), .offset = offsetof(type, m), .size = STATE_ELEMENT_SIZE(type, m), \
		.count = SIZEOF_MEMBER(type, m) / STATE_ELEMENT_SIZE(type, m),                    \
		.stride = STATE_ELEMENT_SIZE(type, m), .count_offset = -1,                        \
		.kind = STATE_KIND_OF(STATE_MEMBER(type, m)), __VA_ARGS__                         \
	}

/* A plain member, an array of numbers, or a byte buffer. */
#define FIELD(wire, type, m)          STATE_ROW(wire, type, m, .since = 0)
/* The same, on the wire since version @v of the table. */
#define FIELD_V(wire, type, m, v)     STATE_ROW(wire, type, m, .since = (v))
/* The same, sent when @test says so. */
#define FIELD_IF(wire, type, m, test) STATE_ROW(wire, type, m, .present = (test))
/*
 * The first @n elements, @n being the member that counts them (any unsigned or int32_t), sent
 * before this row. Of a uint8_t[]: the first @n bytes.
 */
#define FIELD_N(wire, type, m, n)                                              \
	STATE_ROW(wire, type, m, .count_offset = (ptrdiff_t)offsetof(type, n), \
		  .count_size = SIZEOF_MEMBER(type, n))
/*
 * A uint8_t buffer sent as an array of 1-byte numbers (same bytes, another word in the
 * description).
 */
#define FIELD_U8S(wire, type, m)                                                            \
	{                                                                                   \
		.name = (wire), .kind = STATE_UINT, .offset = offsetof(type, m), .size = 1, \
		.count = SIZEOF_MEMBER(type, m), .stride = 1, .count_offset = -1            \
	}
/* A nested struct. */
#define FIELD_STRUCT(wire, type, m, tbl)                                                      \
	{                                                                                     \
		.name = (wire), .kind = STATE_STRUCT, .offset = offsetof(type, m),            \
		.size = SIZEOF_MEMBER(type, m), .count = 1, .stride = SIZEOF_MEMBER(type, m), \
		.count_offset = -1, .table = (tbl)                                            \
	}
/* An array of nested structs. */
#define FIELD_STRUCTS(wire, type, m, tbl)                                                      \
	{                                                                                      \
		.name = (wire), .kind = STATE_STRUCT, .offset = offsetof(type, m),             \
		.size = sizeof(STATE_MEMBER(type, m)[0]),                                      \
		.count = ARRAY_SIZE(STATE_MEMBER(type, m)),                                    \
		.stride = sizeof(STATE_MEMBER(type, m)[0]), .count_offset = -1, .table = (tbl) \
	}
/* The first @n of an array of nested structs. */
#define FIELD_STRUCTS_N(wire, type, m, n, tbl)                                     \
	{                                                                          \
		.name = (wire), .kind = STATE_STRUCT, .offset = offsetof(type, m), \
		.size = sizeof(STATE_MEMBER(type, m)[0]),                          \
		.count = ARRAY_SIZE(STATE_MEMBER(type, m)),                        \
		.stride = sizeof(STATE_MEMBER(type, m)[0]),                        \
		.count_offset = (ptrdiff_t)offsetof(type, n),                      \
		.count_size = SIZEOF_MEMBER(type, n), .table = (tbl)               \
	}
/* A member in a form of its own. */
#define FIELD_CODEC(wire, type, m, cdc)                                                       \
	{                                                                                     \
		.name = (wire), .kind = STATE_CODEC, .offset = offsetof(type, m),             \
		.size = SIZEOF_MEMBER(type, m), .count = 1, .stride = SIZEOF_MEMBER(type, m), \
		.count_offset = -1, .codec = (cdc)                                            \
	}
/* @n bytes on the wire that mean nothing. */
#define PAD(n)                                                                                   \
	{                                                                                        \
		.name = "unused", .kind = STATE_PAD, .size = (n), .count = 1, .count_offset = -1 \
	}
/* A member that stays here, and why. */
#define NOT_SENT(type, m, why)                                                                  \
	{                                                                                       \
		.name = #m, .kind = STATE_NOT_SENT, .offset = offsetof(type, m),                \
		.size = SIZEOF_MEMBER(type, m), .count = 1, .count_offset = -1, .reason = (why) \
	}
#define FIELDS_END                \
	{                         \
		.kind = STATE_END \
	}

/**
 * struct state_writer - A growing buffer of wire bytes
 * @buf:	The bytes; owned
 * @len:	How many
 * @room:	Allocated
 * @flush:	Told that what is written so far is final, for whoever reads along; may be NULL
 * @opaque:	For @flush
 */
struct state_writer {
	uint8_t *buf;
	size_t len, room;
	void (*flush)(struct state_writer *w);
	void *opaque;
};

void state_writer_destroy(struct state_writer *w);
void state_writer_clear(struct state_writer *w);                /* keeps the buffer */
void state_writer_reserve(struct state_writer *w, size_t room); /* allocated and touched */
void state_writer_grow(struct state_writer *w, size_t n);       /* room for @n more, not in use */
void state_put(struct state_writer *w, const void *bytes, size_t n);
void state_put_u8(struct state_writer *w, uint8_t v);
void state_put_be16(struct state_writer *w, uint16_t v);
void state_put_be32(struct state_writer *w, uint32_t v);
void state_put_be64(struct state_writer *w, uint64_t v);

/**
 * state_extend() - Count bytes as written that the caller fills in
 * @w:	Writer
 * @n:	How many
 *
 * Return: the first of them
 */
static inline uint8_t *state_extend(struct state_writer *w, size_t n)
{
	if (w->room - w->len < n)
		state_writer_grow(w, n);
	w->len += n;
	return w->buf + w->len - n;
}

/**
 * struct state_reader - Wire bytes being read
 * @buf:	Borrowed
 * @len:	How many are there
 * @at:		Read so far
 * @failed:	A read went beyond the end; everything read since is 0
 * @refill:	Makes @len at least @at + @need (and may move @buf); false when there is no more.
 *		NULL: @buf is all. A section has no length on the wire, so a stream is read as far
 *		as its tables ask
 * @opaque:	For @refill
 */
struct state_reader {
	const uint8_t *buf;
	size_t len, at;
	bool failed;
	bool (*refill)(struct state_reader *r, size_t need);
	void *opaque;
};

bool state_peek(struct state_reader *r, size_t n); /* are @n more bytes there? */
bool state_get(struct state_reader *r, void *bytes, size_t n);
bool state_skip(struct state_reader *r, size_t n);
uint8_t state_get_u8(struct state_reader *r);
uint16_t state_get_be16(struct state_reader *r);
uint32_t state_get_be32(struct state_reader *r);
uint64_t state_get_be64(struct state_reader *r);

/*
 * save.c: the bytes, and with @desc (a JSON object) the description that QEMU puts at the end of a
 * stream.
 */
void state_save(const struct state_table *t, const void *state, struct state_writer *w);
void state_save_described(const struct state_table *t, const void *state, struct state_writer *w,
			  json_t *desc);

/* load.c: the text of an error begins with "TABLE/FIELD: ". */
MUST_CHECK int state_load(const struct state_table *t, void *scratch, unsigned int version,
			  struct state_reader *r, struct err *e);
/*
 * The name of the subsection that begins where @r stands, for the message about one that nobody
 * knows.
 */
bool state_subsection_here(struct state_reader *r, char name[256]);

/*
 * cover.c: every byte of the struct is described or listed as not sent, and none twice. EINVAL
 * names the first offset.
 */
MUST_CHECK int state_cover_check(const struct state_table *t, struct err *e);

/* schema.c: the table as data, and whether what is written by one can be read by another. */
json_t *state_schema(const struct state_table *t); /* caller owns the reference */
typedef void state_sentence_fn(void *opaque, const char *sentence);
unsigned int state_schema_compare(const json_t *writer, const json_t *reader,
				  state_sentence_fn *say, void *opaque);

#endif
