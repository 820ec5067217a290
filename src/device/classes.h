/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_CLASSES_H
#define DEVICE_CLASSES_H

#include "device/device.h"

/* Every class of this room, as registry.c lists them. */

extern const struct device_class debug_exit_class;
extern const struct device_class debugcon_class;
extern const struct device_class fw_cfg_class;
extern const struct device_class port92_class;
extern const struct device_class pvpanic_class;
extern const struct device_class rtc_class;
extern const struct device_class serial_class;

#endif
