/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_SCM_H
#define BASE_SCM_H

#include "base/compiler.h"

#include <stddef.h>
#include <sys/types.h>

#define SCM_FDS_MAX 253 /* SCM_MAX_FD of Linux */

ssize_t scm_send(int sock, const void *buf, size_t len, const int *fds, size_t fds_len);
ssize_t scm_recv(int sock, void *buf, size_t len, int *fds, size_t *fds_len);

#endif
