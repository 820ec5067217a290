/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The parts that all forms of the witness share, as a program of its own: what a page must be to
 * be called lost, stale, torn and so on; buckets of gaps; parameters; the line of JSON. What needs
 * a guest is in tests/native.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../core/text.h"
#include "../core/witness.h"

static const struct page_name name = {.page = 0x1234, .seq = 7, .life = 0xfeed};

/** struct pages - Pages to compare */
struct pages {
	uint64_t now[PAGE_WORDS];
	uint64_t other[PAGE_WORDS];
};

static struct pages p;

static struct page_name other_name(uint64_t page, uint64_t seq, uint64_t life)
{
	return (struct page_name){.page = page, .seq = seq, .life = life};
}

static struct pulse_fault judge(const uint64_t *page)
{
	struct pulse_fault fault = {0};
	bool good = page_verify(page, &name, &fault);

	assert_int_equal(good, fault.kind == 0);
	return fault;
}

static void page_as_written_is_good(void **state)
{
	for (int content = PAGE_RANDOM; content <= PAGE_ZERO; content++) {
		page_write(p.now, &name, content);
		assert_int_equal(judge(p.now).kind, 0);
	}
}

static void page_of_earlier_write_is_stale_and_of_later_ahead(void **state)
{
	struct page_name other = other_name(name.page, 6, name.life);

	page_write(p.now, &other, PAGE_TEXT);
	assert_int_equal(judge(p.now).kind, PULSE_STALE);
	assert_int_equal(judge(p.now).found_seq, 6);
	other.seq = 8;
	page_write(p.now, &other, PAGE_RANDOM);
	assert_int_equal(judge(p.now).kind, PULSE_AHEAD);
}

static void page_of_other_number_is_misplaced(void **state)
{
	struct page_name other = other_name(0x999, 7, name.life);

	page_write(p.now, &other, PAGE_RANDOM);
	assert_int_equal(judge(p.now).kind, PULSE_MISPLACED);
	assert_int_equal(judge(p.now).found_page, 0x999);
}

static void page_of_other_life_or_without_content_is_lost(void **state)
{
	struct page_name other = other_name(name.page, 7, 0xbeef);

	page_write(p.now, &other, PAGE_RANDOM);
	assert_int_equal(judge(p.now).kind, PULSE_LOST);
	memset(p.now, 0, sizeof(p.now));
	assert_int_equal(judge(p.now).kind, PULSE_LOST);
}

/* Each cut at a word, both ways round. */
static void page_of_two_writes_is_torn_at_the_cut(void **state)
{
	struct page_name other = other_name(name.page, 5, name.life);

	page_write(p.other, &other, PAGE_RANDOM);
	for (unsigned int cut = PAGE_HEAD_WORDS; cut < PAGE_WORDS; cut++) {
		page_write(p.now, &name, PAGE_RANDOM);
		memcpy(p.now + cut, p.other + cut, (PAGE_WORDS - cut) * 8);
		assert_int_equal(judge(p.now).kind, PULSE_TORN);
		assert_int_equal(judge(p.now).offset, cut * 8);
		page_write(p.now, &name, PAGE_RANDOM);
		memcpy(p.now, p.other, cut * 8);
		assert_int_equal(judge(p.now).kind, PULSE_TORN);
	}
}

static void every_flipped_bit_is_found(void **state)
{
	page_write(p.now, &name, PAGE_RANDOM);
	for (unsigned int bit = 0; bit < PAGE_BYTES * 8; bit++) {
		p.now[bit / 64] ^= 1ull << bit % 64;
		assert_int_not_equal(judge(p.now).kind, 0);
		if (bit / 64 >= PAGE_HEAD_WORDS)
			assert_int_equal(judge(p.now).offset, bit / 64 * 8);
		p.now[bit / 64] ^= 1ull << bit % 64;
	}
	assert_int_equal(judge(p.now).kind, 0);
}

static void buckets_hold_what_their_edges_say(void **state)
{
	for (unsigned int b = 1; b < PULSE_BUCKETS; b++) {
		uint64_t edge = beat_bucket_ns(b);

		assert_true(edge > beat_bucket_ns(b - 1));
		assert_int_equal(beat_bucket(edge), b);
		assert_int_equal(beat_bucket(edge - 1), b - 1);
	}
	assert_int_equal(beat_bucket(0), 0);
	assert_int_equal(beat_bucket(UINT64_MAX), PULSE_BUCKETS - 1);
}

static void ticks_and_nanoseconds_agree(void **state)
{
	struct clock clock;

	clock_set(&clock, 2596120000);
	for (uint64_t ns = 1; ns < 1000000000000000; ns *= 10) {
		uint64_t back = clock_ns(&clock, clock_ticks(&clock, ns));

		assert_true(back <= ns + 1 && ns - back <= 2 + ns / 1000000000);
	}
}

static void parameters_are_read_and_bad_ones_named(void **state)
{
	struct args a;

	args_default(&a);
	assert_int_equal(a.working, 4 << 20);
	assert_null(args_parse(&a, "console=ttyS0 ws=2G rate=100M verify=off pattern=hotcold "
				   "fill=half exit=0x501 ip=10.0.0.2 gap_ns=5000"));
	assert_int_equal(a.working, 2ull << 30);
	assert_int_equal(a.rate, 25600);
	assert_int_equal(a.verify, RATE_OFF);
	assert_int_equal(a.pattern, PATTERN_HOTCOLD);
	assert_int_equal(a.fill, FILL_HALF);
	assert_int_equal(a.exit, EXIT_DEBUG);
	assert_int_equal(a.exit_port, 0x501);
	assert_int_equal(a.net_ip, 0x0a000002);
	assert_null(args_parse(&a, "rate=500p exit=acpi"));
	assert_int_equal(a.rate, 500);
	assert_int_equal(a.exit, EXIT_ACPI);
	assert_null(args_parse(&a, "rate=0"));
	assert_int_equal(a.rate, RATE_MAX);
	assert_string_equal(args_parse(&a, "ws=4M fill=hal beat=all"), "fill=hal beat=all");
	assert_string_equal(args_parse(&a, "ip=1.2.3.456"), "ip=1.2.3.456");
	assert_string_equal(args_parse(&a, "rate=5x"), "rate=5x");
	assert_true(args_known("ws=1"));
	assert_false(args_known("wsx=1"));
}

static void report_line_is_one_object(void **state)
{
	static struct pulse_report report = {.version = 1, .state = PULSE_RUNNING, .cpus = 1};
	static struct pulse_cpu cpu = {.beats = 5, .top = {{.number = 1, .ns = 7}}};
	char line[2048];
	struct text t = {.at = line, .size = sizeof(line) - 1};

	text_report(&t, &report, &cpu);
	line[t.length] = 0;
	assert_true(strstr(line, "{\"pulse\":1,\"state\":\"running\",") == line);
	assert_non_null(strstr(line, "\"largest\":[{\"ns\":7,\"tsc\":0,\"cause\":0}],"));
	assert_string_equal(strrchr(line, ','), ",\"faults\":0}\n");
}

static void line_that_does_not_fit_is_cut_not_overrun(void **state)
{
	char line[16];
	struct text t = {.at = line, .size = 8};

	memset(line, 'x', sizeof(line));
	text_field(&t, "a", -1234567890123);
	assert_int_equal(t.length, 8);
	assert_memory_equal(line, "\"a\":-123xxxxxxxx", 16);
}

static void gap_over_the_threshold_is_listed_with_its_cause(void **state)
{
	static struct pulse_cpu cpu;
	struct clock clock;
	struct beat b = {.out = &cpu, .clock = &clock};

	clock_set(&clock, 1000000000);
	beat_start(&b, 1000000);
	b.last -= 5000000; /* as if the clock had jumped */
	beat(&b, PULSE_DID_DIRTY);
	b.last -= 9000000;
	beat(&b, 0);
	assert_int_equal(cpu.gaps, 2);
	assert_in_range(cpu.top[0].ns, 9000000, 9900000);
	assert_in_range(cpu.top[1].ns, 5000000, 5900000);
	assert_int_equal(cpu.top[1].cause, PULSE_DID_DIRTY);
	assert_int_equal(cpu.recent[1].number, 1);
	b.last += 1000000000;
	beat(&b, 0);
	assert_int_equal(cpu.tsc_back, 1);
	beat_reset(&b);
	assert_int_equal(cpu.gaps + cpu.top[0].number + cpu.recent[1].number, 0);
	assert_int_equal(cpu.lock % 2, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(page_as_written_is_good),
		cmocka_unit_test(page_of_earlier_write_is_stale_and_of_later_ahead),
		cmocka_unit_test(page_of_other_number_is_misplaced),
		cmocka_unit_test(page_of_other_life_or_without_content_is_lost),
		cmocka_unit_test(page_of_two_writes_is_torn_at_the_cut),
		cmocka_unit_test(every_flipped_bit_is_found),
		cmocka_unit_test(buckets_hold_what_their_edges_say),
		cmocka_unit_test(ticks_and_nanoseconds_agree),
		cmocka_unit_test(parameters_are_read_and_bad_ones_named),
		cmocka_unit_test(report_line_is_one_object),
		cmocka_unit_test(line_that_does_not_fit_is_cut_not_overrun),
		cmocka_unit_test(gap_over_the_threshold_is_listed_with_its_cause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
