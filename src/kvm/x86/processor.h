/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVM_X86_PROCESSOR_H
#define KVM_X86_PROCESSOR_H

#include "kvm/x86/models.h"
#include "kvm/x86/supported.h"

/*
 * Theory of operation: a guest's CPU on its way from a name to what CPUID answers. It begins as a
 * model ("Nehalem-v2"), as what the host has ("host", "max") or as nothing ("base"); properties
 * change it; expanding adds what depends on the host and on other features, and takes away what
 * makes no sense without them; filtering takes away what this host can't give, and notes it. Each
 * step is QEMU's, so that the same words make the same CPU.
 */

/**
 * struct x86_topology - -smp
 */
struct x86_topology {
	unsigned int sockets, dies, cores, threads;
};

/**
 * struct x86_place - Where a vCPU is, each number within the one before
 */
struct x86_place {
	unsigned int socket, die, core, thread;
};

#define X86_AUTO 0xffffffffU /* level: as high as the features need */

/**
 * struct x86_processor - A guest's CPU
 * @name:	As asked for: "Nehalem-IBRS"
 * @of:		Model and version; its model is NULL for host, max and base
 * @takes_host:	host, max: all that the host can give
 * @f:		Features
 * @user:	Those that were switched by name, on or off
 * @missing:	Those that were asked for and can't be given here
 * @vendor, @id: Text of CPUID
 * @family, @model, @stepping: As the operator knows them
 * @level, @level_func7, @xlevel, @xlevel2: Highest leaves; X86_AUTO
 * @min_level, @min_level_func7, @min_xlevel, @min_xlevel2: What X86_AUTO begins with
 * @phys_bits:	Width of physical addresses; 0: 40
 * @host_phys_bits, @host_phys_bits_limit: The host's instead, at most so many (0: no limit)
 * @ucode:	Microcode revision; 0: a fixed one
 * @check, @enforce: Warn of what the host lacks; refuse it
 * @force:	Keep what KVM doesn't list
 * @kvm:	KVM shows itself
 * @pmu:	The guest has a PMU
 * @migratable:	Leave out what can't follow the guest (of @takes_host)
 * @auto_level:	More features than the levels reach raise them
 * @leaf_0xb:	There is leaf 0xB
 * @l3, @legacy_cache, @host_cache: Third level cache; caches that stand for any CPU; the host's
 * @vendor_leaves: AMD's CPUs don't have Intel's cache leaves
 * @lmce:	Machine checks may go to one vCPU only
 * @vmware_freq: Leaf 0x40000010 tells the frequencies if they stay
 */
struct x86_processor {
	char name[48];
	struct x86_model_name of;
	bool takes_host;
	struct x86_features f, user, missing;
	char vendor[13], id[49];
	uint32_t family, model, stepping;
	uint32_t level, level_func7, xlevel, xlevel2;
	uint32_t min_level, min_level_func7, min_xlevel, min_xlevel2;
	uint32_t phys_bits, host_phys_bits_limit;
	uint64_t ucode;
	bool check, enforce, force, kvm, pmu, migratable, host_phys_bits, auto_level, leaf_0xb;
	bool l3, legacy_cache, host_cache, vendor_leaves, lmce, vmware_freq;
};

/* The CPU of a name, with what KVM adds to every model. */
MUST_CHECK int x86_processor_init(struct x86_processor *p, const char *name,
				  const struct x86_supported *s, struct err *e);
/* A property, features included; @value as in key=value. */
MUST_CHECK int x86_processor_set(struct x86_processor *p, const char *name, const char *value,
				 struct err *e);
/* Adds what follows from the properties, the host and @t. Once. */
void x86_processor_expand(struct x86_processor *p, const struct x86_supported *s,
			  const struct x86_topology *t);
/* Takes away what the host can't give; @missing gets it. */
void x86_processor_filter(struct x86_processor *p, const struct x86_supported *s);
/* "MODEL,a=on,+b,-c" ready for CPUID: expanded, filtered, told about. */
MUST_CHECK int x86_processor_make(struct x86_processor *p, const char *text,
				  const struct x86_supported *s, const struct x86_topology *t,
				  struct err *e);
bool x86_processor_is(const struct x86_processor *p, const char *vendor);

/**
 * enum x86_property_kind - Type of a property's value
 */
enum x86_property_kind { X86_PROP_BOOL = 1, X86_PROP_NUMBER, X86_PROP_TEXT };

/**
 * struct x86_property - A property and its value
 * @minor:	Not part of what makes the model
 */
struct x86_property {
	const char *name;
	enum x86_property_kind kind;
	bool minor, on;
	uint64_t number;
	bool negative; /* @number is -1 */
	const char *text;
};

typedef void x86_property_fn(void *opaque, const struct x86_property *p);
void x86_processor_each(const struct x86_processor *p, x86_property_fn *fn, void *opaque);
/* Names of all bits of @f, as QEMU lists them. */
void x86_features_each(const struct x86_features *f, void (*fn)(void *opaque, const char *name),
		       void *opaque);

#endif
