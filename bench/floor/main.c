/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what KVM and the machine themselves cost here, measured without a VMM around
 * them: the limit that no VMM gets below. Groups are measured in turn, round by round, so that a
 * busy moment meets each; a row is shown with its median and its range.
 *
 *	floor [--json] [--rounds N]
 */
#include "floor/floor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/**
 * floor_now() - The clock of all figures
 * Return: CLOCK_MONOTONIC, in ns
 */
uint64_t floor_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static struct floor_row *row_of(struct floor_table *t, const char *group, const char *name)
{
	for (unsigned int i = 0; i < t->len; i++)
		if (!strcmp(t->rows[i].name, name) && !strcmp(t->rows[i].group, group))
			return &t->rows[i];
	if (t->len == FLOOR_ROWS)
		abort();
	t->rows[t->len] = (struct floor_row){.group = group, .name = name};
	return &t->rows[t->len++];
}

/**
 * floor_add() - Note a figure
 * @t:		Where
 * @group:	What is being measured
 * @name:	And what of it
 * @us:		Microseconds
 */
void floor_add(struct floor_table *t, const char *group, const char *name, double us)
{
	struct floor_row *row = row_of(t, group, name);

	if (row->len < FLOOR_SAMPLES)
		row->us[row->len++] = us;
}

/**
 * floor_since() - Note the time since a start
 * @t:		Where
 * @group:	What is being measured
 * @name:	And what of it
 * @start_ns:	floor_now() before
 */
void floor_since(struct floor_table *t, const char *group, const char *name, uint64_t start_ns)
{
	floor_add(t, group, name, (double)(floor_now() - start_ns) / 1e3);
}

/**
 * floor_missing() - Note why a group can't be measured here; once is enough
 * @t:		Where
 * @group:	Which
 * @why:	The step that failed; errno says how
 */
void floor_missing(struct floor_table *t, const char *group, const char *why)
{
	char line[160];

	snprintf(line, sizeof(line), "%s: %s: %s\n", group, why, strerror(errno));
	if (!strstr(t->missing, line))
		strncat(t->missing, line, sizeof(t->missing) - strlen(t->missing) - 1);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(const struct floor_row *row)
{
	unsigned int half = row->len / 2;

	return row->len % 2 ? row->us[half] : (row->us[half - 1] + row->us[half]) / 2;
}

static void print_text(const struct floor_table *t)
{
	const char *group = "";

	printf("%-34s%12s%12s%12s  us\n", "", "median", "smallest", "largest");
	for (unsigned int i = 0; i < t->len; i++) {
		const struct floor_row *row = &t->rows[i];

		if (strcmp(group, row->group))
			printf("%s\n", row->group);
		group = row->group;
		printf("  %-32s%12.2f%12.2f%12.2f\n", row->name, median(row), row->us[0],
		       row->us[row->len - 1]);
	}
	fputs(t->missing, stderr);
}

/* Names are literals of ours without anything to escape. */
static void print_json(const struct floor_table *t)
{
	puts("{\"unit\": \"us\", \"rows\": [");
	for (unsigned int i = 0; i < t->len; i++) {
		const struct floor_row *row = &t->rows[i];

		printf(" {\"group\": \"%s\", \"name\": \"%s\", \"samples\": [", row->group,
		       row->name);
		for (unsigned int s = 0; s < row->len; s++)
			printf("%s%.3f", s ? ", " : "", row->us[s]);
		printf("]}%s\n", i + 1 < t->len ? "," : "");
	}
	puts("]}");
	fputs(t->missing, stderr);
}

int main(int argc, char **argv)
{
	static struct floor_table t;
	unsigned int rounds = 15;
	int json = 0;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json")) {
			json = 1;
		} else if (!strcmp(argv[i], "--rounds") && i + 1 < argc && atoi(argv[i + 1]) > 0) {
			rounds = (unsigned int)atoi(argv[++i]);
		} else {
			fprintf(stderr, "usage: floor [--json] [--rounds N]\n");
			return 2;
		}
	}
	for (unsigned int i = 0; i < rounds; i++) {
		floor_kvm(&t);
		floor_exits(&t);
		floor_memory(&t);
		floor_wake(&t);
	}
	for (unsigned int i = 0; i < t.len; i++)
		qsort(t.rows[i].us, t.rows[i].len, sizeof(double), by_size);
	(json ? print_json : print_text)(&t);
	return 0;
}
