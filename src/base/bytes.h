/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

/* Numbers in byte buffers, of any alignment. Wire formats are big-endian, devices little-endian. */

#define BYTES_ACCESSORS(order, bits)                                      \
	static inline uint##bits##_t load_##order##bits(const void *p)    \
	{                                                                 \
		uint##bits##_t v;                                         \
                                                                          \
		memcpy(&v, p, sizeof(v));                                 \
		return order##bits##toh(v);                               \
	}                                                                 \
	static inline void store_##order##bits(void *p, uint##bits##_t v) \
	{                                                                 \
		v = hto##order##bits(v);                                  \
		memcpy(p, &v, sizeof(v));                                 \
	}

BYTES_ACCESSORS(le, 16)
BYTES_ACCESSORS(le, 32)
BYTES_ACCESSORS(le, 64)
BYTES_ACCESSORS(be, 16)
BYTES_ACCESSORS(be, 32)
BYTES_ACCESSORS(be, 64)

#undef BYTES_ACCESSORS

#endif
