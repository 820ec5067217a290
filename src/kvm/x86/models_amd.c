/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: AMD CPU models by generation, and Hygon's. Each row is what differs from an
 * earlier one; a version, what differs from the version before it.
 *
 * Source: AMD APM volume 3, appendix E; which bits a model has: QEMU 7.2, whose guests have these
 */
#include "kvm/x86/cpuid_cache.h"
#include "kvm/x86/models.h"

#define AMD   "AuthenticAMD"
#define HYGON "HygonGenuine"

static const struct x86_model_version epyc[] = {
	{.alias = "EPYC-IBPB", .id = "AMD EPYC Processor (with IBPB)", .features = "ibpb"},
	{.id = "AMD EPYC Processor", .features = "ibpb perfctr-core clzero xsaveerptr xsaves"},
	{0},
};

static const struct x86_model_version epyc_rome[] = {
	{.features = "ibrs amd-ssbd"},
	{0},
};

static const struct x86_model_version dhyana[] = {
	{.note = "XSAVES", .features = "xsaves"},
	{0},
};

const struct x86_model x86_models_amd[] = {
	{
		.name = "Opteron_G1",
		.vendor = AMD,
		.family = 15,
		.model = 6,
		.stepping = 1,
		.level = 0x5,
		.xlevel = 0x80000008,
		.id = "AMD Opteron 240 (Gen 1 Class Opteron)",
		.features = "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat "
			    "pse36 clflush mmx fxsr sse sse2 pni syscall nx lm",
	},
	{
		.name = "Opteron_G2",
		.like = "Opteron_G1",
		.vendor = AMD,
		.family = 15,
		.model = 6,
		.stepping = 1,
		.level = 0x5,
		.xlevel = 0x80000008,
		.id = "AMD Opteron 22xx (Gen 2 Class Opteron)",
		.features = "cx16 lahf-lm svm",
	},
	{
		.name = "Opteron_G3",
		.like = "Opteron_G2",
		.vendor = AMD,
		.family = 16,
		.model = 2,
		.stepping = 3,
		.level = 0x5,
		.xlevel = 0x80000008,
		.id = "AMD Opteron 23xx (Gen 3 Class Opteron)",
		.features = "monitor popcnt rdtscp abm sse4a misalignsse",
	},
	{
		.name = "Opteron_G4",
		.like = "Opteron_G3",
		.vendor = AMD,
		.family = 21,
		.model = 1,
		.stepping = 2,
		.level = 0xd,
		.xlevel = 0x8000001a,
		.id = "AMD Opteron 62xx class CPU",
		.features = "pclmulqdq ssse3 sse4.1 sse4.2 aes xsave avx pdpe1gb 3dnowprefetch xop "
			    "fma4 npt nrip-save -monitor",
	},
	{
		.name = "Opteron_G5",
		.like = "Opteron_G4",
		.vendor = AMD,
		.family = 21,
		.model = 2,
		.stepping = 0,
		.level = 0xd,
		.xlevel = 0x8000001a,
		.id = "AMD Opteron 63xx class CPU",
		.features = "fma f16c tbm",
	},
	{
		.name = "EPYC",
		.like = "Opteron_G5",
		.vendor = AMD,
		.family = 23,
		.model = 1,
		.stepping = 2,
		.level = 0xd,
		.xlevel = 0x8000001e,
		.id = "AMD EPYC Processor",
		.caches = &x86_caches_epyc,
		.features = "monitor movbe rdrand fsgsbase bmi1 avx2 smep bmi2 rdseed adx smap "
			    "clflushopt sha-ni mmxext fxsr-opt cr8legacy osvw topoext xsaveopt "
			    "xsavec xgetbv1 arat -xop -fma4 -tbm",
		.versions = epyc,
	},
	{
		.name = "EPYC-Rome",
		.like = "EPYC",
		.vendor = AMD,
		.family = 23,
		.model = 49,
		.stepping = 0,
		.level = 0xd,
		.xlevel = 0x8000001e,
		.id = "AMD EPYC-Rome Processor",
		.caches = &x86_caches_epyc_rome,
		.features =
			"clwb umip rdpid perfctr-core clzero xsaveerptr wbnoinvd ibpb amd-stibp "
			"xsaves",
		.versions = epyc_rome,
	},
	{
		.name = "EPYC-Milan",
		.like = "EPYC-Rome",
		.vendor = AMD,
		.family = 25,
		.model = 1,
		.stepping = 1,
		.level = 0xd,
		.xlevel = 0x8000001e,
		.id = "AMD EPYC-Milan Processor",
		.caches = &x86_caches_epyc_milan,
		.features = "pcid erms invpcid pku fsrm ibrs amd-ssbd svme-addr-chk",
	},
	{
		.name = "Dhyana",
		.like = "EPYC",
		.vendor = HYGON,
		.family = 24,
		.model = 0,
		.stepping = 1,
		.level = 0xd,
		.xlevel = 0x8000001e,
		.id = "Hygon Dhyana Processor",
		.caches = &x86_caches_epyc,
		.features = "ibpb -pclmulqdq -aes -sha-ni",
		.versions = dhyana,
	},
	{0},
};
