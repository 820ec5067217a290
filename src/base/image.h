/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_IMAGE_H
#define BASE_IMAGE_H

#include "base/err.h"

MUST_CHECK int image_check_raw(const char *path, struct err *e);

#endif
