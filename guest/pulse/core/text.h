/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PULSE_CORE_TEXT_H
#define PULSE_CORE_TEXT_H

#include <stddef.h>

#include "../report.h"

/**
 * struct text - A line being written
 * @at:		Buffer
 * @size:	Its size; what doesn't fit is dropped
 * @length:	Written so far
 */
struct text {
	char *at;
	size_t size;
	size_t length;
};

/**
 * text_add() - Append a string
 * @t:	Line
 * @s:	String
 */
void text_add(struct text *t, const char *s);

/**
 * text_number() - Append a decimal number
 * @t:	Line
 * @n:	Number
 */
void text_number(struct text *t, int64_t n);

/**
 * text_field() - Append `"name":number,`
 * @t:		Line
 * @name:	Key
 * @n:		Value
 */
void text_field(struct text *t, const char *name, int64_t n);

/**
 * text_report() - Append the report as one line of JSON, with its newline
 * @t:	Line
 * @r:	Header
 * @cpus: The vCPU blocks, @r->cpus of them
 *
 * Sums over all vCPUs, the boot vCPU's gaps; tools/pulse-report tells more.
 */
void text_report(struct text *t, const struct pulse_report *r, const struct pulse_cpu *cpus);

#endif
