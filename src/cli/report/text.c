/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see report.h. Here: a picture in characters, for a terminal. */
#include "cli/report/report.h"

#include "base/option.h"
#include "base/owned.h"

#include <string.h>

#define COLUMNS 48

static char *ms_text(double ms)
{
	return ms >= 10000 ? str_printf("%.1f s", ms / 1000)
	       : ms >= 100 ? str_printf("%.0f ms", ms)
	       : ms >= 1   ? str_printf("%.2f ms", ms)
			   : str_printf("%.0f us", ms * 1000);
}

/* A part as a bar on a line that stands for @span ms; at least a character long. */
static void print_part(FILE *out, const json_t *part, double span)
{
	double from = picture_number(part, "from"), to = picture_number(part, "to");
	OWNED(char *) ms = ms_text(to - from);
	char bar[COLUMNS + 1];
	int begin = span > 0 ? (int)(from / span * COLUMNS) : 0;
	int end = span > 0 ? (int)(to / span * COLUMNS + 0.5) : 0;

	begin = MIN(begin, COLUMNS - 1);
	end = MAX(end, begin + 1);
	end = MIN(end, COLUMNS);
	memset(bar, '.', COLUMNS);
	memset(bar + begin, strcmp(option_str(part, "kind", ""), "stands") ? '=' : '#',
	       (size_t)(end - begin));
	bar[COLUMNS] = '\0';
	fprintf(out, "  %-17s %s %9s  %s\n", option_str(part, "name", ""), bar, ms,
		option_str(part, "text", ""));
}

static void print_parts(FILE *out, const json_t *parts, double span)
{
	const json_t *part;
	size_t i;

	json_array_foreach ((json_t *)(uintptr_t)parts, i, part)
		print_part(out, part, span);
}

static void print_ms(FILE *out, const json_t *pause, const char *key, const char *words)
{
	OWNED(char *) ms = ms_text(picture_number(pause, key));

	if (json_object_get(pause, key))
		fprintf(out, "  %-17s %s\n", words, ms);
}

static void print_picture(FILE *out, const json_t *picture)
{
	const json_t *pause = json_object_get(picture, "pause"), *parts, *fact;
	OWNED(char *) total = ms_text(picture_number(picture, "total-ms"));
	size_t i;

	fprintf(out, "%s, %s after %s\n", option_str(picture, "title", ""),
		option_str(picture, "end", ""), total);
	if (json_object_get(picture, "error"))
		fprintf(out, "  %s\n", option_str(picture, "error", ""));
	json_array_foreach (json_object_get(picture, "facts"), i, fact)
		fprintf(out, "  %-17s %s\n", option_str(fact, "name", ""),
			option_str(fact, "text", ""));
	fputs("\n", out);
	print_parts(out, json_object_get(picture, "parts"), picture_number(picture, "total-ms"));
	parts = json_object_get(pause, "parts");
	if (json_array_size(parts)) {
		fputs("\n  the pause\n", out);
		print_parts(out, parts, picture_number(pause, "said-ms"));
	}
	fputs("\n", out);
	print_ms(out, pause, "limit-ms", "pause, limit");
	print_ms(out, pause, "predicted-ms", "predicted");
	print_ms(out, pause, "said-ms", "measured");
	print_ms(out, pause, "felt-ms", "guest felt");
}

/**
 * report_text() - Print pictures for people
 * @out:	Where to
 * @pictures:	Array
 */
void report_text(FILE *out, const json_t *pictures)
{
	const json_t *picture;
	size_t i;

	json_array_foreach ((json_t *)(uintptr_t)pictures, i, picture) {
		if (i)
			fputs("\n", out);
		print_picture(out, picture);
	}
}
