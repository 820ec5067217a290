/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_PROPS_H
#define DEVICE_PROPS_H

#include "device/device.h"

void props_set_defaults(struct device *dev);
void props_release(struct device *dev);
const char *prop_kind_name(const struct prop *p);

#endif
