/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * All parameters stand in one table: name, how the value is read, where it goes, what holds without
 * it. Nothing of the C library is used, since the freestanding forms have none.
 */
#include <stddef.h>

#include "args.h"
#include "page.h"

/* How a value is read. */
enum kind { NUMBER, SIZE, RATE, CHOICE, ADDRESS, EXIT };

struct parameter {
	const char *name;
	enum kind kind;
	size_t at;
	uint64_t fallback;
	const char *choices; /* CHOICE: names, separated by blanks, in the order of the enum */
};

#define PARAM(name, kind, member, fallback)                               \
	{                                                                 \
		name, kind, offsetof(struct args, member), fallback, NULL \
	}
#define PARAM_CHOICE(name, member, fallback, choices)                          \
	{                                                                      \
		name, CHOICE, offsetof(struct args, member), fallback, choices \
	}

static const struct parameter parameters[] = {
	PARAM("cpus", NUMBER, cpus, 0),
	PARAM("rate", RATE, rate, 256),
	PARAM("writers", NUMBER, writers, 0),
	PARAM("verify", RATE, verify, 256),
	PARAM("ws", SIZE, working, 4 << 20),
	PARAM("gap_ns", NUMBER, gap_ns, 100000),
	PARAM("poll_us", NUMBER, poll_us, 10000),
	PARAM("report", NUMBER, report_ms, 0),
	PARAM("wall", NUMBER, wall_ms, 1000),
	PARAM("tsc_hz", NUMBER, tsc_hz, 0),
	PARAM("seconds", NUMBER, seconds, 0),
	PARAM("exit", EXIT, exit, EXIT_AUTO),
	PARAM("exit_code", NUMBER, exit_code, 0),
	PARAM("blk", NUMBER, blk, 0),
	PARAM("blk_size", SIZE, blk_bytes, 16 << 20),
	PARAM("balloon", SIZE, balloon, 0),
	PARAM("net", NUMBER, net, 0),
	PARAM("net_rate", NUMBER, net_rate, 1000),
	PARAM("ip", ADDRESS, net_ip, 0),
	PARAM_CHOICE("pattern", pattern, PATTERN_SEQ, "seq random hotcold"),
	PARAM_CHOICE("content", content, PAGE_RANDOM, "random text zero"),
	PARAM_CHOICE("fill", fill, FILL_NONE, "none random text zero half same"),
	PARAM_CHOICE("beat", beat, BEAT_BOOT, "boot all"),
	PARAM_CHOICE("idle", idle, IDLE_HALT, "halt spin"),
	PARAM_CHOICE("serial", serial, 1, "off on"),
};

#define COUNT (sizeof(parameters) / sizeof(parameters[0]))

static bool ends(char c)
{
	return !c || c == ' ' || c == '\t' || c == '\n';
}

/* Length of @name when @word is "name=", else 0. */
static size_t match(const char *word, const char *name)
{
	size_t n = 0;

	while (name[n] && word[n] == name[n])
		n++;
	return !name[n] && word[n] == '=' ? n + 1 : 0;
}

static bool is_word(const char *s, const char *word)
{
	size_t n = 0;

	while (word[n] && s[n] == word[n])
		n++;
	return !word[n] && ends(s[n]);
}

/* Reads a decimal or 0x number; *s moves behind it. */
static bool number(const char **s, uint64_t *value)
{
	const char *from = *s;
	unsigned int base = 10;

	*value = 0;
	if (from[0] == '0' && (from[1] == 'x' || from[1] == 'X')) {
		base = 16;
		from += 2;
	}
	for (*s = from;; (*s)++) {
		char c = **s;
		unsigned int digit = c >= '0' && c <= '9'   ? (unsigned int)(c - '0')
				     : c >= 'a' && c <= 'f' ? (unsigned int)(c - 'a' + 10)
							    : 99;

		if (digit >= base)
			return *s != from;
		*value = *value * base + digit;
	}
}

static bool suffixed(const char **s, uint64_t *value)
{
	unsigned int shift;

	if (!number(s, value))
		return false;
	shift = **s == 'G' ? 30 : **s == 'M' ? 20 : **s == 'K' ? 10 : 0;
	if (shift)
		(*s)++;
	*value <<= shift;
	return true;
}

static bool size(const char *s, uint64_t *value)
{
	if (is_word(s, "all")) {
		*value = SIZE_ALL;
		return true;
	}
	return suffixed(&s, value) && ends(*s);
}

/* "off", "max" or 0, bytes per second ("100M"), or pages per second ("500p"); kept as pages per
 * second. */
static bool rate(const char *s, uint64_t *value)
{
	uint64_t n;

	if (is_word(s, "off") || is_word(s, "max")) {
		*value = *s == 'o' ? RATE_OFF : RATE_MAX;
		return true;
	}
	if (!suffixed(&s, &n))
		return false;
	if (*s == 'p' && ends(s[1])) {
		*value = n;
		return true;
	}
	*value = (n + PAGE_BYTES - 1) / PAGE_BYTES;
	return ends(*s);
}

static bool choice(const char *s, const char *choices, uint64_t *value)
{
	for (*value = 0; *choices; (*value)++) {
		size_t n = 0;

		while (!ends(choices[n]))
			n++;
		size_t same = 0;

		while (same < n && s[same] == choices[same])
			same++;
		if (same == n && ends(s[n]))
			return true;
		choices += n;
		while (*choices == ' ')
			choices++;
	}
	return false;
}

static bool address(const char *s, uint64_t *value)
{
	uint64_t ip = 0, part;

	for (int i = 0; i < 4; i++) {
		if (!number(&s, &part) || part > 255 || (i < 3 && *s++ != '.'))
			return false;
		ip = ip << 8 | part;
	}
	*value = ip;
	return ends(*s);
}

/* "auto", "acpi", "reset", "halt", or the I/O port of an isa-debug-exit device. */
static bool exit_way(const char *s, struct args *a)
{
	if (choice(s, "auto debug acpi reset halt", &a->exit))
		return a->exit != EXIT_DEBUG;
	a->exit = EXIT_DEBUG;
	return number(&s, &a->exit_port) && ends(*s);
}

static bool read_value(const struct parameter *p, struct args *a, const char *s)
{
	uint64_t *value = (uint64_t *)((char *)a + p->at);

	switch (p->kind) {
	case SIZE: return size(s, value);
	case RATE: return rate(s, value);
	case CHOICE: return choice(s, p->choices, value);
	case ADDRESS: return address(s, value);
	case EXIT: return exit_way(s, a);
	default: return number(&s, value) && ends(*s);
	}
}

static const struct parameter *find(const char *word, size_t *skip)
{
	for (size_t i = 0; i < COUNT; i++) {
		*skip = match(word, parameters[i].name);
		if (*skip)
			return &parameters[i];
	}
	return NULL;
}

void args_default(struct args *a)
{
	*a = (struct args){.exit_port = 0xf4};
	for (size_t i = 0; i < COUNT; i++)
		*(uint64_t *)((char *)a + parameters[i].at) = parameters[i].fallback;
}

bool args_known(const char *word)
{
	size_t skip;

	return find(word, &skip) != NULL;
}

const char *args_parse(struct args *a, const char *line)
{
	const char *bad = NULL;

	while (*line) {
		size_t skip;
		const struct parameter *p = find(line, &skip);

		if (p && !read_value(p, a, line + skip) && !bad)
			bad = line;
		while (!ends(*line))
			line++;
		while (*line && ends(*line))
			line++;
	}
	return bad;
}
