/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_CLASSES_H
#define DEVICE_CLASSES_H

#include "device/device.h"

/* Every class of this room, as registry.c lists them. */

extern const struct device_class serial_class;

#endif
