/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: what people and scripts get to see: tables, JSON, errors. */
#include "base/owned.h"
#include "cli/cli.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

/**
 * cli_fail() - Say why, once
 * @code:	enum cli_exit
 * @e:		The story
 *
 * Return: @code
 */
int cli_fail(int code, const struct err *e)
{
	fprintf(stderr, "outlive: %s\n", e->msg);
	return code;
}

/**
 * cli_print_json() - Print a value, indented
 * @value:	Borrowed
 */
void cli_print_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	putchar('\n');
}

/**
 * cli_size() - Bytes in words
 * @bytes:	How many
 *
 * Return: "1.5 GiB"; the caller frees it
 */
char *cli_size(uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double v = (double)bytes;
	size_t u = 0;

	while (v >= 1024 && u + 1 < ARRAY_SIZE(units)) {
		v /= 1024;
		u++;
	}
	return str_printf(v == (double)(uint64_t)v ? "%.0f %s" : "%.1f %s", v, units[u]);
}

static char *cell(const json_t *row, const char *column)
{
	const json_t *v = json_object_get(row, column);
	char *text;

	if (json_is_string(v))
		return str_dup(json_string_value(v));
	if (json_is_real(v))
		return str_printf("%.1f", json_real_value(v));
	text = v && !json_is_null(v) ? json_dumps(v, JSON_ENCODE_ANY) : NULL;
	return text ? text : str_dup("-");
}

static size_t width_of(const json_t *rows, const char *column)
{
	size_t width = strlen(column), i;
	json_t *row;

	json_array_foreach (rows, i, row) {
		OWNED(char *) text = cell(row, column);

		width = MAX(width, strlen(text));
	}
	return width;
}

static void print_cell(const char *text, size_t width, bool right, bool last)
{
	int pad = (int)(width - strlen(text));

	if (right)
		printf("%*s%s", pad, "", text);
	else
		printf("%s%*s", text, last ? 0 : pad, "");
	fputs(last ? "\n" : "  ", stdout);
}

static void print_head(const json_t *rows, const char *const *columns)
{
	for (; *columns; columns++) {
		char head[32];
		size_t n = 0;

		for (; (*columns)[n] && n + 1 < sizeof(head); n++)
			head[n] = (*columns)[n] == '-'
					  ? ' '
					  : (char)toupper((unsigned char)(*columns)[n]);
		head[n] = '\0';
		print_cell(head, width_of(rows, *columns),
			   json_is_number(json_object_get(json_array_get(rows, 0), *columns)),
			   !columns[1]);
	}
}

/**
 * cli_print_table() - Print rows under a head
 * @rows:	Array of objects
 * @columns:	Their keys, NULL-terminated
 */
void cli_print_table(const json_t *rows, const char *const *columns)
{
	size_t i;
	json_t *row;

	print_head(rows, columns);
	json_array_foreach (rows, i, row) {
		for (const char *const *c = columns; *c; c++) {
			OWNED(char *) text = cell(row, *c);

			print_cell(text, width_of(rows, *c),
				   json_is_number(json_object_get(row, *c)), !c[1]);
		}
	}
}
