/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_CLASSES_H
#define DEVICE_CLASSES_H

#include "device/device.h"

/* Every class of this room, as registry.c lists them. */

extern const struct device_class debug_exit_class;
extern const struct device_class debugcon_class;
extern const struct device_class dma_class;
extern const struct device_class fw_cfg_class;
extern const struct device_class hpet_class;
extern const struct device_class i8042_class;
extern const struct device_class pcie_port_class;
extern const struct device_class pcspk_class;
extern const struct device_class pflash_class;
extern const struct device_class port92_class;
extern const struct device_class ps2_keyboard_class;
extern const struct device_class ps2_mouse_class;
extern const struct device_class pvpanic_class;
extern const struct device_class rtc_class;
extern const struct device_class serial_class;
extern const struct device_class vmgenid_class;
extern const struct device_class vmmouse_class;
extern const struct device_class vmport_class;

#endif
