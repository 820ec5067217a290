/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the hot paths, each called once on a fixed input in a function of its own,
 * whose instructions callgrind counts (bench/guard/run starts it so). The code is compiled for this
 * program with options of its own (bench/meson.build), so no build folder changes a count.
 *
 *	guard			all cases
 *	guard NAME...		some
 *	guard --list		the compiler, then names and operations, one case a line
 */
#include "guard/guard.h"

#include "base/compiler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(x)  #x
#define VALUE(x) TEXT(x)
#ifdef __clang__
#define COMPILER "clang-" VALUE(__clang_major__) "." VALUE(__clang_minor__)
#else
#define COMPILER "gcc-" VALUE(__GNUC__) "." VALUE(__GNUC_MINOR__)
#endif

static const struct guard_case *const groups[] = {pages_cases, state_cases, queue_cases};

/**
 * guard_must() - End the program unless something holds
 * @ok:		What must be true
 * @what:	Said when it isn't
 */
void guard_must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "guard: %s\n", what);
	exit(1);
}

static int wanted(const char *name, int argc, char **argv)
{
	if (argc < 2)
		return 1;
	for (int i = 1; i < argc; i++)
		if (!strcmp(name, argv[i]))
			return 1;
	return 0;
}

static void run(const struct guard_case *c)
{
	c->prepare();
	c->count();
	c->check();
}

int main(int argc, char **argv)
{
	int list = argc == 2 && !strcmp(argv[1], "--list"), done = 0;

	if (list)
		puts(COMPILER);
	for (size_t g = 0; g < ARRAY_SIZE(groups); g++) {
		for (const struct guard_case *c = groups[g]; c->name; c++) {
			if (list)
				printf("%s %u\n", c->name, c->operations);
			else if (wanted(c->name, argc, argv)) {
				run(c);
				done++;
			}
		}
	}
	guard_must(list || done >= argc - 1, "no case of that name; see guard --list");
	return 0;
}
