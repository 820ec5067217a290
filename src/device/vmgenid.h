/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_VMGENID_H
#define DEVICE_VMGENID_H

#include "device/device.h"

/* Names of the fw_cfg files, QEMU's. */
#define VMGENID_GUID_FILE   "etc/vmgenid_guid"
#define VMGENID_ADDR_FILE   "etc/vmgenid_addr"

#define VMGENID_PAGE_BYTES  4096
#define VMGENID_GUID_OFFSET 40 /* in the page, behind what could be taken for an ACPI header */

/**
 * struct vmgenid_state - What the guest can see, as QEMU's section "vmgenid" has it
 * @addr:	Guest address of the 16 bytes, little-endian, as firmware wrote it; 0: not yet
 */
struct vmgenid_state {
	uint8_t addr[8];
};

/**
 * struct vmgenid - Tells the guest that it goes on from a moment it has been at before
 * @s:		fw_cfg file VMGENID_ADDR_FILE shows @s.addr
 * @guid:	The generation id in the order of its text; all zero before realize: draw one
 * @drawn:	Nobody gave @guid: a new one is drawn each time the guest is taken back
 * @shown:	The guest has run with @guid
 * @page:	fw_cfg file VMGENID_GUID_FILE, which firmware copies to guest memory
 */
struct vmgenid {
	struct device dev;
	struct vmgenid_state s;
	uint8_t guid[16];
	bool drawn, shown;
	uint8_t page[VMGENID_PAGE_BYTES];
};

extern const struct device_class vmgenid_class;

/* Boot without firmware: puts the page at @gpa (aligned to a page, RAM), as firmware would. */
MUST_CHECK int vmgenid_place(struct vmgenid *v, gpa_t gpa, struct err *e);

#endif
