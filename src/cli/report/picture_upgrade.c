/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: see report.h. An upgrade's report says how long each stage took, and at
 * which microsecond after the stop each step of the pause was done. Whatever stages and steps it
 * names are drawn, in its order.
 */
#include "cli/report/report.h"

#include "base/option.h"
#include "base/owned.h"

#include <string.h>

/* What the guest does in a stage. */
static const char *kind_of(const char *stage)
{
	return strcmp(stage, "switch") ? "runs" : "stands";
}

static double add_stages(json_t *parts, json_t *stages)
{
	double at = 0;
	const char *name;
	json_t *us;

	json_object_foreach (stages, name, us) {
		double ms = json_number_value(us) / 1000;

		picture_part(parts, name, kind_of(name), at, at + ms, NULL);
		at += ms;
	}
	return at;
}

/* Each moment ends a step; a moment that repeats the one before it takes no time. */
static double add_steps(json_t *parts, json_t *moments)
{
	double last = 0;
	const char *name;
	json_t *us;

	json_object_foreach (moments, name, us) {
		double ms = json_number_value(us) / 1000;

		if (ms > last)
			picture_part(parts, name, "stands", last, ms, NULL);
		last = MAX(last, ms);
	}
	return last;
}

static void add_pause(json_t *p, const json_t *report, const json_t *line)
{
	json_t *pause = json_object_get(p, "pause"), *parts = json_array();
	double said = add_steps(parts, json_object_get(report, "pause-us"));

	json_object_set_new(pause, "parts", parts);
	if (said > 0)
		json_object_set_new(pause, "said-ms", json_real(said));
	if (json_object_get(line, "felt-ms"))
		json_object_set(pause, "felt-ms", json_object_get(line, "felt-ms"));
}

static void add_report(json_t *p, const json_t *line)
{
	const json_t *report = json_object_get(line, "upgrade");
	json_t *parts = json_object_get(p, "parts"), *stages = json_object_get(report, "stages-us");
	double total = picture_number(line, "total-ms"), end = add_stages(parts, stages);
	bool done = option_bool(report, "done", true);

	add_pause(p, report, line);
	if (!json_object_get(stages, "switch") &&
	    picture_number(json_object_get(p, "pause"), "said-ms")) {
		double pause = picture_number(json_object_get(p, "pause"), "said-ms");

		picture_part(parts, "switch", "stands", end, end + pause, "the guest stands still");
		end += pause;
	}
	if (total > end)
		picture_part(parts, "answer", "runs", end, total, "the new process tells");
	json_object_set_new(p, "total-ms", json_real(MAX(total, end)));
	json_object_set_new(p, "end",
			    json_string(done ? "completed" : option_str(report, "stage", "")));
	picture_fact(p, "from", option_str(report, "from", NULL));
	picture_fact(p, "to", option_str(report, "to", NULL));
}

/**
 * picture_upgrade() - The picture of an upgrade
 * @lines:	Of the run
 *
 * Return: new
 */
json_t *picture_upgrade(const json_t *lines)
{
	json_t *p = picture_new(lines, "upgrade");
	const json_t *line;
	size_t i;

	json_array_foreach ((json_t *)(uintptr_t)lines, i, line)
		if (json_object_get(line, "upgrade"))
			add_report(p, line);
	return p;
}
