/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/compiler.h"

/**
 * struct err - The story of a failure, carried by value
 * @code:	Positive errno of the first cause
 * @msg:	One line for the operator, without a final newline
 *
 * Lives on the stack of whoever will report it. A function that fails returns -errno and has
 * set it; a function that succeeds leaves it alone. Every function here takes NULL for "nobody
 * asks".
 */
struct err {
	int code;
	char msg[512];
};

int err_set(struct err *e, int code, const char *fmt, ...) PRINTF(3, 4);
int err_sys(struct err *e, const char *fmt, ...) PRINTF(2, 3);
int err_ret(struct err *e, int ret, const char *fmt, ...) PRINTF(3, 4);
int err_in(struct err *e, const char *fmt, ...) PRINTF(2, 3);
int err_hint(struct err *e, const char *fmt, ...) PRINTF(2, 3);

#endif
