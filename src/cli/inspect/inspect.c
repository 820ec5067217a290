/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the file is mapped and taken apart into JSON (inspect/stream.c), which is
 * what
 * --json prints and what the text is made of. tools/stream-reader prints the same from other code.
 */
#include "cli/inspect/inspect.h"

#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static const char usage[] =
	"usage: outlive inspect [--json] [--sections] FILE\n"
	"Explain a migration stream or snapshot, ours or QEMU's, with the offset of everything.\n"
	"  --json      print JSON\n"
	"  --sections  sections only, without their fields\n"
	"Exit status: 0 a whole stream, 1 not one, 2 wrong usage.\n";

/**
 * struct inspect_options - The command line
 * @json:	Print JSON
 * @sections:	Print sections only
 */
struct inspect_options {
	bool json, sections;
};

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

	json_array_foreach(fields, i, f)
	{
		printf("%10" JSON_INTEGER_FORMAT "  %*s%s %s", number_of(f, "offset"), 2 * depth,
		       "", text_of(f, "name"), text_of(f, "type"));
		print_value(json_object_get(f, "value"));
		putchar('\n');
		print_fields(json_object_get(f, "fields"), depth + 1);
	}
}

static void print_pages(json_t *blocks)
{
	const char *name;
	json_t *b;

	json_object_foreach(blocks, name, b) printf(
		"%12s%s: %" JSON_INTEGER_FORMAT " pages, %" JSON_INTEGER_FORMAT
		" zero, %" JSON_INTEGER_FORMAT " XBZRLE\n",
		"", name, number_of(b, "normal"), number_of(b, "zero"), number_of(b, "xbzrle"));
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
	json_object_foreach(json_object_get(stream, "ram"), name, b) printf(
		"%12sblock %s, %" JSON_INTEGER_FORMAT " bytes\n", "", name, number_of(b, "bytes"));
	json_array_foreach(json_object_get(stream, "sections"), i, s) print_section(s, o);
	print_fields(json_object_get(stream, "commands"), 0);
	if (json_is_object(trailer))
		printf("%10" JSON_INTEGER_FORMAT "  trailer, XXH3 %s\n",
		       number_of(trailer, "offset"), text_of(trailer, "xxh3"));
}

static int map_file(const char *path, const uint8_t **ret_bytes, size_t *ret_len, struct err *e)
{
	OWNED_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *bytes;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "open %s", path);
	if (st.st_size == 0)
		return err_set(e, EINVAL, "%s: empty", path);
	bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return err_sys(e, "map %s", path);
	*ret_bytes = bytes;
	*ret_len = (size_t)st.st_size;
	return 0;
}

static int inspect_file(const char *path, const struct inspect_options *o, struct err *e)
{
	const uint8_t *bytes = NULL;
	json_t *stream;
	size_t len = 0;
	int ret = map_file(path, &bytes, &len, e);

	if (ret < 0)
		return ret;
	ret = inspect_stream(bytes, len, &stream, e);
	if (ret < 0) {
		err_in(e, "%s", path);
	} else {
		if (o->json)
			json_dumpf(stream, stdout, JSON_INDENT(1));
		else
			print_text(stream, o);
		if (o->json)
			putchar('\n');
		json_decref(stream);
	}
	munmap((void *)(uintptr_t)bytes, len);
	return ret;
}

/**
 * inspect_main() - The command "outlive inspect"
 * @argc:	Of @argv
 * @argv:	"inspect", options, the file
 *
 * Return: exit status: 0 a whole stream, 1 not one, 2 wrong usage
 */
int inspect_main(int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
						{"sections", no_argument, NULL, 's'},
						{"help", no_argument, NULL, 'h'},
						{NULL, 0, NULL, 0}};
	struct inspect_options o = {false, false};
	struct err e = {0};
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		o.json |= c == 'j';
		o.sections |= c == 's';
		if (c == 'h' || c == '?') {
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
	}
	if (argc - optind != 1) {
		fputs(usage, stderr);
		return 2;
	}
	if (inspect_file(argv[optind], &o, &e) == 0)
		return 0;
	fprintf(stderr, "outlive: %s\n", e.msg);
	return 1;
}
