/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_Q35_BOOT_ORDER_H
#define MACHINE_Q35_BOOT_ORDER_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct device;
struct q35;

/**
 * struct q35_boot_config - -boot; all borrowed
 * @order:	Letters of drive kinds in CMOS, for firmware that asks there; NULL: "cad"
 * @once:	The same for the first start only; NULL: as @order
 * @splash:	Picture that the firmware shows, a file; NULL: none
 * @splash_ms:	How long; -1: the firmware's own default
 * @reboot_ms:	Wait after a boot that failed; -1: for ever
 * @menu:	The firmware offers a menu
 * @strict:	Nothing else is tried than what has a bootindex
 */
struct q35_boot_config {
	const char *order, *once, *splash;
	int64_t splash_ms, reboot_ms;
	bool menu, strict;
};

/* What the firmware finds in CMOS and fw_cfg of @c. */
MUST_CHECK int q35_boot_order_fill(struct q35 *q, const struct q35_boot_config *c, struct err *e);
/* Names the devices with a bootindex for the firmware; for the first start and after each reset. */
MUST_CHECK int q35_boot_order_update(struct q35 *q, struct err *e);
/* EEXIST: another device has the bootindex of @dev. */
MUST_CHECK int q35_boot_order_check(struct q35 *q, const struct device *dev, struct err *e);
/* The machine was reset: "once" is over. */
void q35_boot_order_reset(struct q35 *q);

#endif
