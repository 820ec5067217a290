/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_OPTION_H
#define BASE_OPTION_H

#include "base/err.h"
#include "base/keyval.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/**
 * enum option_kind - Type of an option's value
 */
enum option_kind {
	OPTION_END,
	OPTION_STRING,
	OPTION_BOOL,   /* JSON true/false; in key=value: on/off, yes/no, true/false */
	OPTION_INT,    /* 64 bit, decimal or 0x; bounds apply if @max > @min */
	OPTION_SIZE,   /* bytes; in key=value with suffixes k, M, G, T, P, E */
	OPTION_ENUM,   /* one of @names; kept as a string */
	OPTION_OBJECT, /* members as in @fields */
	OPTION_ANY,    /* not looked into */
};

/**
 * struct option - One row of an option table: check, help, QMP schema and docs come from it
 * @name:	In QEMU's spelling; the table is closed by OPTIONS_END
 * @kind:	Type
 * @help:	One line
 * @required:	Must be given
 * @list:	An array of @kind; in key=value: the key may come several times
 * @names:	OPTION_ENUM: NULL-terminated
 * @fields:	OPTION_OBJECT: its table
 * @type:	Name of the object or enum type in the QMP schema; NULL: made from the place
 * @unit:	OPTION_SIZE: bytes per unit of a number without suffix; 0: 1
 * @min, @max:	OPTION_INT: accepted range, if @max > @min
 */
struct option {
	const char *name;
	enum option_kind kind;
	const char *help;
	bool required, list;
	const char *const *names;
	const struct option *fields;
	const char *type;
	uint64_t unit;
	int64_t min, max;
};

#define OPTIONS_END                \
	{                          \
		.kind = OPTION_END \
	}

/**
 * enum option_form - Where values came from
 */
enum option_form {
	OPTION_TEXT = 1, /* key=value: strings are converted to the row's type */
	OPTION_JSON,   /* on the command line: typed, but numbers and booleans may be strings too */
	OPTION_STRICT, /* QMP: exactly the row's type */
};

const struct option *option_find(const struct option *table, const char *name);
const char *option_nearest(const struct option *table, const char *name);
MUST_CHECK int option_check(const struct option *table, const json_t *in, enum option_form form,
			    json_t **ret, struct err *e);
const char *option_kind_name(const struct option *o);
void option_help(FILE *out, const struct option *table);
MUST_CHECK int option_parse_size(const char *text, uint64_t unit, uint64_t *ret);
MUST_CHECK int option_parse_bool(const char *text, bool *ret);

/*
 * What a checked object holds; the default if it isn't there. Strings are borrowed from the object.
 */
const char *option_str(const json_t *o, const char *name, const char *def);
bool option_bool(const json_t *o, const char *name, bool def);
int64_t option_int(const json_t *o, const char *name, int64_t def);

#endif
