/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: features by name. A name may stand for several bits of its word ("kvmclock"
 * for the old and the new clock MSRs): setting sets all of them, and it is there if all are. Some
 * features have other spellings too, from before the names were made one.
 */
#include "kvm/x86/features.h"
#include "base/nearest.h"

#include <string.h>

static const struct {
	const char *spelling, *name;
} spellings[] = {
	{"cmp_legacy", "cmp-legacy"},
	{"ds_cpl", "ds-cpl"},
	{"ffxsr", "fxsr-opt"},
	{"fxsr_opt", "fxsr-opt"},
	{"i64", "lm"},
	{"kvm_asyncpf", "kvm-asyncpf"},
	{"kvm_asyncpf_int", "kvm-asyncpf-int"},
	{"kvm_mmu", "kvm-mmu"},
	{"kvm_nopiodelay", "kvm-nopiodelay"},
	{"kvm_poll_control", "kvm-poll-control"},
	{"kvm_pv_eoi", "kvm-pv-eoi"},
	{"kvm_pv_unhalt", "kvm-pv-unhalt"},
	{"kvm_steal_time", "kvm-steal-time"},
	{"lahf_lm", "lahf-lm"},
	{"nodeid_msr", "nodeid-msr"},
	{"nrip_save", "nrip-save"},
	{"pause_filter", "pause-filter"},
	{"pclmuldq", "pclmulqdq"},
	{"perfctr_core", "perfctr-core"},
	{"perfctr_nb", "perfctr-nb"},
	{"sse3", "pni"},
	{"sse4-1", "sse4.1"},
	{"sse4-2", "sse4.2"},
	{"sse4_1", "sse4.1"},
	{"sse4_2", "sse4.2"},
	{"svm_lock", "svm-lock"},
	{"tsc_adjust", "tsc-adjust"},
	{"tsc_scale", "tsc-scale"},
	{"vmcb_clean", "vmcb-clean"},
	{"xd", "nx"},
};

/**
 * x86_feature_spelling() - Other spellings of features
 * @i:		From 0
 * @ret_name:	The name it stands for
 *
 * Return: the spelling; NULL: no more
 */
const char *x86_feature_spelling(size_t i, const char **ret_name)
{
	if (i >= ARRAY_SIZE(spellings))
		return NULL;
	*ret_name = spellings[i].name;
	return spellings[i].spelling;
}

/**
 * x86_feature_named() - The bits of a word that have a name
 * @word:	Which
 *
 * Return: mask
 */
uint64_t x86_feature_named(enum x86_feature_id word)
{
	uint64_t mask = 0;

	for (unsigned int bit = 0; bit < X86_FEATURE_BITS; bit++)
		if (x86_feature_words[word].names[bit])
			mask |= 1ULL << bit;
	return mask;
}

static uint64_t bits_named(size_t word, const char *name, size_t len)
{
	uint64_t mask = 0;

	for (unsigned int bit = 0; bit < X86_FEATURE_BITS; bit++) {
		const char *one = x86_feature_words[word].names[bit];

		if (one && !strncmp(one, name, len) && !one[len])
			mask |= 1ULL << bit;
	}
	return mask;
}

/**
 * x86_feature_set() - Set or clear every bit of a name
 * @f:		Changed
 * @name, @len:	As in the table
 * @on:		Set
 *
 * Return: whether there is such a name
 */
bool x86_feature_set(struct x86_features *f, const char *name, size_t len, bool on)
{
	bool found = false;

	for (size_t w = 0; w < X86_FEATURE_WORDS; w++) {
		uint64_t mask = bits_named(w, name, len);

		f->word[w] = on ? f->word[w] | mask : f->word[w] & ~mask;
		found |= mask != 0;
	}
	return found;
}

/**
 * x86_feature_get() - Is a feature there?
 * @f:		Where
 * @name:	In any spelling
 *
 * Return: whether all its bits are set; false if there is no such feature
 */
bool x86_feature_get(const struct x86_features *f, const char *name)
{
	bool found = false;

	name = x86_feature_name(name);
	for (size_t w = 0; name && w < X86_FEATURE_WORDS; w++) {
		uint64_t mask = bits_named(w, name, strlen(name));

		if ((f->word[w] & mask) != mask)
			return false;
		found |= mask != 0;
	}
	return found;
}

/* For nearest(): every slot of the table, "" where there is no name. */
static const char *name_at(const void *table, size_t index)
{
	const char *name;

	if (index >= (size_t)X86_FEATURE_WORDS * X86_FEATURE_BITS)
		return NULL;
	name = x86_feature_words[index / X86_FEATURE_BITS].names[index % X86_FEATURE_BITS];
	return name ? name : "";
}

/**
 * x86_feature_name() - The name in the table
 * @spelling:	Any spelling
 *
 * Return: the name; NULL: no such feature
 */
const char *x86_feature_name(const char *spelling)
{
	const char *name;

	for (size_t i = 0; i < ARRAY_SIZE(spellings); i++)
		if (!strcmp(spellings[i].spelling, spelling))
			return spellings[i].name;
	for (size_t i = 0; (name = name_at(NULL, i)) != NULL; i++)
		if (!strcmp(name, spelling))
			return *name ? name : NULL;
	return NULL;
}

/**
 * x86_feature_nearest() - Which name may have been meant
 * @name:	Isn't one
 *
 * Return: a name, or NULL
 */
const char *x86_feature_nearest(const char *name)
{
	return nearest(name, x86_feature_words, name_at);
}
