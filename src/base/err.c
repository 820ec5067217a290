/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the return value says that something failed and which errno it was; struct
 * err says what happened in words. The first cause is written once (err_set, err_sys); callers on
 * the way up put their place in front of it (err_in: "virtio-blk 0000:00:02.0: ...") or a remedy
 * behind it (err_hint). It is printed once, by whoever took the request: main(), a QMP command, the
 * runner of a job.
 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/**
 * err_set() - Record the first cause
 * @e:		Filled in; may be NULL
 * @code:	Positive errno
 * @fmt:	One line, no newline
 *
 * Return: -@code, so that "return err_set(...)" reads well
 */
int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (e) {
		e->code = code;
		va_start(ap, fmt);
		vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
		va_end(ap);
	}
	return -code;
}

PRINTF(3, 0)
static int record(struct err *e, int code, const char *fmt, va_list ap)
{
	size_t n;

	if (!e)
		return -code;
	e->code = code;
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	n = strlen(e->msg);
	snprintf(e->msg + n, sizeof(e->msg) - n, ": %s", strerror(code));
	return -code;
}

/**
 * err_sys() - Record a failed system call
 * @e:		Filled in; may be NULL
 * @fmt:	What was tried; strerror(errno) is added behind it
 *
 * Return: -errno as it was at the call; -EIO should errno be 0
 */
int err_sys(struct err *e, const char *fmt, ...)
{
	int code = errno ? errno : EIO;
	va_list ap;

	va_start(ap, fmt);
	code = record(e, code, fmt, ap);
	va_end(ap);
	return code;
}

/**
 * err_ret() - Record the failure of a library call that returns a negative errno (sd-event,
 * io_uring)
 * @e:		Filled in; may be NULL
 * @ret:	What the call returned, negative
 * @fmt:	What was tried; strerror(-@ret) is added behind it
 *
 * Return: @ret
 */
int err_ret(struct err *e, int ret, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	ret = record(e, -ret, fmt, ap);
	va_end(ap);
	return ret;
}

/**
 * err_in() - Put the place in front of a recorded cause
 * @e:		Set by the callee that failed; may be NULL
 * @fmt:	The place, without a colon
 *
 * Return: -@e->code (-EIO without @e)
 */
int err_in(struct err *e, const char *fmt, ...)
{
	char cause[sizeof(e->msg)];
	size_t n;
	va_list ap;

	if (!e)
		return -EIO;
	memcpy(cause, e->msg, sizeof(cause));
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	n = strlen(e->msg);
	snprintf(e->msg + n, sizeof(e->msg) - n, ": %.*s", (int)(sizeof(cause) - 1), cause);
	return -e->code;
}

/**
 * err_hint() - Put the remedy behind a recorded cause
 * @e:		Set by the callee that failed; may be NULL
 * @fmt:	What the operator can do, without a final full stop
 *
 * Return: -@e->code (-EIO without @e)
 */
int err_hint(struct err *e, const char *fmt, ...)
{
	size_t n;
	va_list ap;

	if (!e)
		return -EIO;
	n = strlen(e->msg);
	n += (size_t)snprintf(e->msg + n, sizeof(e->msg) - n, " (");
	if (n >= sizeof(e->msg))
		return -e->code;
	va_start(ap, fmt);
	vsnprintf(e->msg + n, sizeof(e->msg) - n, fmt, ap);
	va_end(ap);
	n = strlen(e->msg);
	snprintf(e->msg + n, sizeof(e->msg) - n, ")");
	return -e->code;
}
