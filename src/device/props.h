/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_PROPS_H
#define DEVICE_PROPS_H

#include "device/device.h"

void props_set_defaults(struct device *dev);
void props_release(struct device *dev);
MUST_CHECK int prop_absent_set(const char *name, const char *value, struct err *e); /* absent.c */
const char *prop_kind_name(const struct prop *p);

#endif
