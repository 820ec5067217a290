/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_SECRET_H
#define VMM_SECRET_H

#include "vmm/q35/guest.h"

/* What an object "secret" holds; a zero byte is behind it. The caller's: secret_forget(). */
MUST_CHECK int secret_read(const struct guest *g, const char *id, uint8_t **ret, size_t *ret_len,
			   struct err *e);
void secret_forget(uint8_t **bytes, size_t len); /* may be NULL */

#endif
