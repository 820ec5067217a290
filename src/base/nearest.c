/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: "did you mean". The edit distance of Levenshtein, on one row of the usual
 * matrix, picks the known word that takes the fewest changes; a word that would have to be changed
 * by more than a third is no suggestion. A word that was cut short is one change away.
 */
#include "base/nearest.h"

#include <errno.h>
#include <string.h>

#define WORD_MAX 64 /* longer words get no suggestion */
#define CUT_MIN  3  /* shorter ones begin too many */

static size_t distance(const char *a, const char *b)
{
	size_t row[WORD_MAX + 1];
	size_t len = strlen(b);

	for (size_t j = 0; j <= len; j++)
		row[j] = j;
	for (size_t i = 0; a[i]; i++) {
		size_t diagonal = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < len; j++) {
			size_t changed = diagonal + (a[i] != b[j]);
			size_t moved;

			diagonal = row[j + 1];
			moved = MIN(diagonal, row[j]) + 1;
			row[j + 1] = MIN(changed, moved);
		}
	}
	return row[len];
}

/**
 * nearest() - The known word that is most like what was written
 * @word:	What was written
 * @table:	Passed to @name
 * @name:	Word number @index of the table, NULL behind the last
 *
 * Return: borrowed from the table, or NULL if nothing is near
 */
const char *nearest(const char *word, const void *table, nearest_name_fn *name)
{
	size_t best = strlen(word) / 3 + 2;
	const char *found = NULL;
	const char *known;

	if (strlen(word) > WORD_MAX)
		return NULL;
	for (size_t i = 0; (known = name(table, i)); i++) {
		size_t d = strlen(known) > WORD_MAX ? best : distance(word, known);

		if (strlen(word) >= CUT_MIN && !strncmp(known, word, strlen(word)))
			d = MIN(d, 1U);
		if (d < best) {
			best = d;
			found = known;
		}
	}
	return found;
}

static const char *string_at(const void *table, size_t index)
{
	return ((const char *const *)table)[index];
}

/**
 * nearest_string() - As nearest(), among plain strings
 * @word:	What was written
 * @words:	NULL-terminated
 *
 * Return: borrowed, or NULL if nothing is near
 */
const char *nearest_string(const char *word, const char *const *words)
{
	return nearest(word, words, string_at);
}

/**
 * err_nearest() - Put "did you mean" behind a recorded error
 * @e:		Set by err_set(); may be NULL
 * @suggestion:	From nearest(); NULL adds nothing
 *
 * Return: -@e->code (-EIO without @e)
 */
int err_nearest(struct err *e, const char *suggestion)
{
	if (suggestion)
		return err_hint(e, "did you mean '%s'?", suggestion);
	return e ? -e->code : -EIO;
}
