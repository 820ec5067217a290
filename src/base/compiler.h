/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_COMPILER_H
#define BASE_COMPILER_H

#include <stddef.h>

/* What the compiler is told, and the few macros that every room uses. */

#define MUST_CHECK                 __attribute__((warn_unused_result))
#define PRINTF(f, a)               __attribute__((format(printf, f, a)))
#define PACKED                     __attribute__((packed))
#define CLEANUP(fn)                __attribute__((cleanup(fn)))
#define ALIGNED(n)                 __attribute__((aligned(n)))

#define ARRAY_SIZE(a)              (sizeof(a) / sizeof((a)[0]))
#define SIZEOF_MEMBER(type, m)     sizeof(((type *)0)->m)
#define CONTAINER_OF(ptr, type, m) ((type *)(void *)((char *)(ptr)-offsetof(type, m)))
#define MIN(a, b)                       \
	({                              \
		__typeof__(a) a_ = (a); \
		__typeof__(b) b_ = (b); \
		a_ < b_ ? a_ : b_;      \
	})
#define MAX(a, b)                       \
	({                              \
		__typeof__(a) a_ = (a); \
		__typeof__(b) b_ = (b); \
		a_ > b_ ? a_ : b_;      \
	})
#define ALIGN_DOWN(x, a)   ((x) & ~((__typeof__(x))(a)-1)) /* a: power of two */
#define ALIGN_UP(x, a)     ALIGN_DOWN((x) + (a)-1, a)
#define DIV_ROUND_UP(n, d) (((n) + (d)-1) / (d))
#define IS_POWER_OF_2(x)   ((x) && !((x) & ((x)-1)))

#define KiB                (1ULL << 10)
#define MiB                (1ULL << 20)
#define GiB                (1ULL << 30)

#define NS_PER_SEC         1000000000LL
#define NS_PER_MS          1000000LL
#define NS_PER_US          1000LL

#endif
