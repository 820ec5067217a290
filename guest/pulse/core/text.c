/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * One line of JSON for the console: a few figures of the report, without the C library and without
 * memory but the caller's. Members end with a comma that the end of their object takes back.
 */
#include "text.h"

#define GAPS_SHOWN 5

static const char *const states[] = {"none", "booting", "filling", "running", "ended", "failed"};
static const char *const kinds[] = {"none", "lost",      "stale",  "ahead",
				    "torn", "misplaced", "corrupt"};

void text_add(struct text *t, const char *s)
{
	while (*s && t->length < t->size)
		t->at[t->length++] = *s++;
}

void text_number(struct text *t, int64_t n)
{
	char digits[24];
	size_t i = sizeof(digits) - 1;
	uint64_t left = n < 0 ? -(uint64_t)n : (uint64_t)n;

	digits[i] = 0;
	do {
		digits[--i] = (char)('0' + left % 10);
		left /= 10;
	} while (left);
	if (n < 0)
		digits[--i] = '-';
	text_add(t, digits + i);
}

static void key(struct text *t, const char *name)
{
	text_add(t, "\"");
	text_add(t, name);
	text_add(t, "\":");
}

/* Ends a list or object: takes the comma after the last member back. */
static void end(struct text *t, const char *with)
{
	if (t->length && t->length < t->size && t->at[t->length - 1] == ',')
		t->length--;
	text_add(t, with);
}

void text_field(struct text *t, const char *name, int64_t n)
{
	key(t, name);
	text_number(t, n);
	text_add(t, ",");
}

static void word(struct text *t, const char *name, const char *value)
{
	key(t, name);
	text_add(t, "\"");
	text_add(t, value);
	text_add(t, "\",");
}

static void sums(struct text *t, const struct pulse_report *r, const struct pulse_cpu *cpus)
{
	uint64_t dirtied = 0, verified = 0, passes = UINT64_MAX;

	for (uint32_t i = 0; i < r->cpus; i++) {
		dirtied += cpus[i].dirtied;
		verified += cpus[i].verified;
		if (cpus[i].owned && cpus[i].passes < passes)
			passes = cpus[i].passes;
	}
	text_field(t, "dirtied", (int64_t)dirtied);
	text_field(t, "verified", (int64_t)verified);
	text_field(t, "passes", passes == UINT64_MAX ? 0 : (int64_t)passes);
}

static void gaps(struct text *t, const struct pulse_cpu *cpu)
{
	text_field(t, "beats", (int64_t)cpu->beats);
	text_field(t, "gaps", (int64_t)cpu->gaps);
	text_field(t, "gap_ns", (int64_t)cpu->gap_ns);
	key(t, "largest");
	text_add(t, "[");
	for (int i = 0; i < GAPS_SHOWN && cpu->top[i].number; i++) {
		text_add(t, "{");
		text_field(t, "ns", (int64_t)cpu->top[i].ns);
		text_field(t, "tsc", (int64_t)cpu->top[i].tsc);
		text_field(t, "cause", cpu->top[i].cause);
		end(t, "},");
	}
	end(t, "],");
}

static void faults(struct text *t, const struct pulse_report *r)
{
	text_field(t, "faults", (int64_t)r->faults);
	if (!r->faults)
		return;
	key(t, "first_fault");
	text_add(t, "{");
	text_field(t, "gpa", (int64_t)r->fault[0].gpa);
	word(t, "kind", kinds[r->fault[0].kind % 7]);
	end(t, "},");
}

static void clocks(struct text *t, const struct pulse_report *r)
{
	text_field(t, "tsc_hz", (int64_t)r->tsc_hz);
	text_field(t, "mono_ns", (int64_t)r->mono_ns);
	text_field(t, "wall_ns", (int64_t)r->wall_ns);
	text_field(t, "tsc_mono_ns", r->tsc_mono_ns);
	text_field(t, "wall_mono_ns", r->wall_mono_ns);
}

static const char *const device_kinds[] = {"", "blk", "net", "balloon"};

static void devices(struct text *t, const struct pulse_report *r)
{
	for (int i = 0; i < PULSE_DEVICES; i++) {
		const struct pulse_device *d = &r->device[i];

		if (!d->kind)
			continue;
		key(t, device_kinds[d->kind % 4]);
		text_add(t, "{");
		text_field(t, "state", d->state);
		text_field(t, "out", (int64_t)d->out);
		text_field(t, "in", (int64_t)d->in);
		text_field(t, "bad", (int64_t)d->bad);
		text_field(t, "lost", (int64_t)d->lost);
		text_field(t, "longest_ns", (int64_t)d->longest_ns);
		end(t, "},");
	}
}

void text_report(struct text *t, const struct pulse_report *r, const struct pulse_cpu *cpus)
{
	text_add(t, "{");
	text_field(t, "pulse", r->version);
	word(t, "state", states[r->state % 6]);
	text_field(t, "cpus", r->cpus);
	text_field(t, "ram", (int64_t)r->ram_bytes);
	clocks(t, r);
	gaps(t, &cpus[0]);
	sums(t, r, cpus);
	text_field(t, "verify_done", (int64_t)r->verify_done);
	faults(t, r);
	devices(t, r);
	end(t, "}\n");
}
