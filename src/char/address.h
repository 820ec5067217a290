/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHAR_ADDRESS_H
#define CHAR_ADDRESS_H

#include "base/keyval.h"

#include <stdbool.h>

enum { ADDRESS_BACKLOG = 1 }; /* clients that wait while another one is served */

MUST_CHECK int address_check(const json_t *options, struct err *e);
MUST_CHECK int address_listen(const json_t *options, int *ret_fd, struct err *e);
/* *ret_fd may still be connecting: writable when done, address_connected() tells the result. */
MUST_CHECK int address_connect(const json_t *options, int *ret_fd, struct err *e);
/* From the @at-th address of a name on; then @at is where to go on, 0: that was the last. */
MUST_CHECK int address_connect_next(const json_t *options, unsigned int *at, int *ret_fd,
				    struct err *e);
MUST_CHECK int address_connected(int fd, struct err *e);
char *address_name(int fd, bool peer);
json_t *address_describe(int fd);
char *address_text(const json_t *options);
bool address_is_unix(int fd);

#endif
