/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVM_X86_MODELS_H
#define KVM_X86_MODELS_H

#include "kvm/x86/features.h"

/**
 * struct x86_model_version - What a version of a model has that the version before it hasn't
 * @alias:	Another name for it, or NULL
 * @note:	For lists, or NULL
 * @id:		Brand string; NULL: as before
 * @features:	"a b -c": with a and b, without c; NULL closes the list
 * @model, @stepping: 0: as before
 */
struct x86_model_version {
	const char *alias, *note, *id, *features;
	uint8_t model, stepping;
};

struct x86_caches;

/**
 * struct x86_model - A CPU model in its first version
 * @name:	Without version; NULL closes a table
 * @like:	Model of the same table, above, whose features it begins with, or NULL
 * @vendor:	12 characters. KVM guests see the host's
 * @id:		Brand string
 * @family, @model, @stepping: As the operator knows them; CPUID packs them
 * @level, @xlevel: Highest leaves, at least
 * @features:	"a b -c"
 * @caches:	NULL: those of cpuid_cache.c that stand for any CPU
 * @versions:	From the second on, or NULL
 */
struct x86_model {
	const char *name, *like, *vendor, *id;
	uint8_t family, model, stepping;
	uint32_t level, xlevel;
	const char *features;
	const struct x86_caches *caches;
	const struct x86_model_version *versions;
};

extern const struct x86_model x86_models_plain[], x86_models_intel[], x86_models_amd[];

/**
 * struct x86_model_name - A name that -cpu takes, and what it stands for
 * @model:	Which
 * @version:	From 1
 * @alias:	The name says no version: as itself it means @version on this machine type
 * @note:	Of the version, or NULL
 * @name:	The name
 */
struct x86_model_name {
	const struct x86_model *model;
	unsigned int version;
	bool alias;
	const char *note;
	char name[48];
};

/* Calls @fn for every name, in no order. */
void x86_models_each(void (*fn)(void *opaque, const struct x86_model_name *n), void *opaque);
/* ENOENT names the nearest. */
MUST_CHECK int x86_model_find(const char *name, struct x86_model_name *ret, struct err *e);
/* What the version has. @ret_id, @ret_model, @ret_stepping may be changed by versions. */
void x86_model_load(const struct x86_model_name *n, struct x86_features *ret, const char **ret_id,
		    uint32_t *ret_model, uint32_t *ret_stepping);

#endif
