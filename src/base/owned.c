/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: small allocations can't be refused in a way anyone could act on (Linux
 * overcommits), so these four end the process with a message instead of returning NULL. Anything
 * whose size a guest, a stream or a user chooses (guest RAM, bitmaps, device buffers) is allocated
 * elsewhere and checked.
 */
#include "base/owned.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void *checked(void *p)
{
	if (!p) {
		fputs("outlive: out of memory\n", stderr);
		abort();
	}
	return p;
}

/**
 * mem_zalloc() - Allocate zeroed memory of a size fixed by the program
 * @size:	Bytes
 *
 * Return: never NULL; the caller frees it
 */
void *mem_zalloc(size_t size)
{
	return checked(calloc(1, size ? size : 1));
}

/**
 * mem_calloc() - Allocate a zeroed array of a size fixed by the program
 * @n:		Elements
 * @size:	Bytes of one
 *
 * Return: never NULL; the caller frees it
 */
void *mem_calloc(size_t n, size_t size)
{
	return checked(calloc(n ? n : 1, size ? size : 1));
}

/**
 * mem_realloc() - Change the size of an allocation that the program bounds
 * @p:		From one of these functions, or NULL
 * @size:	Bytes; what is new isn't zeroed
 *
 * Return: never NULL; the caller frees it
 */
void *mem_realloc(void *p, size_t size)
{
	return checked(realloc(p, size ? size : 1));
}

/**
 * str_dup() - Copy a string
 * @s:		May be NULL
 *
 * Return: NULL for NULL; the caller frees it
 */
char *str_dup(const char *s)
{
	return s ? checked(strdup(s)) : NULL;
}

/**
 * str_printf() - Format into new memory
 * @fmt:	As printf(3)
 *
 * Return: never NULL; the caller frees it
 */
char *str_printf(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	return checked(s);
}

/**
 * page_size() - The host's page size
 *
 * Return: bytes
 */
size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}
