/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see report.h. Here: what pictures of all kinds are put together from. */
#include "cli/report/report.h"

#include "base/option.h"
#include "base/owned.h"

#include <time.h>

/**
 * picture_number() - A member as a number
 * @o:		Object, or NULL
 * @key:	Its member
 *
 * Return: 0 where there is none
 */
double picture_number(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

/**
 * picture_fact() - Something to know about a run
 * @picture:	Changed
 * @name:	What
 * @text:	In words; NULL: nothing is added
 */
void picture_fact(json_t *picture, const char *name, const char *text)
{
	if (text)
		json_array_append_new(json_object_get(picture, "facts"),
				      json_pack("{s:s, s:s}", "name", name, "text", text));
}

/**
 * picture_part() - A stretch of time
 * @parts:	Array, changed
 * @name:	Its name
 * @kind:	"runs", "sends", "waits", "stands": what the guest does, for the colour
 * @from, @to:	ms
 * @text:	More about it; may be NULL
 */
void picture_part(json_t *parts, const char *name, const char *kind, double from, double to,
		  const char *text)
{
	json_array_append_new(parts, json_pack("{s:s, s:s, s:f, s:f, s:s}", "name", name, "kind",
					       kind, "from", from, "to", MAX(from, to), "text",
					       text ? text : ""));
}

static char *date_of(const json_t *head)
{
	time_t when = (time_t)(option_int(head, "begin-us", 0) / 1000000);
	struct tm utc;
	char text[64];

	if (!when || !gmtime_r(&when, &utc))
		return NULL;
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &utc);
	return str_dup(text);
}

/**
 * picture_new() - A picture without anything in it but how it ended
 * @lines:	Of the run
 * @what:	For the title: "web: WHAT"
 *
 * Return: new
 */
json_t *picture_new(const json_t *lines, const char *what)
{
	const json_t *head = json_array_get(lines, 0), *line;
	OWNED(char *)
	title = str_printf("%s: %s", option_str(head, "guest", "a guest"), what);
	OWNED(char *) date = date_of(head);
	json_t *p = json_pack("{s:s, s:s, s:s, s:f, s:[], s:[], s:[], s:{}, s:[]}", "kind",
			      option_str(head, "kind", ""), "title", title, "end", "unknown",
			      "total-ms", 0.0, "facts", "parts", "charts", "pause", "rounds");
	size_t i;

	picture_fact(p, "begun", date);
	json_array_foreach ((json_t *)(uintptr_t)lines, i, line) {
		json_t *error = json_object_get(line, "error");

		if (error) {
			json_object_set(p, "error", error);
			json_object_set_new(p, "end", json_string("failed"));
		}
		json_object_set_new(p, "total-ms",
				    json_real(MAX(picture_number(p, "total-ms"),
						  picture_number(line, "at-ms"))));
	}
	return p;
}
