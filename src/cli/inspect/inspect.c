/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the file is mapped and taken apart into JSON (inspect/stream.c), which is
 * what --json prints and what the text is made of. tools/stream-reader prints the same from other
 * code.
 */
#include "cli/inspect/inspect.h"

#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_BYTES ((size_t)1 << 20)

static const char *text_of(const json_t *piece, const char *key)
{
	const char *s = json_string_value(json_object_get(piece, key));

	return s ? s : "";
}

static json_int_t number_of(const json_t *piece, const char *key)
{
	return json_integer_value(json_object_get(piece, key));
}

static void print_value(const json_t *value)
{
	const char *s = json_string_value(value);

	if (s && strlen(s) > 100)
		printf(" %.97s...", s);
	else if (s)
		printf(" %s", s);
	else if (json_is_integer(value))
		printf(" %" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_boolean(value))
		printf(" %s", json_is_true(value) ? "true" : "false");
}

static void print_fields(const json_t *fields, int depth)
{
	const json_t *f;
	size_t i;

	json_array_foreach (fields, i, f) {
		printf("%10" JSON_INTEGER_FORMAT "  %*s%s %s", number_of(f, "offset"), 2 * depth,
		       "", text_of(f, "name"), text_of(f, "type"));
		print_value(json_object_get(f, "value"));
		putchar('\n');
		print_fields(json_object_get(f, "fields"), depth + 1);
	}
}

/* Of a kind of pages that few streams have. */
static void print_more(const json_t *pages, const char *kind)
{
	if (number_of(pages, kind))
		printf(", %" JSON_INTEGER_FORMAT " %s", number_of(pages, kind), kind);
}

static void print_pages(json_t *blocks)
{
	const char *name;
	json_t *b;

	json_object_foreach (blocks, name, b) {
		printf("%12s%s: %" JSON_INTEGER_FORMAT " pages, %" JSON_INTEGER_FORMAT
		       " zero, %" JSON_INTEGER_FORMAT " XBZRLE",
		       "", name, number_of(b, "normal"), number_of(b, "zero"),
		       number_of(b, "xbzrle"));
		print_more(b, "compressed");
		print_more(b, "known");
		putchar('\n');
	}
}

static void print_section(const json_t *s, const struct inspect_options *o)
{
	printf("%10" JSON_INTEGER_FORMAT "  %s  ", number_of(s, "offset"), text_of(s, "name"));
	if (strcmp(text_of(s, "mark"), "FULL")) {
		printf("%s, %" JSON_INTEGER_FORMAT " bytes\n", text_of(s, "mark"),
		       number_of(s, "size"));
		print_pages(json_object_get(s, "value"));
		return;
	}
	printf("instance %" JSON_INTEGER_FORMAT ", version %" JSON_INTEGER_FORMAT
	       ", %" JSON_INTEGER_FORMAT " bytes\n",
	       number_of(s, "instance"), number_of(s, "version"), number_of(s, "size"));
	if (!o->sections)
		print_fields(json_object_get(s, "fields"), 1);
}

static void print_text(const json_t *stream, const struct inspect_options *o)
{
	const json_t *trailer = json_object_get(stream, "trailer"), *s;
	const char *name;
	json_t *b;
	size_t i;

	print_fields(json_object_get(json_object_get(stream, "configuration"), "fields"), 0);
	json_object_foreach (json_object_get(stream, "ram"), name, b)
		printf("%12sblock %s, %" JSON_INTEGER_FORMAT " bytes\n", "", name,
		       number_of(b, "bytes"));
	json_array_foreach (json_object_get(stream, "sections"), i, s)
		print_section(s, o);
	print_fields(json_object_get(stream, "commands"), 0);
	if (json_is_object(trailer))
		printf("%10" JSON_INTEGER_FORMAT "  trailer, XXH3 %s\n",
		       number_of(trailer, "offset"), text_of(trailer, "xxh3"));
}

/* What can't be mapped (a pipe) is read into memory first; a descriptor of that. */
static int copy_of(int fd, struct err *e)
{
	OWNED(uint8_t) *room = mem_zalloc(PIECE_BYTES);
	OWNED_FD copy = memfd_create("stream", MFD_CLOEXEC);
	ssize_t n = copy < 0 ? -1 : 1;

	while (n > 0) {
		n = read(fd, room, PIECE_BYTES);
		if (n > 0 && write(copy, room, (size_t)n) != n)
			n = -1;
	}
	return n < 0 ? err_sys(e, "read") : fd_take(&copy);
}

static int open_file(const char *path, struct err *e)
{
	OWNED_FD fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : dup(STDIN_FILENO);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "open");
	return S_ISREG(st.st_mode) ? fd_take(&fd) : copy_of(fd, e);
}

static int map_file(const char *path, const uint8_t **ret_bytes, size_t *ret_len, struct err *e)
{
	OWNED_FD fd = open_file(path, e);
	off_t len;
	void *bytes;

	if (fd < 0)
		return fd;
	len = lseek(fd, 0, SEEK_END);
	if (len == 0)
		return err_set(e, EINVAL, "empty");
	bytes = mmap(NULL, (size_t)len, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return err_sys(e, "map");
	*ret_bytes = bytes;
	*ret_len = (size_t)len;
	return 0;
}

/**
 * inspect_file() - Show what is in a file
 * @path:	It; "-": standard input
 * @o:		How
 * @e:		Names the byte and what is wrong there
 *
 * Errors: EINVAL not a whole stream; as open(2), read(2), mmap(2)
 * Return: 0, or a negative errno
 */
int inspect_file(const char *path, const struct inspect_options *o, struct err *e)
{
	const uint8_t *bytes = NULL;
	json_t *stream;
	size_t len = 0;
	int ret = map_file(path, &bytes, &len, e);

	if (ret < 0)
		return err_in(e, "%s", path);
	ret = inspect_stream(bytes, len, o->begin, &stream, e);
	if (o->json && ret == 0) {
		json_dumpf(stream, stdout, JSON_INDENT(1));
		putchar('\n');
	} else if (!o->json) {
		print_text(stream, o);
	}
	json_decref(stream);
	munmap((void *)(uintptr_t)bytes, len);
	return ret < 0 ? err_in(e, "%s", path) : 0;
}
