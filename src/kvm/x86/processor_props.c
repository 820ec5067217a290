/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the properties of a CPU by name, beside its features: a table for those that
 * do something, and one for those that managers know of QEMU's CPUs and that can only stay as they
 * are here, each with why. Both are listed, so that who asks for everything gets QEMU's list.
 */
#include "base/nearest.h"
#include "base/option.h"
#include "kvm/x86/processor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/**
 * enum field_kind - How a member of struct x86_processor is written
 */
enum field_kind { FLAG = 1, U32, U64, NAME12, NAME48 };

/**
 * struct field - A property that is a member
 * @offset:	In struct x86_processor
 * @major:	Part of what makes the model: in a static expansion
 * @host_only:	Of host and max only
 */
struct field {
	const char *name;
	enum field_kind kind;
	size_t offset;
	bool major, host_only;
};

#define AT(member) offsetof(struct x86_processor, member)

static const struct field fields[] = {
	{"check", FLAG, AT(check)},
	{"cpuid-0xb", FLAG, AT(leaf_0xb)},
	{"enforce", FLAG, AT(enforce)},
	{"family", U32, AT(family), .major = true},
	{"full-cpuid-auto-level", FLAG, AT(auto_level)},
	{"host-cache-info", FLAG, AT(host_cache), .host_only = true},
	{"host-phys-bits", FLAG, AT(host_phys_bits)},
	{"host-phys-bits-limit", U32, AT(host_phys_bits_limit)},
	{"kvm", FLAG, AT(kvm)},
	{"l3-cache", FLAG, AT(l3)},
	{"legacy-cache", FLAG, AT(legacy_cache)},
	{"level", U32, AT(level)},
	{"level-func7", U32, AT(level_func7)},
	{"lmce", FLAG, AT(lmce), .major = true},
	{"migratable", FLAG, AT(migratable), .host_only = true},
	{"min-level", U32, AT(min_level), .major = true},
	{"min-xlevel", U32, AT(min_xlevel), .major = true},
	{"min-xlevel2", U32, AT(min_xlevel2)},
	{"model", U32, AT(model), .major = true},
	{"model-id", NAME48, AT(id), .major = true},
	{"phys-bits", U32, AT(phys_bits)},
	{"pmu", FLAG, AT(pmu)},
	{"stepping", U32, AT(stepping), .major = true},
	{"ucode-rev", U64, AT(ucode)},
	{"vendor", NAME12, AT(vendor), .major = true},
	{"vmware-cpuid-freq", FLAG, AT(vmware_freq)},
	{"x-force-features", FLAG, AT(force)},
	{"x-vendor-cpuid-only", FLAG, AT(vendor_leaves)},
	{"xlevel", U32, AT(xlevel)},
	{"xlevel2", U32, AT(xlevel2)},
};

#define HYPERV "Hyper-V enlightenments aren't in this build"
#define PLACE  "-smp gives each vCPU its place"
#define FIXED  "it is fixed on this machine type"

/**
 * struct fixed - A property that can only have its default
 * @kind:	Its type; X86_PROP_NUMBER with @number
 */
struct fixed {
	const char *name, *why;
	enum x86_property_kind kind;
	bool on, negative;
	uint64_t number;
	const char *text;
};

#define OFF(n, w)                          \
	{                                  \
		n, w, X86_PROP_BOOL, false \
	}
#define ON(n, w)                          \
	{                                 \
		n, w, X86_PROP_BOOL, true \
	}
#define NUMBER(n, w, v)                            \
	{                                          \
		n, w, X86_PROP_NUMBER, .number = v \
	}
#define MINUS_1(n, w)                                   \
	{                                               \
		n, w, X86_PROP_NUMBER, .negative = true \
	}
#define TEXT(n, w, v)                          \
	{                                      \
		n, w, X86_PROP_TEXT, .text = v \
	}

static const struct fixed fixed[] = {
	NUMBER("apic-id", PLACE, 0xffffffff),
	MINUS_1("core-id", PLACE),
	MINUS_1("die-id", PLACE),
	ON("fill-mtrr-mask", FIXED),
	OFF("hv-apicv", HYPERV),
	OFF("hv-avic", HYPERV),
	OFF("hv-crash", HYPERV),
	OFF("hv-emsr-bitmap", HYPERV),
	OFF("hv-enforce-cpuid", HYPERV),
	OFF("hv-evmcs", HYPERV),
	OFF("hv-frequencies", HYPERV),
	OFF("hv-ipi", HYPERV),
	TEXT("hv-no-nonarch-coresharing", HYPERV, "off"),
	OFF("hv-passthrough", HYPERV),
	OFF("hv-reenlightenment", HYPERV),
	OFF("hv-relaxed", HYPERV),
	OFF("hv-reset", HYPERV),
	OFF("hv-runtime", HYPERV),
	NUMBER("hv-spinlocks", HYPERV, 0xffffffff),
	OFF("hv-stimer", HYPERV),
	OFF("hv-stimer-direct", HYPERV),
	OFF("hv-syndbg", HYPERV),
	OFF("hv-synic", HYPERV),
	OFF("hv-time", HYPERV),
	OFF("hv-tlbflush", HYPERV),
	OFF("hv-tlbflush-direct", HYPERV),
	OFF("hv-tlbflush-ext", HYPERV),
	OFF("hv-vapic", HYPERV),
	TEXT("hv-vendor-id", HYPERV, ""),
	NUMBER("hv-version-id-build", HYPERV, 14393),
	NUMBER("hv-version-id-major", HYPERV, 10),
	NUMBER("hv-version-id-minor", HYPERV, 0),
	NUMBER("hv-version-id-sbranch", HYPERV, 0),
	NUMBER("hv-version-id-snumber", HYPERV, 0),
	NUMBER("hv-version-id-spack", HYPERV, 0),
	OFF("hv-vpindex", HYPERV),
	OFF("hv-xmm-input", HYPERV),
	OFF("kvm-no-smi-migration", FIXED),
	OFF("kvm-pv-enforce-cpuid", FIXED),
	NUMBER("lbr-fmt", "last branch records can't follow a guest", ~0x3fULL),
	NUMBER("lbr_fmt", "last branch records can't follow a guest", ~0x3fULL),
	TEXT("memory", FIXED, "/machine/unattached/system[0]"),
	MINUS_1("node-id", PLACE),
	MINUS_1("socket-id", PLACE),
	OFF("realized", FIXED),
	OFF("start-powered-off", FIXED),
	ON("tcg-cpuid", "there is no emulator"),
	MINUS_1("thread-id", PLACE),
	NUMBER("tsc-frequency",
	       "a guest's TSC runs at the host's rate, or at that of the host it "
	       "came from",
	       0),
	MINUS_1("x-hv-max-vps", HYPERV),
	OFF("x-hv-synic-kvm-only", HYPERV),
	ON("x-intel-pt-auto-level", FIXED),
	ON("x-migrate-smi-count", FIXED),
};

static int number_parse(const char *text, uint64_t max, uint64_t *ret)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(text, &end, 0);
	if (errno || *end || end == text || v < -1 || (v > 0 && (uint64_t)v > max))
		return -EINVAL;
	*ret = (uint64_t)v & max;
	return 0;
}

static int field_write(struct x86_processor *p, const struct field *f, const char *value,
		       struct err *e)
{
	void *at = (char *)p + f->offset;
	size_t room = f->kind == NAME12 ? 12 : 48;
	uint64_t n = 0;

	switch (f->kind) {
	case FLAG:
		return option_parse_bool(value, at) == 0
			       ? 0
			       : err_set(e, EINVAL, "-cpu: %s=%s is neither on nor off", f->name,
					 value);
	case U32:
	case U64:
		if (number_parse(value, f->kind == U32 ? 0xffffffff : INT64_MAX, &n) < 0)
			return err_set(e, EINVAL, "-cpu: %s=%s is not a number, or out of range",
				       f->name, value);
		memcpy(at, &n, f->kind == U32 ? 4 : 8);
		return 0;
	default: break;
	}
	if (strlen(value) > room || (f->kind == NAME12 && strlen(value) != 12))
		return err_set(e, EINVAL, "-cpu: %s has %s%zu characters", f->name,
			       f->kind == NAME12 ? "exactly " : "at most ", room);
	memset(at, 0, room + 1);
	memcpy(at, value, strlen(value));
	return 0;
}

static bool fixed_is(const struct fixed *f, const char *value)
{
	bool on;
	uint64_t n;

	switch (f->kind) {
	case X86_PROP_BOOL: return option_parse_bool(value, &on) == 0 && on == f->on;
	case X86_PROP_NUMBER:
		return f->negative ? !strcmp(value, "-1")
				   : number_parse(value, INT64_MAX, &n) == 0 && n == f->number;
	default: return !strcmp(value, f->text);
	}
}

static int feature_write(struct x86_processor *p, const char *name, const char *value,
			 struct err *e)
{
	bool on;

	if (option_parse_bool(value, &on) < 0)
		return err_set(e, EINVAL, "-cpu: %s=%s is neither on nor off", name, value);
	x86_feature_set(&p->f, name, strlen(name), on);
	x86_feature_set(&p->user, name, strlen(name), true);
	return 0;
}

static const char *field_name(const void *table, size_t i)
{
	return i < ARRAY_SIZE(fields)                       ? fields[i].name
	       : i < ARRAY_SIZE(fields) + ARRAY_SIZE(fixed) ? fixed[i - ARRAY_SIZE(fields)].name
							    : NULL;
}

static int unknown(const char *name, struct err *e)
{
	const char *close = nearest(name, fields, field_name);

	err_set(e, EINVAL, "-cpu: there is no feature or property \"%s\"", name);
	return err_nearest(e, close ? close : x86_feature_nearest(name));
}

/**
 * x86_processor_set() - Set a property or a feature
 * @p:		Not expanded yet
 * @name:	In any spelling
 * @value:	As in key=value
 * @e:		Set on failure
 *
 * Errors: EINVAL there is no such property, or the value is none of its; ENOTSUP it can't be
 * changed here
 * Return: 0, or a negative errno
 */
int x86_processor_set(struct x86_processor *p, const char *name, const char *value, struct err *e)
{
	const char *feature = x86_feature_name(name);

	if (feature)
		return feature_write(p, feature, value, e);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (!strcmp(fields[i].name, name) && (p->takes_host || !fields[i].host_only))
			return field_write(p, &fields[i], value, e);
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		if (!strcmp(fixed[i].name, name))
			return fixed_is(&fixed[i], value) ? 0
							  : err_set(e, ENOTSUP, "-cpu: %s=%s: %s",
								    name, value, fixed[i].why);
	return unknown(name, e);
}

static void field_tell(const struct x86_processor *p, const struct field *f, x86_property_fn *fn,
		       void *opaque)
{
	const void *at = (const char *)p + f->offset;
	struct x86_property one = {
		.name = f->name,
		.minor = !f->major,
		.kind = f->kind == FLAG                          ? X86_PROP_BOOL
			: f->kind == NAME12 || f->kind == NAME48 ? X86_PROP_TEXT
								 : X86_PROP_NUMBER,
	};

	if (f->host_only && !p->takes_host)
		return;
	one.on = f->kind == FLAG && *(const bool *)at;
	one.text = one.kind == X86_PROP_TEXT ? at : NULL;
	if (one.kind == X86_PROP_NUMBER)
		memcpy(&one.number, at, f->kind == U32 ? 4 : 8);
	fn(opaque, &one);
}

static void features_tell(const struct x86_processor *p, x86_property_fn *fn, void *opaque)
{
	const char *name, *spelling;

	for (size_t w = 0; w < X86_FEATURE_WORDS; w++)
		for (unsigned int b = 0; b < X86_FEATURE_BITS; b++) {
			name = x86_feature_words[w].names[b];
			if (name)
				fn(opaque, &(struct x86_property){
						   .name = name,
						   .kind = X86_PROP_BOOL,
						   .on = x86_feature_get(&p->f, name),
					   });
		}
	for (size_t i = 0; (spelling = x86_feature_spelling(i, &name)) != NULL; i++)
		fn(opaque, &(struct x86_property){
				   .name = spelling,
				   .kind = X86_PROP_BOOL,
				   .minor = true,
				   .on = x86_feature_get(&p->f, name),
			   });
}

/**
 * x86_processor_each() - All properties and features with their values
 * @p:		The CPU
 * @fn:		Called with each; one that has several bits may come several times
 * @opaque:	For @fn
 */
void x86_processor_each(const struct x86_processor *p, x86_property_fn *fn, void *opaque)
{
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		field_tell(p, &fields[i], fn, opaque);
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		fn(opaque, &(struct x86_property){
				   .name = fixed[i].name,
				   .kind = fixed[i].kind,
				   .minor = true,
				   .on = fixed[i].on,
				   .negative = fixed[i].negative,
				   .number = fixed[i].number,
				   .text = fixed[i].text,
			   });
	features_tell(p, fn, opaque);
}
