/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_BOOT_H
#define BASE_BOOT_H

enum { BOOT_ID_BYTES = 40 };

/* Which boot of which host this is: 36 characters, zeros behind them; all zeros: nobody knows. */
void boot_id(char ret[BOOT_ID_BYTES]);

#endif
