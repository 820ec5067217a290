/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: QMP has no framing but JSON's own: a value ends where its braces are
 * closed. So the bytes are counted, not parsed: strings, escapes, braces, and when the depth is
 * zero again the text goes to the real parser. Strings in single quotes, which QEMU takes as well,
 * go there in double ones. What doesn't begin with a brace, or is longer than
 * JSON_MAX, is one error, and reading goes on at the next line.
 */
#include "base/owned.h"
#include "control/command.h"

#include <ctype.h>
#include <stdlib.h>

#define JSON_MAX  (4 * MiB)
#define DEPTH_MAX 256

static void forget(struct json_stream *s)
{
	s->len = s->depth = 0;
	s->quote = 0;
	s->escape = s->single = false;
	if (s->room > 64 * KiB) {
		free(s->text);
		s->text = NULL;
		s->room = 0;
	}
}

static bool keep(struct json_stream *s, char byte)
{
	if (s->len == s->room) {
		size_t room = s->room ? s->room * 2 : 512;
		char *text = room > JSON_MAX ? NULL : realloc(s->text, room);

		if (!text)
			return false;
		s->text = text;
		s->room = room;
	}
	s->text[s->len++] = byte;
	return true;
}

/* Keeps count of where we are; false if nothing can nest that deep. */
static bool count(struct json_stream *s, char byte)
{
	s->single |= byte == '\'';
	if (s->escape)
		s->escape = false;
	else if (s->quote)
		s->escape = byte == '\\', s->quote = byte == s->quote ? 0 : s->quote;
	else if (byte == '"' || byte == '\'')
		s->quote = byte;
	else if (byte == '{' || byte == '[')
		s->depth++;
	else if (byte == '}' || byte == ']')
		s->depth--;
	return s->depth <= DEPTH_MAX;
}

static void fail(struct json_stream *s, const char *error, json_stream_fn *fn, void *opaque)
{
	forget(s);
	s->skipping = true;
	fn(opaque, NULL, 0, error);
}

/* One byte as the parser wants it, @out having room for two; returns how many that are. */
static size_t plain(char byte, bool escaped, char quote, char *out)
{
	if (escaped && byte == '\'') {
		out[-1] = byte; /* in place of the backslash */
		return 0;
	}
	out[0] = byte == '\'' && !escaped && quote != '"' ? '"' : byte;
	if (byte != '"' || escaped || quote != '\'')
		return 1;
	out[0] = '\\';
	out[1] = byte;
	return 2;
}

/* The same text with double quotes only. */
static void give_plain(const struct json_stream *s, json_stream_fn *fn, void *opaque)
{
	OWNED(char) *text = mem_zalloc(2 * s->len);
	struct json_stream at = {.depth = 0};
	size_t len = 0;

	for (size_t i = 0; i < s->len; i++) {
		len += plain(s->text[i], at.escape, at.quote, text + len);
		count(&at, s->text[i]);
	}
	fn(opaque, text, len, NULL);
}

static void give(const struct json_stream *s, json_stream_fn *fn, void *opaque)
{
	if (s->single)
		give_plain(s, fn, opaque);
	else
		fn(opaque, s->text, s->len, NULL);
}

static void feed_byte(struct json_stream *s, char byte, json_stream_fn *fn, void *opaque)
{
	if (s->skipping || (byte == '\n' && s->quote)) {
		bool broken = !s->skipping;

		s->skipping = byte != '\n';
		if (broken)
			fail(s, "a string goes on behind the end of the line", fn, opaque);
		s->skipping = byte != '\n';
		return;
	}
	if (!s->depth && isspace((unsigned char)byte))
		return;
	if (!s->depth && byte != '{') {
		fail(s, "a command begins with '{'", fn, opaque);
		return;
	}
	if (!keep(s, byte) || !count(s, byte)) {
		fail(s, "the command is too long or nests too deep", fn, opaque);
		return;
	}
	if (!s->depth) {
		give(s, fn, opaque);
		forget(s);
	}
}

/**
 * json_stream_feed() - Take bytes
 * @s:		The stream
 * @buf:	Bytes
 * @len:	How many
 * @fn:		Called for each complete text (not yet known to be valid), or error
 * @opaque:	Its argument
 */
void json_stream_feed(struct json_stream *s, const uint8_t *buf, size_t len, json_stream_fn *fn,
		      void *opaque)
{
	for (size_t i = 0; i < len; i++)
		feed_byte(s, (char)buf[i], fn, opaque);
}

/**
 * json_stream_reset() - Forget everything; also releases it
 * @s:		The stream
 */
void json_stream_reset(struct json_stream *s)
{
	free(s->text);
	*s = (struct json_stream){0};
}
