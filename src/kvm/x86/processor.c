/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see processor.h. What a feature needs, and what it brings along, are rows of
 * tables. */
#include "kvm/x86/processor.h"
#include "base/log.h"
#include "base/owned.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define AMD_ALIASES 0x0183f3ffU
#define ALL         (~0ULL)
#define LOW         0xffffffffULL

/**
 * struct need - Features that aren't there without another
 * @from, @from_mask: Any of these
 * @to, @to_mask: Needed by these
 */
struct need {
	enum x86_feature_id from;
	uint64_t from_mask;
	enum x86_feature_id to;
	uint64_t to_mask;
};

#define VMX (1ULL << 5)
#define EPT (1ULL << 1)

/* In QEMU's order: the later see what the earlier took away. */
static const struct need needs[] = {
	{X86_FEAT_7_0_EDX, 1ULL << 29, X86_FEAT_ARCH_CAPABILITIES, ALL},
	{X86_FEAT_7_0_EDX, 1ULL << 30, X86_FEAT_CORE_CAPABILITY, ALL},
	{X86_FEAT_1_ECX, 1ULL << 15, X86_FEAT_PERF_CAPABILITIES, ALL},
	{X86_FEAT_1_ECX, VMX, X86_FEAT_VMX_PROCBASED_CTLS, ALL},
	{X86_FEAT_1_ECX, VMX, X86_FEAT_VMX_PINBASED_CTLS, ALL},
	{X86_FEAT_1_ECX, VMX, X86_FEAT_VMX_EXIT_CTLS, ALL},
	{X86_FEAT_1_ECX, VMX, X86_FEAT_VMX_ENTRY_CTLS, ALL},
	{X86_FEAT_1_ECX, VMX, X86_FEAT_VMX_MISC, ALL},
	{X86_FEAT_1_ECX, VMX, X86_FEAT_VMX_BASIC, ALL},
	{X86_FEAT_8000_0001_EDX, 1ULL << 29, X86_FEAT_VMX_ENTRY_CTLS, 1ULL << 9},
	{X86_FEAT_VMX_PROCBASED_CTLS, 1ULL << 31, X86_FEAT_VMX_SECONDARY_CTLS, ALL},
	{X86_FEAT_XSAVE, 1ULL << 3, X86_FEAT_VMX_SECONDARY_CTLS, 1ULL << 20},
	{X86_FEAT_1_ECX, 1ULL << 30, X86_FEAT_VMX_SECONDARY_CTLS, 1ULL << 11},
	{X86_FEAT_7_0_EBX, 1ULL << 10, X86_FEAT_VMX_SECONDARY_CTLS, 1ULL << 12},
	{X86_FEAT_7_0_EBX, 1ULL << 14, X86_FEAT_VMX_EXIT_CTLS, 1ULL << 23},
	{X86_FEAT_7_0_EBX, 1ULL << 14, X86_FEAT_VMX_ENTRY_CTLS, 1ULL << 16},
	{X86_FEAT_7_0_EBX, 1ULL << 18, X86_FEAT_VMX_SECONDARY_CTLS, 1ULL << 16},
	{X86_FEAT_7_0_EBX, 1ULL << 25, X86_FEAT_14_0_ECX, ALL},
	{X86_FEAT_8000_0001_EDX, 1ULL << 27, X86_FEAT_VMX_SECONDARY_CTLS, 1ULL << 3},
	{X86_FEAT_VMX_SECONDARY_CTLS, EPT, X86_FEAT_VMX_EPT_VPID_CAPS, LOW},
	{X86_FEAT_VMX_SECONDARY_CTLS, EPT, X86_FEAT_VMX_SECONDARY_CTLS, 1ULL << 7},
	{X86_FEAT_VMX_SECONDARY_CTLS, 1ULL << 5, X86_FEAT_VMX_EPT_VPID_CAPS, LOW << 32},
	{X86_FEAT_VMX_SECONDARY_CTLS, 1ULL << 13, X86_FEAT_VMX_VMFUNC, ALL},
	{X86_FEAT_8000_0001_ECX, 1ULL << 2, X86_FEAT_SVM, ALL},
};

/**
 * struct component - A component of XSAVE's state and the feature that uses it
 * @bit:	In XCR0, or in XSS (15)
 */
struct component {
	unsigned int bit;
	enum x86_feature_id word;
	unsigned int feature;
};

static const struct component components[] = {
	{0, X86_FEAT_1_ECX, 26},    {1, X86_FEAT_1_ECX, 26},    {2, X86_FEAT_1_ECX, 28},
	{3, X86_FEAT_7_0_EBX, 14},  {4, X86_FEAT_7_0_EBX, 14},  {5, X86_FEAT_7_0_EBX, 16},
	{6, X86_FEAT_7_0_EBX, 16},  {7, X86_FEAT_7_0_EBX, 16},  {9, X86_FEAT_7_0_ECX, 3},
	{15, X86_FEAT_7_0_EDX, 19}, {17, X86_FEAT_7_0_EDX, 24}, {18, X86_FEAT_7_0_EDX, 24},
};

#define XSS_COMPONENTS (1ULL << 15)

/* What KVM adds to and takes from every model of the tables. */
static const char *const kvm_on[] = {
	"kvmclock",   "kvm-nopiodelay",      "kvm-asyncpf", "kvm-steal-time",
	"kvm-pv-eoi", "kvmclock-stable-bit", "x2apic",
};
static const char *const kvm_off[] = {"kvm-msi-ext-dest-id", "acpi", "monitor", "svm"};

/**
 * x86_processor_is() - Who made it, as the guest sees it
 * @p:		The CPU
 * @vendor:	12 characters
 *
 * Return: whether it is that one
 */
bool x86_processor_is(const struct x86_processor *p, const char *vendor)
{
	return !strcmp(p->vendor, vendor);
}

static void model_load(struct x86_processor *p)
{
	const struct x86_model *m = p->of.model;
	const char *id;

	x86_model_load(&p->of, &p->f, &id, &p->model, &p->stepping);
	snprintf(p->id, sizeof(p->id), "%s", id);
	p->family = m->family;
	p->min_level = m->level;
	p->min_xlevel = m->xlevel;
	p->legacy_cache = !m->caches;
	p->f.word[X86_FEAT_1_ECX] |= 1U << 31; /* hypervisor */
	for (size_t i = 0; i < ARRAY_SIZE(kvm_on); i++)
		x86_feature_set(&p->f, kvm_on[i], strlen(kvm_on[i]), true);
	for (size_t i = 0; i < ARRAY_SIZE(kvm_off); i++)
		x86_feature_set(&p->f, kvm_off[i], strlen(kvm_off[i]), false);
}

static void host_load(struct x86_processor *p, const struct x86_supported *s)
{
	p->takes_host = p->migratable = p->pmu = p->host_phys_bits = true;
	p->lmce = s->lmce;
	p->family = s->family;
	p->model = s->model;
	p->stepping = s->stepping;
	memcpy(p->id, s->id, sizeof(p->id));
	p->min_level = x86_supported_reg(s, 0, 0, X86_EAX);
	p->min_xlevel = x86_supported_reg(s, 0x80000000, 0, X86_EAX);
	p->min_xlevel2 = x86_supported_reg(s, 0xc0000000, 0, X86_EAX);
}

/**
 * x86_processor_init() - The CPU of a name
 * @p:		Filled in on success
 * @name:	"host", "max", "base", or of a model
 * @s:		The host
 * @e:		Set on failure
 *
 * Errors: ENOENT no such model
 * Return: 0, or a negative errno
 */
int x86_processor_init(struct x86_processor *p, const char *name, const struct x86_supported *s,
		       struct err *e)
{
	int r = 0;

	*p = (struct x86_processor){
		.level = X86_AUTO,
		.level_func7 = X86_AUTO,
		.xlevel = X86_AUTO,
		.xlevel2 = X86_AUTO,
		.check = true,
		.kvm = true,
		.auto_level = true,
		.leaf_0xb = true,
		.l3 = true,
		.legacy_cache = true,
		.vendor_leaves = true,
		.vmware_freq = true,
	};
	snprintf(p->name, sizeof(p->name), "%s", name);
	memcpy(p->vendor, s->vendor, sizeof(p->vendor));
	if (!strcmp(name, "host") || !strcmp(name, "max"))
		host_load(p, s);
	else if (strcmp(name, "base"))
		r = x86_model_find(name, &p->of, e);
	else
		memset(p->vendor, 0, sizeof(p->vendor));
	if (r == 0 && p->of.model)
		model_load(p);
	return r;
}

/* What the host has, but for what the user has decided and what needs the operator's word: topoext,
 * hints, VMX's dual-monitor treatment. */
static void host_take(struct x86_processor *p, const struct x86_supported *s)
{
	for (int w = 0; w < X86_FEATURE_WORDS; w++) {
		uint64_t mask = ALL;

		if (p->migratable)
			mask = x86_feature_named((enum x86_feature_id)w);
		if (p->migratable && w == X86_FEAT_8000_0007_EDX)
			mask &= ~(1ULL << 8); /* invtsc */
		if (w == X86_FEAT_8000_0001_ECX)
			mask &= ~(1ULL << 22);
		if (w == X86_FEAT_KVM_HINTS)
			mask = 0;
		if (w == X86_FEAT_VMX_BASIC)
			mask &= ~(1ULL << 49);
		p->f.word[w] |= s->f.word[w] & mask & ~p->user.word[w];
	}
}

static void report(const char *what, enum x86_feature_id w, uint64_t mask)
{
	static const char *const regs[] = {"EAX", "EBX", "ECX", "EDX"};
	const struct x86_feature_word *f = &x86_feature_words[w];
	char place[32];

	if (f->msr)
		snprintf(place, sizeof(place), "MSR(%02" PRIX32 "H)", f->msr);
	else
		snprintf(place, sizeof(place), "CPUID.%02" PRIX32 "H:%s", f->leaf, regs[f->reg]);
	for (unsigned int b = 0; b < X86_FEATURE_BITS; b++)
		if (mask >> b & 1)
			log_warn("%s: %s%s%s [bit %u]", what, place, f->names[b] ? "." : "",
				 f->names[b] ? f->names[b] : "", b);
}

static void needs_apply(struct x86_processor *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(needs); i++) {
		const struct need *n = &needs[i];
		uint64_t lost = p->f.word[n->to] & n->to_mask;
		uint64_t wanted = lost & p->user.word[n->to];

		if (p->f.word[n->from] & n->from_mask)
			continue;
		report("This feature depends on other features that were not requested", n->to,
		       wanted);
		p->missing.word[n->to] |= wanted;
		p->f.word[n->to] &= ~lost;
	}
}

static void components_set(struct x86_processor *p)
{
	uint64_t mask = 0, *w = p->f.word;

	for (size_t i = 0; i < ARRAY_SIZE(components); i++)
		if (w[components[i].word] >> components[i].feature & 1)
			mask |= 1ULL << components[i].bit;
	if (!(w[X86_FEAT_1_ECX] & 1U << 26)) {
		w[X86_FEAT_XSAVE_XCR0_LO] = w[X86_FEAT_XSAVE_XCR0_HI] = 0;
		return;
	}
	w[X86_FEAT_XSAVE_XCR0_LO] = mask & ~XSS_COMPONENTS & LOW;
	w[X86_FEAT_XSAVE_XSS_LO] = mask & XSS_COMPONENTS;
	w[X86_FEAT_XSAVE_XCR0_HI] = w[X86_FEAT_XSAVE_XSS_HI] = mask >> 32;
}

static void raise(uint32_t *min, uint32_t value)
{
	*min = MAX(*min, value);
}

/* A feature's leaf must be within reach. */
static void level_follow(struct x86_processor *p, enum x86_feature_id w)
{
	const struct x86_feature_word *f = &x86_feature_words[w];

	if (!p->f.word[w])
		return;
	if (f->leaf >= 0xc0000000)
		raise(&p->min_xlevel2, f->leaf);
	else
		raise(f->leaf >= 0x80000000 ? &p->min_xlevel : &p->min_level, f->leaf);
	if (f->leaf == 7)
		raise(&p->min_level_func7, f->subleaf);
}

static void levels_set(struct x86_processor *p, const struct x86_topology *t)
{
	static const enum x86_feature_id words[] = {
		X86_FEAT_1_EDX,         X86_FEAT_1_ECX,         X86_FEAT_6_EAX,
		X86_FEAT_7_0_ECX,       X86_FEAT_7_1_EAX,       X86_FEAT_8000_0001_EDX,
		X86_FEAT_8000_0001_ECX, X86_FEAT_8000_0007_EDX, X86_FEAT_8000_0008_EBX,
		X86_FEAT_C000_0001_EDX, X86_FEAT_SVM,           X86_FEAT_XSAVE,
	};

	level_follow(p, X86_FEAT_7_0_EBX);
	for (size_t i = 0; p->auto_level && i < ARRAY_SIZE(words); i++)
		level_follow(p, words[i]);
	if (p->auto_level && t->dies > 1 &&
	    (x86_processor_is(p, "GenuineIntel") || !p->vendor_leaves))
		raise(&p->min_level, 0x1f);
	if (p->auto_level && p->f.word[X86_FEAT_8000_0001_ECX] & 1U << 2)
		raise(&p->min_xlevel, 0x8000000a);
	p->level = p->level == X86_AUTO ? p->min_level : p->level;
	p->level_func7 = p->level_func7 == X86_AUTO ? p->min_level_func7 : p->level_func7;
	p->xlevel = p->xlevel == X86_AUTO ? p->min_xlevel : p->xlevel;
	p->xlevel2 = p->xlevel2 == X86_AUTO ? p->min_xlevel2 : p->xlevel2;
}

/**
 * x86_processor_expand() - Add what follows
 * @p:		With its properties set
 * @s:		The host
 * @t:		Topology
 */
void x86_processor_expand(struct x86_processor *p, const struct x86_supported *s,
			  const struct x86_topology *t)
{
	if (p->takes_host)
		host_take(p, s);
	needs_apply(p);
	if (!p->kvm)
		p->f.word[X86_FEAT_KVM] = 0;
	components_set(p);
	levels_set(p, t);
}

/**
 * x86_processor_filter() - Take away what the host can't give
 * @p:		Expanded
 * @s:		The host
 */
void x86_processor_filter(struct x86_processor *p, const struct x86_supported *s)
{
	for (int w = 0; w < X86_FEATURE_WORDS; w++) {
		uint64_t lost = p->f.word[w] & ~s->f.word[w];

		p->missing.word[w] |= lost;
		if (!p->force)
			p->f.word[w] &= ~lost;
	}
}

static bool any(const struct x86_features *f)
{
	for (int w = 0; w < X86_FEATURE_WORDS; w++)
		if (f->word[w])
			return true;
	return false;
}

static int phys_bits_set(struct x86_processor *p, const struct x86_supported *s, struct err *e)
{
	if (!(p->f.word[X86_FEAT_8000_0001_EDX] & 1U << 29)) {
		if (p->phys_bits)
			return err_set(e, EINVAL,
				       "-cpu: phys-bits is not user-configurable in 32 bit");
		p->phys_bits = p->f.word[X86_FEAT_1_EDX] & 1U << 17 ? 36 : 32;
		return 0;
	}
	if (p->phys_bits && p->phys_bits != s->phys_bits)
		log_warn("Host physical bits (%" PRIu32
			 ") does not match phys-bits property (%" PRIu32 ")",
			 s->phys_bits, p->phys_bits);
	if (p->host_phys_bits)
		p->phys_bits = s->phys_bits;
	if (p->host_phys_bits && p->host_phys_bits_limit)
		p->phys_bits = MIN(p->phys_bits, p->host_phys_bits_limit);
	p->phys_bits = p->phys_bits ? p->phys_bits : 40;
	if (p->phys_bits < 32 || p->phys_bits > 52)
		return err_set(e, EINVAL,
			       "-cpu: phys-bits should be between 32 and 52 (but is %" PRIu32 ")",
			       p->phys_bits);
	return 0;
}

/* What is judged once everything is known. */
static int realize(struct x86_processor *p, const struct x86_supported *s, struct err *e)
{
	struct x86_features before = p->missing;

	x86_processor_filter(p, s);
	for (int w = 0; (p->check || p->enforce) && w < X86_FEATURE_WORDS; w++)
		report("host doesn't support requested feature", (enum x86_feature_id)w,
		       p->missing.word[w] & ~before.word[w]);
	if (p->enforce && any(&p->missing))
		return err_set(e, ENOTSUP, "Host doesn't support requested features");
	if (x86_processor_is(p, "AuthenticAMD"))
		p->f.word[X86_FEAT_8000_0001_EDX] = (p->f.word[X86_FEAT_8000_0001_EDX] &
						     ~(uint64_t)AMD_ALIASES) |
						    (p->f.word[X86_FEAT_1_EDX] & AMD_ALIASES);
	if (!p->legacy_cache && (!p->of.model || !p->of.model->caches))
		return err_set(e, EINVAL, "-cpu: CPU model '%s' doesn't support legacy-cache=off",
			       p->name);
	if (!p->ucode && p->takes_host)
		p->ucode = s->ucode;
	if (!p->ucode)
		p->ucode = x86_processor_is(p, "AuthenticAMD") ? 0x01000065 : 1ULL << 32;
	return phys_bits_set(p, s, e);
}

/* "a=on" or "a". */
static int item_set(struct x86_processor *p, char *item, struct err *e)
{
	char *value = strchr(item, '=');

	if (value)
		*value++ = '\0';
	else
		value = (char *)"on";
	for (char *c = item; *c; c++)
		*c = *c == '_' ? '-' : *c;
	return x86_processor_set(p, item, value, e);
}

/* The items that begin with @sign, 0: with neither. QEMU's order: a=b, then +a, then -a. */
static int items_set(struct x86_processor *p, const char *text, char sign, struct err *e)
{
	OWNED(char *) copy = str_dup(text);
	char *at = copy, *item;
	int r = 0;

	while (r == 0 && (item = strsep(&at, ",")) != NULL) {
		char first = *item == '+' || *item == '-' ? *item : '\0';

		if (!*item || first != sign)
			continue;
		r = sign ? x86_processor_set(p, item + 1, sign == '+' ? "on" : "off", e)
			 : item_set(p, item, e);
	}
	return r;
}

/**
 * x86_processor_make() - The CPU that -cpu asks for
 * @p:		Filled in on success
 * @text:	"MODEL,a=on,+b,-c"
 * @s:		The host
 * @t:		Topology
 * @e:		Set on failure
 *
 * Errors: ENOENT no such model; EINVAL no such property, or a bad value; ENOTSUP enforced, and the
 * host lacks something
 * Return: 0, or a negative errno
 */
int x86_processor_make(struct x86_processor *p, const char *text, const struct x86_supported *s,
		       const struct x86_topology *t, struct err *e)
{
	const char *rest = strchrnul(text, ',');
	char name[64];
	int r;

	snprintf(name, sizeof(name), "%.*s", (int)(rest - text), text);
	rest += *rest == ',';
	r = x86_processor_init(p, name, s, e);
	if (r == 0)
		r = items_set(p, rest, '\0', e);
	if (r == 0)
		r = items_set(p, rest, '+', e);
	if (r == 0)
		r = items_set(p, rest, '-', e);
	if (r < 0)
		return r;
	x86_processor_expand(p, s, t);
	return realize(p, s, e);
}

/* XSAVE's components bear the name of the feature that uses them. */
static const char *bit_name(int w, unsigned int bit)
{
	unsigned int component = w == X86_FEAT_XSAVE_XCR0_HI ? bit + 32 : bit;

	if (w == X86_FEAT_XSAVE_XCR0_LO || w == X86_FEAT_XSAVE_XCR0_HI)
		for (size_t i = 0; i < ARRAY_SIZE(components); i++)
			if (components[i].bit == component)
				return x86_feature_words[components[i].word]
					.names[components[i].feature];
	return x86_feature_words[w].names[bit];
}

/**
 * x86_features_each() - Names of features
 * @f:		Which
 * @fn:		Called with each name, as often as it has bits
 * @opaque:	For @fn
 */
void x86_features_each(const struct x86_features *f, void (*fn)(void *opaque, const char *name),
		       void *opaque)
{
	for (int w = 0; w < X86_FEATURE_WORDS; w++)
		for (unsigned int b = 0; b < X86_FEATURE_BITS; b++)
			if (f->word[w] >> b & 1 && bit_name(w, b))
				fn(opaque, bit_name(w, b));
}
