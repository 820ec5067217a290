/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVM_X86_FEATURES_H
#define KVM_X86_FEATURES_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum x86_reg { X86_EAX, X86_EBX, X86_ECX, X86_EDX };

/* In QEMU's order, in which it lists what a host lacks. */
enum x86_feature_id {
	X86_FEAT_1_EDX,
	X86_FEAT_1_ECX,
	X86_FEAT_7_0_EBX,
	X86_FEAT_7_0_ECX,
	X86_FEAT_7_0_EDX,
	X86_FEAT_7_1_EAX,
	X86_FEAT_8000_0001_EDX,
	X86_FEAT_8000_0001_ECX,
	X86_FEAT_8000_0007_EDX,
	X86_FEAT_8000_0008_EBX,
	X86_FEAT_C000_0001_EDX,
	X86_FEAT_KVM,
	X86_FEAT_KVM_HINTS,
	X86_FEAT_SVM,
	X86_FEAT_XSAVE,
	X86_FEAT_6_EAX,
	X86_FEAT_XSAVE_XCR0_LO,
	X86_FEAT_XSAVE_XCR0_HI,
	X86_FEAT_ARCH_CAPABILITIES,
	X86_FEAT_CORE_CAPABILITY,
	X86_FEAT_PERF_CAPABILITIES,
	X86_FEAT_VMX_PROCBASED_CTLS,
	X86_FEAT_VMX_SECONDARY_CTLS,
	X86_FEAT_VMX_PINBASED_CTLS,
	X86_FEAT_VMX_EXIT_CTLS,
	X86_FEAT_VMX_ENTRY_CTLS,
	X86_FEAT_VMX_MISC,
	X86_FEAT_VMX_EPT_VPID_CAPS,
	X86_FEAT_VMX_BASIC,
	X86_FEAT_VMX_VMFUNC,
	X86_FEAT_14_0_ECX,
	X86_FEAT_SGX_12_0_EAX,
	X86_FEAT_SGX_12_0_EBX,
	X86_FEAT_SGX_12_1_EAX,
	X86_FEAT_XSAVE_XSS_LO,
	X86_FEAT_XSAVE_XSS_HI,
	X86_FEATURE_WORDS
};

#define X86_FEATURE_BITS 64

/**
 * struct x86_feature_word - A register of CPUID, or an MSR, whose bits are features
 * @msr:	The MSR; 0: it is CPUID's
 * @leaf, @subleaf, @reg: Where in CPUID
 * @names:	By bit; NULL: not given to guests that may move
 */
struct x86_feature_word {
	uint32_t msr;
	uint32_t leaf, subleaf;
	enum x86_reg reg;
	const char *names[X86_FEATURE_BITS];
};

extern const struct x86_feature_word x86_feature_words[X86_FEATURE_WORDS];

/**
 * struct x86_features - The words' values
 */
struct x86_features {
	uint64_t word[X86_FEATURE_WORDS];
};

uint64_t x86_feature_named(enum x86_feature_id word);
/* Every bit of that name; false: there is none. @name needn't end behind @len. */
bool x86_feature_set(struct x86_features *f, const char *name, size_t len, bool on);
/* Are all bits of that name set? Another spelling ("sse3" for "pni") will do. */
bool x86_feature_get(const struct x86_features *f, const char *name);
/* The name in the table for any spelling of it, or NULL. */
const char *x86_feature_name(const char *spelling);
/* Other spellings: entry @i, with the name it stands for, or NULL behind the last. */
const char *x86_feature_spelling(size_t i, const char **ret_name);
/* A known name that looks like @name, or NULL. */
const char *x86_feature_nearest(const char *name);

#endif
