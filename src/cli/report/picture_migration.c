/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: see report.h. A migration's lines are looks (query-migrate) and events, each
 * with its time. Our VMM tells of its rounds and of the steps of its pause with microseconds. For
 * others events give the edges: MIGRATION_PASS begins a round, STOP the switchover; where there are
 * none the looks do, as exactly as they are frequent, and what was sent in a round is interpolated.
 */
#include "cli/report/report.h"

#include "base/option.h"
#include "base/owned.h"

#include <string.h>

#define ROUNDS_MAX   4096
#define PAGE_BYTES   4096
#define LOOKS_ENOUGH 10

/**
 * struct round - A round of pre-copy
 * @from, @to:	ms
 * @sent:	Bytes
 * @dirty_rate:	Bytes a second that the guest wrote meanwhile
 * @expected_ms: The pause if it had been at its end
 * @throttle:	By how much the guest was slowed down, %
 */
struct round {
	double from, to, sent, dirty_rate, expected_ms, throttle;
};

/**
 * struct view - A run while its picture is made
 * @lines:	Of the run
 * @picture:	Under way
 * @round:	All, in order
 * @rounds:	How many
 * @told:	The VMM itself told of them
 * @begin, @stop, @end: The job's begin and end, and the switchover's begin, ms; @stop 0: it didn't
 *		come to it
 */
struct view {
	const json_t *lines;
	json_t *picture;
	struct round round[ROUNDS_MAX];
	unsigned int rounds;
	bool told;
	double begin, stop, end;
};

#define for_each_line(v, i, line) json_array_foreach ((json_t *)(uintptr_t)(v)->lines, i, line)

static const json_t *look_of(const json_t *line)
{
	return json_object_get(line, "query-migrate");
}

static double at_of(const json_t *line)
{
	return picture_number(line, "at-ms");
}

static bool is_event(const json_t *line, const char *name)
{
	return !strcmp(option_str(json_object_get(line, "event"), "event", ""), name);
}

static const char *status_of(const json_t *line)
{
	const json_t *data = json_object_get(json_object_get(line, "event"), "data");

	return option_str(is_event(line, "MIGRATION") ? data : look_of(line), "status", "");
}

static bool is_end(const json_t *line)
{
	const char *status = status_of(line);

	return !strcmp(status, "completed") || !strcmp(status, "failed") ||
	       !strcmp(status, "cancelled");
}

/* Where the job begins, stops the guest and ends. What comes later (the VMM goes) is no part of
 * it. */
static void find_ends(struct view *v)
{
	const json_t *line;
	bool ended = false;
	size_t i;

	for_each_line(v, i, line)
	{
		if (is_event(line, "MIGRATION") && !strcmp(status_of(line), "setup"))
			v->begin = at_of(line);
		if (is_event(line, "STOP") && !v->stop)
			v->stop = at_of(line);
		if (is_end(line))
			v->end = ended ? MIN(v->end, at_of(line)) : at_of(line);
		else if (!ended)
			v->end = MAX(v->end, at_of(line));
		ended |= is_end(line);
	}
}

/* A round begins; those that nobody saw begin take no time. */
static void edge(struct view *v, int64_t number, double at)
{
	if (v->stop && at >= v->stop)
		return;
	while (v->rounds < number && v->rounds < ROUNDS_MAX)
		v->round[v->rounds++].from = at;
}

static void find_edges(struct view *v)
{
	const json_t *line;
	size_t i;

	for_each_line(v, i, line)
	{
		const json_t *data = json_object_get(json_object_get(line, "event"), "data");

		if (!strcmp(status_of(line), "active"))
			edge(v, 1, at_of(line));
		if (is_event(line, "MIGRATION_PASS"))
			edge(v, option_int(data, "pass", 0), at_of(line));
		edge(v, option_int(json_object_get(look_of(line), "ram"), "dirty-sync-count", 0),
		     at_of(line));
	}
}

/* Bytes of the stream at a time, between two looks. */
static double sent_at(const struct view *v, double at)
{
	double from = 0, before = 0;
	const json_t *line;
	size_t i;

	for_each_line(v, i, line)
	{
		const json_t *ram = json_object_get(look_of(line), "ram");
		double sent = picture_number(ram, "transferred"), now = at_of(line);

		if (!ram)
			continue;
		if (now >= at && now > from)
			return before + (sent - before) * (at - from) / (now - from);
		from = now;
		before = sent;
	}
	return before;
}

/* The look that knows what a round has found: the first one after it. */
static const json_t *look_after(const struct view *v, double at)
{
	const json_t *found = NULL, *line;
	size_t i;

	for_each_line(v, i, line)
	{
		if (look_of(line))
			found = look_of(line);
		if (look_of(line) && at_of(line) >= at)
			break;
	}
	return found;
}

static double expected_ms(const json_t *look)
{
	const json_t *ours = json_object_get(look, "outlive-expected-downtime-us");

	return ours ? json_number_value(ours) / 1000 : picture_number(look, "expected-downtime");
}

static double dirty_rate(const json_t *look)
{
	const json_t *ram = json_object_get(look, "ram");
	double page = picture_number(ram, "page-size");

	return picture_number(ram, "dirty-pages-rate") * (page ? page : PAGE_BYTES);
}

static double remaining(const json_t *look)
{
	return picture_number(json_object_get(look, "ram"), "remaining");
}

static double throttle(const json_t *look)
{
	return picture_number(look, "cpu-throttle-percentage");
}

/* What a round did, from the looks. */
static void measure_round(const struct view *v, struct round *r, double to)
{
	const json_t *look = look_after(v, to);

	r->to = to;
	r->sent = sent_at(v, to) - sent_at(v, r->from);
	r->dirty_rate = dirty_rate(look);
	r->expected_ms = expected_ms(look);
	r->throttle = throttle(look);
}

static void measure_rounds(struct view *v)
{
	find_edges(v);
	for (unsigned int n = 0; n < v->rounds; n++)
		measure_round(v, &v->round[n],
			      n + 1 < v->rounds ? v->round[n + 1].from
			      : v->stop         ? v->stop
						: v->end);
}

static void take_round(struct view *v, const json_t *told, const json_t *look)
{
	double from = picture_number(told, "from-us") / 1000,
	       to = picture_number(told, "to-us") / 1000;
	int64_t number = option_int(told, "round", 0);

	if (number < 1 || number > ROUNDS_MAX)
		return;
	v->rounds = MAX(v->rounds, (unsigned int)number);
	v->round[number - 1] = (struct round){
		.from = v->begin + from,
		.to = v->begin + to,
		.sent = picture_number(told, "sent"),
		.dirty_rate = to > from ? picture_number(told, "dirty") / (to - from) * 1000 : 0,
		.expected_ms = picture_number(told, "expected-downtime-us") / 1000,
		.throttle = throttle(look)};
}

/* The rounds that the VMM itself tells of; false: it doesn't. */
static bool told_rounds(struct view *v)
{
	const json_t *line, *told;
	size_t i, n;

	for_each_line(v, i, line)
		json_array_foreach (json_object_get(look_of(line), "outlive-rounds"), n, told)
			take_round(v, told, look_of(line));
	if (v->rounds && v->rounds < ROUNDS_MAX && !v->stop) { /* the one that was under way */
		v->round[v->rounds].from = v->round[v->rounds - 1].to;
		measure_round(v, &v->round[v->rounds], v->end);
		v->rounds++;
	}
	if (v->rounds &&
	    v->stop) /* the event says when the guest had stopped, not when that began */
		v->stop = v->round[v->rounds - 1].to;
	v->told = v->rounds;
	return v->told;
}

static double round_rate(const struct round *r)
{
	return r->to > r->from ? MAX(r->sent, 0) / (r->to - r->from) * 1000 : 0;
}

static void add_round(const struct view *v, unsigned int n)
{
	const struct round *r = &v->round[n];
	double rate = round_rate(r);
	OWNED(char *) bytes = cli_size((uint64_t)MAX(r->sent, 0));
	OWNED(char *) speed = cli_size((uint64_t)rate), *dirty = cli_size((uint64_t)r->dirty_rate);
	OWNED(char *) text = str_printf("sent %s at %s/s, guest wrote %s/s", bytes, speed, dirty);
	OWNED(char *) name = str_printf("round %u", n + 1);

	picture_part(json_object_get(v->picture, "parts"), name, "sends", r->from, r->to, text);
	json_array_append_new(json_object_get(v->picture, "rounds"),
			      json_pack("{s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "round",
					(int)n + 1, "from", r->from, "to", MAX(r->from, r->to),
					"sent", r->sent, "rate", rate, "dirty-rate", r->dirty_rate,
					"throttle", r->throttle, "predicted-ms", r->expected_ms));
}

static void add_parts(struct view *v)
{
	json_t *parts = json_object_get(v->picture, "parts");

	if (v->rounds && v->round[0].from > 0)
		picture_part(parts, "setup", "runs", 0, v->round[0].from, "");
	for (unsigned int n = 0; n < v->rounds; n++)
		add_round(v, n);
	if (v->stop)
		picture_part(parts, "switchover", "stands", v->stop, v->end,
			     "the guest stands still");
}

/* Adds a value at a time; of equal ones in a row the first and the last. */
static void point(json_t *points, double at, double value)
{
	size_t n = json_array_size(points);
	const json_t *last = json_array_get(points, n - 1), *other = json_array_get(points, n - 2);

	if (n > 1 && json_number_value(json_array_get(last, 1)) == value &&
	    json_number_value(json_array_get(other, 1)) == value)
		json_array_remove(points, n - 1);
	json_array_append_new(points, json_pack("[f, f]", at, value));
}

/**
 * struct chart - A line of the picture
 * @title, @unit, @name: Words
 * @value:	Of a look
 */
struct chart {
	const char *title, *unit, *name;
	double (*value)(const json_t *look);
};

static const struct chart charts[] = {
	{"Left to send", "bytes", "left", remaining},
	{"Pause, if it were now", "ms", "predicted", expected_ms},
	{"Guest slowed down", "%", "throttle", throttle},
};

static json_t *series(const char *name, json_t *points)
{
	return json_pack("{s:s, s:o}", "name", name, "points", points);
}

static json_t *points_of(const struct view *v, double (*value)(const json_t *look), bool *any)
{
	json_t *points = json_array();
	const json_t *line;
	size_t i;

	for_each_line(v, i, line)
	{
		if (!json_object_get(look_of(line), "ram"))
			continue;
		*any |= value(look_of(line)) > 0;
		point(points, at_of(line), value(look_of(line)));
	}
	return points;
}

/* The rate of the link, from what was sent between two looks that differ. */
static json_t *link_points(const struct view *v)
{
	json_t *points = json_array();
	double from = 0, before = 0;
	const json_t *line;
	size_t i;

	for_each_line(v, i, line)
	{
		const json_t *ram = json_object_get(look_of(line), "ram");
		double sent = picture_number(ram, "transferred"), at = at_of(line);

		if (!ram || sent == before || at <= from)
			continue;
		json_array_append_new(
			points, json_pack("[f, f]", at, (sent - before) / (at - from) * 1000));
		from = at;
		before = sent;
	}
	return points;
}

/* What is known of each round at its end. */
static json_t *round_points(const struct view *v, double (*value)(const struct round *r))
{
	json_t *points = json_array();

	if (v->rounds)
		json_array_append_new(points,
				      json_pack("[f, f]", v->round[0].from, value(v->round)));
	for (unsigned int n = 0; n < v->rounds; n++)
		json_array_append_new(points,
				      json_pack("[f, f]", v->round[n].to, value(&v->round[n])));
	return points;
}

static double round_dirty_rate(const struct round *r)
{
	return r->dirty_rate;
}

static double round_expected(const struct round *r)
{
	return r->expected_ms;
}

/* Looks tell more of a long round, the rounds themselves of a run that is over after a few
 * looks. */
static json_t *rates(const struct view *v)
{
	json_t *points = link_points(v);

	if (!v->told || json_array_size(points) >= LOOKS_ENOUGH)
		return points;
	json_decref(points);
	return round_points(v, round_rate);
}

static json_t *values(const struct view *v, const struct chart *c, bool *any)
{
	json_t *points;

	if (!v->told || c->value != expected_ms)
		return points_of(v, c->value, any);
	*any = true;
	points = round_points(v, round_expected);
	json_array_remove(points, 0); /* nothing was expected before the first round was over */
	return points;
}

static void add_charts(struct view *v)
{
	json_t *all = json_object_get(v->picture, "charts");
	bool any = false;
	json_t *dirty = v->told ? round_points(v, round_dirty_rate)
				: points_of(v, dirty_rate, &any);

	json_array_append_new(all, json_pack("{s:s, s:s, s:[o, o]}", "title", "Rates", "unit",
					     "bytes/s", "series", series("sent", rates(v)),
					     series("written by the guest", dirty)));
	for (size_t i = 0; i < ARRAY_SIZE(charts); i++) {
		json_t *points;

		any = false;
		points = values(v, &charts[i], &any);
		if (any)
			json_array_append_new(all,
					      json_pack("{s:s, s:s, s:[o]}", "title",
							charts[i].title, "unit", charts[i].unit,
							"series", series(charts[i].name, points)));
		else
			json_decref(points);
	}
}

/* What was expected of the pause when the guest was stopped: ours still says so afterwards. */
static double predicted(const struct view *v)
{
	double found = 0;
	const json_t *line;
	size_t i;

	for_each_line(v, i, line)
	{
		const json_t *look = look_of(line);
		bool late = at_of(line) > v->stop &&
			    !json_object_get(look, "outlive-expected-downtime-us");

		if (!late && expected_ms(look) > 0)
			found = expected_ms(look);
	}
	return found;
}

static void set_ms(json_t *pause, const char *name, double ms)
{
	if (ms > 0)
		json_object_set_new(pause, name, json_real(ms));
}

/* What was predicted of a step stands beside it. */
static char *step_text(const json_t *expected, const char *step, double *last)
{
	double ms = picture_number(expected, step) / 1000, took = MAX(ms - *last, 0.0);

	*last = MAX(ms, *last);
	return expected ? str_printf("%.2f ms were predicted", took) : NULL;
}

static void add_steps(json_t *pause, json_t *moments, const json_t *expected)
{
	static const char *const words[][2] = {{"stopped", "stop"},
					       {"ram", "rest of memory"},
					       {"devices", "devices"},
					       {"confirmed", "the target's word"}};
	json_t *parts = json_array();
	double last = 0, last_expected = 0;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		OWNED(char *) text = step_text(expected, words[i][0], &last_expected);
		double ms = picture_number(moments, words[i][0]) / 1000;

		if (ms > last)
			picture_part(parts, words[i][1], "stands", last, ms, text);
		last = MAX(last, ms);
	}
	json_object_set_new(pause, "parts", parts);
}

static void add_pause(struct view *v, const json_t *last)
{
	const json_t *asked = json_object_get(json_array_get(v->lines, 0), "parameters");
	json_t *pause = json_object_get(v->picture, "pause");
	const json_t *ours = json_object_get(last, "outlive-downtime-us"), *line;
	size_t i;

	set_ms(pause, "limit-ms", picture_number(asked, "downtime-limit"));
	if (v->stop)
		set_ms(pause, "predicted-ms", predicted(v));
	set_ms(pause, "said-ms",
	       ours ? json_number_value(ours) / 1000 : picture_number(last, "downtime"));
	if (json_object_get(last, "outlive-pause-us"))
		add_steps(pause, json_object_get(last, "outlive-pause-us"),
			  json_object_get(last, "outlive-expected-us"));
	for_each_line(v, i, line) set_ms(pause, "felt-ms", picture_number(line, "felt-ms"));
}

static void add_facts(struct view *v, const json_t *last)
{
	const json_t *head = json_array_get(v->lines, 0), *ram = json_object_get(last, "ram");
	OWNED(char *) memory = cli_size((uint64_t)option_int(head, "memory", 0));
	OWNED(char *) sent = cli_size((uint64_t)option_int(ram, "transferred", 0));
	OWNED(char *) cpus = str_printf("%d", (int)option_int(head, "cpus", 0));

	picture_fact(v->picture, "to", option_str(head, "to", NULL));
	picture_fact(v->picture, "memory", option_int(head, "memory", 0) ? memory : NULL);
	picture_fact(v->picture, "vCPUs", option_int(head, "cpus", 0) ? cpus : NULL);
	picture_fact(v->picture, "sent", ram ? sent : NULL);
}

/**
 * picture_migration() - The picture of a migration
 * @lines:	Of the run
 *
 * Return: new
 */
json_t *picture_migration(const json_t *lines)
{
	struct view *v = mem_zalloc(sizeof(*v));
	const json_t *last = NULL, *line;
	json_t *picture;
	size_t i;

	v->lines = lines;
	v->picture = picture = picture_new(lines, "migration");
	find_ends(v);
	if (!told_rounds(v))
		measure_rounds(v);
	for_each_line(v, i, line) last = look_of(line) ? look_of(line) : last;
	if (!json_object_get(picture, "error"))
		json_object_set_new(picture, "end",
				    json_string(option_str(last, "status", "unknown")));
	if (json_object_get(last, "error-desc"))
		json_object_set(picture, "error", json_object_get(last, "error-desc"));
	json_object_set_new(picture, "total-ms", json_real(v->end));
	add_facts(v, last);
	add_parts(v);
	add_charts(v);
	add_pause(v, last);
	free(v);
	return picture;
}
