/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVM_X86_FEATURES_H
#define KVM_X86_FEATURES_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum x86_reg { X86_EAX, X86_EBX, X86_ECX, X86_EDX };

enum x86_feature_id {
	X86_FEAT_1_EDX,
	X86_FEAT_1_ECX,
	X86_FEAT_8000_0001_EDX,
	X86_FEAT_8000_0001_ECX,
	X86_FEAT_C000_0001_EDX,
	X86_FEAT_KVM,
	X86_FEAT_KVM_HINTS,
	X86_FEAT_SVM,
	X86_FEAT_7_0_EBX,
	X86_FEAT_7_0_ECX,
	X86_FEAT_7_0_EDX,
	X86_FEAT_7_1_EAX,
	X86_FEAT_8000_0007_EDX,
	X86_FEAT_8000_0008_EBX,
	X86_FEAT_XSAVE,
	X86_FEAT_XSAVE_XSS_LO,
	X86_FEAT_XSAVE_XSS_HI,
	X86_FEAT_6_EAX,
	X86_FEAT_XSAVE_XCR0_LO,
	X86_FEAT_XSAVE_XCR0_HI,
	X86_FEAT_14_0_ECX,
	X86_FEAT_SGX_12_0_EBX,
	X86_FEAT_SGX_12_1_EAX,
	X86_FEATURE_WORDS
};

/**
 * struct x86_feature_word - A CPUID register whose bits are features
 * @leaf, @subleaf, @reg: Where
 * @names:	By bit; NULL: not given to guests
 */
struct x86_feature_word {
	uint32_t leaf, subleaf;
	enum x86_reg reg;
	const char *names[32];
};

extern const struct x86_feature_word x86_feature_words[X86_FEATURE_WORDS];

/**
 * struct x86_features - The words' values
 */
struct x86_features {
	uint32_t word[X86_FEATURE_WORDS];
};

uint32_t x86_feature_named(enum x86_feature_id word);
/* "+avx512f,-pcid,x2apic=off": EINVAL names the nearest known feature, ENOTSUP one that @supported
 * lacks. */
MUST_CHECK int x86_features_toggle(struct x86_features *f, const struct x86_features *supported,
				   const char *toggles, struct err *e);

#endif
