/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the frame of a stream is read as docs/wire.md says: header, configuration,
 * sections with marks and footers, RAM records, commands. The description is searched from the end
 * first, since device sections can't be read without it: where it is missing, reading ends at the
 * first of them. Every byte must belong to something: what is left over is an error, as is what is
 * described and not there.
 */
#include "base/bytes.h"
#include "cli/inspect/cursor.h"
#include "cli/inspect/inspect.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PAGE = 4096, TRAILER_BYTES = 24, MAPPED_TRAILER_BYTES = 32, KNOWN_BYTES = 1 + 8 + 32 };

/**
 * struct inspected - A stream being taken apart
 * @c:		Where we are
 * @out:	What goes to the user
 * @sections, @commands, @blocks: Lists in @out; borrowed
 * @description: JSON from the end; owned
 * @devices:	Its list; borrowed
 * @next_device: Which of them the next device section must be
 * @begin:	Offset of the stream
 * @description_at: Offset of its mark
 * @ram_number:	Section number of the RAM, -1 before its START
 * @block:	Name of the block of the last page record
 * @ignore_shared: Block records have an address
 * @mapped:	Pages have fixed places
 */
struct inspected {
	struct cursor c;
	json_t *out, *sections, *commands, *blocks;
	json_t *description;
	const json_t *devices;
	size_t next_device, begin, description_at;
	int64_t ram_number;
	char block[256];
	bool ignore_shared, mapped;
};

/* Where the stream ends, by the trailer behind it. */
static size_t stream_end(const uint8_t *bytes, size_t len, size_t begin)
{
	uint64_t bytes_long, room;

	if (len >= TRAILER_BYTES && !memcmp(bytes + len - TRAILER_BYTES, "OUTLIVE1", 8))
		return len - TRAILER_BYTES;
	if (len < MAPPED_TRAILER_BYTES ||
	    memcmp(bytes + len - MAPPED_TRAILER_BYTES, "OUTLIVE2", 8) != 0)
		return len;
	bytes_long = load_be64(bytes + len - MAPPED_TRAILER_BYTES + 8);
	room = len - MAPPED_TRAILER_BYTES - MIN(begin, len - MAPPED_TRAILER_BYTES);
	return begin + MIN(bytes_long, room);
}

/* Finds the mark whose length leads exactly to the end, with JSON behind it, if there is one. */
static void find_description(struct inspected *s)
{
	const uint8_t *bytes = s->c.data;
	size_t end = s->c.end, at;

	for (at = end < 5 ? 0 : end - 5; at > s->begin; at--) {
		if (bytes[at] != 0x06 || load_be32(bytes + at + 1) != end - at - 5)
			continue;
		s->description = json_loadb((const char *)bytes + at + 5, end - at - 5, 0, NULL);
		if (!s->description)
			continue;
		s->description_at = at;
		s->devices = json_object_get(s->description, "devices");
		return;
	}
}

static void read_capabilities(struct inspected *s, json_t *into)
{
	uint64_t n = cursor_number(&s->c, 4, "capabilities");
	char name[256];

	for (; n && !s->c.failed; n--) {
		json_t *cap = piece_new("", "capability", s->c.at);

		cursor_text(&s->c, name, "a capability");
		json_object_set_new(cap, "name", json_string(name));
		json_object_set_new(cap, "value", json_true());
		piece_end(cap, &s->c);
		json_array_append_new(into, cap);
		s->ignore_shared |= !strcmp(name, "x-ignore-shared");
		s->mapped |= !strcmp(name, "mapped-ram");
	}
}

static void read_configuration_subsection(struct inspected *s, json_t *into)
{
	json_t *sub = piece_subsection(&s->c, into);
	const char *name = json_string_value(json_object_get(sub, "name"));

	if (!strcmp(name, "configuration/capabilities"))
		read_capabilities(s, piece_inner(sub));
	else if (!strcmp(name, "configuration/uuid"))
		piece_read(&s->c, piece_inner(sub), "uuid", "buffer", 16);
	else if (!strcmp(name, "configuration/target-page-bits"))
		piece_read(&s->c, piece_inner(sub), "target_page_bits", "uint32", 0);
	else
		cursor_fail(&s->c, "unknown subsection %s", name);
	piece_end(sub, &s->c);
}

static void read_header(struct inspected *s)
{
	static const uint8_t zstd[4] = {0x28, 0xb5, 0x2f, 0xfd};
	const uint8_t *head = cursor_take(&s->c, 8, "the header");

	if (!head || !memcmp(head, "QEVM\0\0\0\3", 8))
		return;
	s->c.at = s->begin;
	cursor_fail(&s->c, "not a migration stream of version 3%s",
		    memcmp(head, zstd, sizeof(zstd)) ? ""
						     : " but something packed by zstd: unpack it "
						       "first, zstd -dc FILE | outlive inspect -");
}

static void read_configuration(struct inspected *s)
{
	const uint8_t *name;
	json_t *conf, *machine;
	size_t n;

	conf = piece_new("configuration", "section", s->c.at);
	json_object_set_new(s->out, "configuration", conf);
	if (!cursor_at(&s->c, 0x07))
		cursor_fail(&s->c, "no configuration section");
	cursor_take(&s->c, 1, "configuration");
	n = cursor_number(&s->c, 4, "the machine's name");
	machine = piece_new("machine", "text", s->c.at);
	json_array_append_new(piece_inner(conf), machine);
	name = cursor_take(&s->c, n, "the machine's name");
	if (name)
		json_object_set_new(machine, "value", json_stringn((const char *)name, n));
	piece_end(machine, &s->c);
	while (cursor_at(&s->c, 0x05))
		read_configuration_subsection(s, piece_inner(conf));
	piece_end(conf, &s->c);
}

static void count(json_t *pages, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(pages, key));

	json_object_set_new(pages, key, json_integer(n + 1));
}

static uint64_t bits_set(const uint8_t *bytes, size_t n)
{
	uint64_t bits = 0;

	for (size_t i = 0; bytes && i < n; i++)
		bits += (uint64_t)__builtin_popcount(bytes[i]);
	return bits;
}

/* Where a block's pages are, and which. Goes on behind them. */
static void read_mapped(struct inspected *s, json_t *block, uint64_t bytes, json_t *part)
{
	uint64_t version = cursor_number(&s->c, 4, "a mapped block");
	uint64_t page = cursor_number(&s->c, 8, "a mapped block's page size");
	uint64_t bitmap_at = cursor_number(&s->c, 8, "a bitmap's offset");
	uint64_t pages_at = cursor_number(&s->c, 8, "the pages' offset");
	size_t n = (bytes / PAGE + 63) / 64 * 8;
	const uint8_t *bitmap = NULL;

	if (s->c.failed)
		return;
	if ((version != 1 && version != 2) || page != PAGE)
		cursor_fail(&s->c, "a mapped block of version %" PRIu64, version);
	else if (bitmap_at != s->c.at || pages_at < bitmap_at + n || pages_at % PAGE ||
		 pages_at > s->c.end || s->c.end - pages_at < bytes)
		cursor_fail(&s->c, "pages at %" PRIu64 ", their bitmap at %" PRIu64, pages_at,
			    bitmap_at);
	else
		bitmap = cursor_take(&s->c, n, "a bitmap");
	json_object_set_new(block, "normal", piece_number(bits_set(bitmap, n)));
	if (bits_set(bitmap, n))
		json_object_set_new(part, s->block,
				    json_pack("{s:i, s:O, s:i}", "zero", 0, "normal",
					      json_object_get(block, "normal"), "xbzrle", 0));
	json_object_set_new(block, "packed", json_boolean(version == 2));
	json_object_set_new(block, "bitmap_at", piece_number(bitmap_at));
	json_object_set_new(block, "pages_at", piece_number(pages_at));
	if (!s->c.failed)
		s->c.at = pages_at + bytes;
}

static void read_blocks(struct inspected *s, uint64_t total, json_t *part)
{
	const char *name = s->block;
	uint64_t bytes;

	while (total && !s->c.failed) {
		cursor_text(&s->c, s->block, "a RAM block's name");
		bytes = cursor_number(&s->c, 8, "a RAM block's size");
		json_object_set_new(
			s->blocks, name,
			json_pack("{s:o, s:o, s:i, s:i, s:i}", "bytes", piece_number(bytes), "gpa",
				  s->ignore_shared
					  ? piece_number(cursor_number(&s->c, 8, "an address"))
					  : json_null(),
				  "zero", 0, "normal", 0, "xbzrle", 0));
		if (bytes > total || !bytes)
			cursor_fail(&s->c, "the RAM blocks don't add up to their sum");
		total -= bytes;
		if (s->mapped)
			read_mapped(s, json_object_get(s->blocks, name), bytes, part);
	}
}

/* Counts a page of the block in all, and in this part. */
static void count_page(struct inspected *s, json_t *part, const char *kind)
{
	json_t *mine = json_object_get(part, s->block);

	if (!mine) {
		mine = json_pack("{s:i, s:i, s:i}", "zero", 0, "normal", 0, "xbzrle", 0);
		json_object_set_new(part, s->block, mine);
	}
	count(mine, kind);
	count(json_object_get(s->blocks, s->block), kind);
}

static void read_page(struct inspected *s, uint64_t offset, uint64_t flags, json_t *part)
{
	const json_t *block;

	if (!(flags & 0x20))
		cursor_text(&s->c, s->block, "a page's block");
	block = json_object_get(s->blocks, s->block);
	if (!block || (json_int_t)offset >= json_integer_value(json_object_get(block, "bytes"))) {
		cursor_fail(&s->c, "a page at %#" PRIx64 " of %s, where there is none", offset,
			    s->block);
		return;
	}
	if (flags & 0x02) {
		if (cursor_number(&s->c, 1, "a zero page's fill"))
			cursor_fail(&s->c, "a page filled with something other than zero");
		count_page(s, part, "zero");
	} else if (flags & 0x40) {
		cursor_number(&s->c, 1, "an XBZRLE page's encoding");
		cursor_take(&s->c, cursor_number(&s->c, 2, "an XBZRLE page's length"),
			    "an XBZRLE page");
		count_page(s, part, "xbzrle");
	} else if (flags & 0x100) {
		cursor_take(&s->c, cursor_number(&s->c, 4, "a compressed page's length"),
			    "a compressed page");
		count_page(s, part, "compressed");
	} else if (flags & 0x800) {
		cursor_take(&s->c, KNOWN_BYTES, "a known page");
		count_page(s, part, "known");
	} else {
		cursor_take(&s->c, PAGE, "a page");
		count_page(s, part, "normal");
	}
}

static void read_ram_record(struct inspected *s, uint64_t offset, uint64_t flags, json_t *part)
{
	switch (flags & ~(uint64_t)0x20) {
	case 0x04: read_blocks(s, offset, part); break;
	case 0x02:
	case 0x08:
	case 0x40:
	case 0x100:
	case 0x800: read_page(s, offset, flags, part); break;
	case 0x200: break; /* the channels beside the stream */
	default: cursor_fail(&s->c, "a RAM record with flags %#" PRIx64, flags);
	}
}

/* One part of the RAM section, up to its end mark. */
static void read_ram(struct inspected *s, json_t *section)
{
	json_t *part = json_object();
	uint64_t word;

	json_object_set_new(section, "value", part);
	do {
		word = cursor_number(&s->c, 8, "a RAM record");
		if (s->c.failed || word % PAGE == 0x10)
			return;
		read_ram_record(s, word - word % PAGE, word % PAGE, part);
	} while (!s->c.failed);
}

static void read_device(struct inspected *s, json_t *section)
{
	const json_t *d = json_array_get(s->devices, s->next_device++);
	const char *name = json_string_value(json_object_get(section, "name"));

	if (!s->description) {
		cursor_fail(&s->c,
			    "%s can't be read without the description at the stream's end, which "
			    "is missing: the stream is cut short, or QEMU was told "
			    "suppress-vmdesc=on",
			    name);
		return;
	}
	if (!d || !json_equal(json_object_get(d, "name"), json_object_get(section, "name")) ||
	    !json_equal(json_object_get(d, "instance_id"), json_object_get(section, "instance"))) {
		cursor_fail(&s->c, "section %s is there, and something else is described", name);
		return;
	}
	inspect_described(&s->c, d, piece_inner(section));
}

static void read_section_head(struct inspected *s, json_t *section)
{
	char name[256];

	cursor_text(&s->c, name, "a section's name");
	json_object_set_new(section, "name", json_string(name));
	json_object_set_new(section, "instance",
			    piece_number(cursor_number(&s->c, 4, "a section's instance")));
	json_object_set_new(section, "version",
			    piece_number(cursor_number(&s->c, 4, "a section's version")));
}

static void read_section(struct inspected *s, uint64_t mark)
{
	static const char *const marks[] = {"", "START", "PART", "END", "FULL"};
	json_t *section = piece_new("ram", "section", s->c.at - 1);
	uint64_t number = cursor_number(&s->c, 4, "a section's number");

	json_array_append_new(s->sections, section);
	json_object_set_new(section, "mark", json_string(marks[mark]));
	if (mark == 1 || mark == 4)
		read_section_head(s, section);
	else if ((int64_t)number != s->ram_number)
		cursor_fail(&s->c, "a part of section %" PRIu64 ", which hasn't begun", number);
	if (!strcmp(json_string_value(json_object_get(section, "name")), "ram")) {
		s->ram_number = (int64_t)number;
		read_ram(s, section);
	} else if (!s->c.failed) {
		read_device(s, section);
	}
	if (!cursor_at(&s->c, 0x7e))
		cursor_fail(&s->c, "no footer where %s ends by its description",
			    json_string_value(json_object_get(section, "name")));
	cursor_take(&s->c, 1, "a footer");
	if (cursor_number(&s->c, 4, "a footer") != number)
		cursor_fail(&s->c, "the footer of another section");
	piece_end(section, &s->c);
}

static void read_command(struct inspected *s)
{
	static const char *const names[] = {"INVALID",
					    "OPEN_RETURN_PATH",
					    "PING",
					    "POSTCOPY_ADVISE",
					    "POSTCOPY_LISTEN",
					    "POSTCOPY_RUN",
					    "POSTCOPY_RAM_DISCARD",
					    "PACKAGED",
					    "ENABLE_COLO",
					    "POSTCOPY_RESUME",
					    "RECV_BITMAP",
					    "SWITCHOVER_START"};
	size_t at = s->c.at - 1;
	uint64_t command = cursor_number(&s->c, 2, "a command");
	uint64_t n = cursor_number(&s->c, 2, "a command's length");
	json_t *piece;

	piece = piece_read(&s->c, s->commands,
			   command < ARRAY_SIZE(names) ? names[command] : "unknown", "command", n);
	json_object_set_new(piece, "offset", json_integer((json_int_t)at));
	piece_end(piece, &s->c);
}

static void read_sections(struct inspected *s)
{
	uint64_t mark;

	do {
		mark = cursor_number(&s->c, 1, "a section");
		if (mark == 8)
			read_command(s);
		else if (mark >= 1 && mark <= 4)
			read_section(s, mark);
		else if (mark)
			cursor_fail(&s->c, "0x%02x begins no section", (unsigned int)mark);
	} while (mark && !s->c.failed);
	if (!s->description)
		cursor_fail(&s->c, "there is no description at the end: not a whole stream");
	if (s->next_device < json_array_size(s->devices))
		cursor_fail(&s->c, "a section is described and not there");
	if (s->c.at != s->description_at)
		cursor_fail(&s->c, "%zd bytes are left over",
			    (ssize_t)(s->description_at - s->c.at));
}

static void read_trailer(struct inspected *s, size_t len)
{
	const uint8_t *t = s->c.data + s->c.end;

	if (s->c.end == len) {
		json_object_set_new(s->out, "trailer", json_null());
		return;
	}
	if (!memcmp(s->c.data + len - MAPPED_TRAILER_BYTES, "OUTLIVE2", 8))
		t = s->c.data + len - MAPPED_TRAILER_BYTES;
	if (load_be64(t + 8) != s->c.end - s->begin)
		cursor_fail(&s->c, "the trailer says that the stream has %" PRIu64 " bytes",
			    load_be64(t + 8));
	json_object_set_new(s->out, "trailer",
			    json_pack("{s:I, s:o, s:o}", "offset", (json_int_t)s->c.end, "bytes",
				      piece_number(load_be64(t + 8)), "xxh3",
				      json_sprintf("%016" PRIx64, load_be64(t + 16))));
}

/**
 * inspect_stream() - Take a stream apart
 * @bytes:	The file
 * @len:	Its size
 * @begin:	Where the stream begins in it
 * @ret:	Set in any case: configuration, ram, sections, commands, trailer, as far as they
 *		could be read; the caller's reference
 * @e:		Names the byte and what is wrong there
 *
 * Errors: EINVAL it isn't a stream, or not a whole one
 * Return: 0, or a negative errno
 */
int inspect_stream(const uint8_t *bytes, size_t len, size_t begin, json_t **ret, struct err *e)
{
	struct inspected s = {.c = {.data = bytes, .e = e}, .ram_number = -1};

	s.c.end = stream_end(bytes, len, MIN(begin, len));
	s.c.at = s.begin = MIN(begin, s.c.end);
	s.out = *ret = json_object();
	s.sections = json_array();
	s.commands = json_array();
	s.blocks = json_object();
	json_object_set_new(s.out, "ram", s.blocks);
	json_object_set_new(s.out, "sections", s.sections);
	json_object_set_new(s.out, "commands", s.commands);
	read_header(&s);
	if (!s.c.failed) {
		find_description(&s);
		read_configuration(&s);
	}
	if (!s.c.failed)
		read_sections(&s);
	if (!s.c.failed)
		read_trailer(&s, len);
	json_decref(s.description);
	return s.c.failed ? -EINVAL : 0;
}
