/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: Intel CPU models by generation. Each row is what differs from an earlier
 * one; a version, what differs from the version before it.
 *
 * Source: Intel SDM volume 2A, CPUID; which bits a model has: QEMU 7.2, whose guests have these
 */
#include "kvm/x86/models.h"

#define INTEL "GenuineIntel"

static const struct x86_model_version nehalem[] = {
	{.alias = "Nehalem-IBRS",
	 .id = "Intel Core i7 9xx (Nehalem Core i7, IBRS update)",
	 .features = "spec-ctrl"},
	{0},
};

static const struct x86_model_version westmere[] = {
	{.alias = "Westmere-IBRS",
	 .id = "Westmere E56xx/L56xx/X56xx (IBRS update)",
	 .features = "spec-ctrl"},
	{0},
};

static const struct x86_model_version sandybridge[] = {
	{.alias = "SandyBridge-IBRS",
	 .id = "Intel Xeon E312xx (Sandy Bridge, IBRS update)",
	 .features = "spec-ctrl"},
	{0},
};

static const struct x86_model_version ivybridge[] = {
	{.alias = "IvyBridge-IBRS",
	 .id = "Intel Xeon E3-12xx v2 (Ivy Bridge, IBRS)",
	 .features = "spec-ctrl"},
	{0},
};

static const struct x86_model_version haswell[] = {
	{.alias = "Haswell-noTSX",
	 .stepping = 1,
	 .id = "Intel Core Processor (Haswell, no TSX)",
	 .features = "-hle -rtm"},
	{.alias = "Haswell-IBRS",
	 .stepping = 4,
	 .id = "Intel Core Processor (Haswell, IBRS)",
	 .features = "hle rtm spec-ctrl"},
	{.alias = "Haswell-noTSX-IBRS",
	 .stepping = 1,
	 .id = "Intel Core Processor (Haswell, no TSX, IBRS)",
	 .features = "-hle -rtm"},
	{0},
};

static const struct x86_model_version broadwell[] = {
	{.alias = "Broadwell-noTSX",
	 .id = "Intel Core Processor (Broadwell, no TSX)",
	 .features = "-hle -rtm"},
	{.alias = "Broadwell-IBRS",
	 .id = "Intel Core Processor (Broadwell, IBRS)",
	 .features = "hle rtm spec-ctrl"},
	{.alias = "Broadwell-noTSX-IBRS",
	 .id = "Intel Core Processor (Broadwell, no TSX, IBRS)",
	 .features = "-hle -rtm"},
	{0},
};

static const struct x86_model_version skylake_client[] = {
	{.alias = "Skylake-Client-IBRS",
	 .id = "Intel Core Processor (Skylake, IBRS)",
	 .features = "spec-ctrl"},
	{.alias = "Skylake-Client-noTSX-IBRS",
	 .id = "Intel Core Processor (Skylake, IBRS, no TSX)",
	 .features = "-hle -rtm"},
	{.note = "IBRS, XSAVES, no TSX", .features = "xsaves vmx-xsaves"},
	{0},
};

static const struct x86_model_version skylake_server[] = {
	{.alias = "Skylake-Server-IBRS",
	 .id = "Intel Xeon Processor (Skylake, IBRS)",
	 .features = "-clflushopt spec-ctrl"},
	{.alias = "Skylake-Server-noTSX-IBRS",
	 .id = "Intel Xeon Processor (Skylake, IBRS, no TSX)",
	 .features = "-hle -rtm"},
	{.features = "vmx-eptp-switching"},
	{.note = "IBRS, XSAVES, EPT switching, no TSX", .features = "xsaves vmx-xsaves"},
	{0},
};

static const struct x86_model_version cascadelake_server[] = {
	{.note = "ARCH_CAPABILITIES",
	 .features = "arch-capabilities rdctl-no ibrs-all skip-l1dfl-vmentry mds-no"},
	{.alias = "Cascadelake-Server-noTSX",
	 .note = "ARCH_CAPABILITIES, no TSX",
	 .features = "-hle -rtm"},
	{.note = "ARCH_CAPABILITIES, no TSX", .features = "vmx-eptp-switching"},
	{.note = "ARCH_CAPABILITIES, EPT switching, XSAVES, no TSX",
	 .features = "xsaves vmx-xsaves"},
	{0},
};

static const struct x86_model_version cooperlake[] = {
	{.note = "XSAVES", .features = "xsaves vmx-xsaves"},
	{0},
};

static const struct x86_model_version icelake_server[] = {
	{.alias = "Icelake-Server-noTSX", .note = "no TSX", .features = "-hle -rtm"},
	{.features = "arch-capabilities rdctl-no ibrs-all skip-l1dfl-vmentry mds-no "
		     "pschange-mc-no taa-no"},
	{.model = 106,
	 .features = "sha-ni avx512ifma rdpid fsrm vmx-rdseed-exit vmx-pml vmx-eptp-switching"},
	{.note = "XSAVES", .features = "xsaves vmx-xsaves"},
	{.note = "5-level EPT", .features = "vmx-page-walk-5"},
	{0},
};

static const struct x86_model_version denverton[] = {
	{.note = "no MPX, no MONITOR", .features = "-monitor -mpx"},
	{.note = "XSAVES, no MPX, no MONITOR", .features = "xsaves vmx-xsaves"},
	{0},
};

static const struct x86_model_version snowridge[] = {
	{.id = "Intel Atom Processor (Snowridge, no MPX)", .features = "-mpx"},
	{.note = "XSAVES, no MPX", .features = "xsaves vmx-xsaves"},
	{.note = "no split lock detect, no core-capability",
	 .features = "-split-lock-detect -core-capability"},
	{0},
};

const struct x86_model x86_models_intel[] = {
	{
		.name = "Conroe",
		.vendor = INTEL,
		.family = 6,
		.model = 15,
		.stepping = 3,
		.level = 0xa,
		.xlevel = 0x80000008,
		.id = "Intel Celeron_4x0 (Conroe/Merom Class Core 2)",
		.features = "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat "
			    "pse36 clflush mmx fxsr sse sse2 pni ssse3 syscall nx lm lahf-lm "
			    "vmx-vintr-pending vmx-tsc-offset vmx-hlt-exit vmx-invlpg-exit "
			    "vmx-mwait-exit vmx-rdpmc-exit vmx-rdtsc-exit vmx-cr8-load-exit "
			    "vmx-cr8-store-exit vmx-flexpriority vmx-vnmi-pending vmx-movdr-exit "
			    "vmx-io-exit vmx-io-bitmap vmx-msr-bitmap vmx-monitor-exit "
			    "vmx-pause-exit vmx-secondary-ctls vmx-apicv-xapic vmx-intr-exit "
			    "vmx-nmi-exit vmx-vnmi vmx-exit-ack-intr vmx-entry-ia32e-mode "
			    "vmx-activity-hlt vmx-ins-outs",
	},
	{
		.name = "Penryn",
		.like = "Conroe",
		.vendor = INTEL,
		.family = 6,
		.model = 23,
		.stepping = 3,
		.level = 0xa,
		.xlevel = 0x80000008,
		.id = "Intel Core 2 Duo P9xxx (Penryn Class Core 2)",
		.features = "cx16 sse4.1 vmx-wbinvd-exit vmx-exit-load-perf-global-ctrl "
			    "vmx-entry-load-perf-global-ctrl",
	},
	{
		.name = "Nehalem",
		.like = "Penryn",
		.vendor = INTEL,
		.family = 6,
		.model = 26,
		.stepping = 3,
		.level = 0xb,
		.xlevel = 0x80000008,
		.id = "Intel Core i7 9xx (Nehalem Class Core i7)",
		.features =
			"sse4.2 popcnt vmx-cr3-load-noexit vmx-cr3-store-noexit vmx-mtf vmx-ept "
			"vmx-desc-exit vmx-rdtscp-exit vmx-apicv-x2apic vmx-vpid "
			"vmx-preemption-timer vmx-exit-nosave-debugctl vmx-exit-save-pat "
			"vmx-exit-load-pat vmx-exit-save-efer vmx-exit-load-efer "
			"vmx-exit-save-preemption-timer vmx-entry-noload-debugctl "
			"vmx-entry-load-pat vmx-entry-load-efer vmx-ept-execonly "
			"vmx-page-walk-4 vmx-ept-2mb vmx-ept-1gb vmx-invept "
			"vmx-invept-single-context vmx-invept-all-context vmx-invvpid "
			"vmx-invvpid-single-addr vmx-invvpid-all-context "
			"vmx-invept-single-context-noglobals vmx-true-ctls",
		.versions = nehalem,
	},
	{
		.name = "Westmere",
		.like = "Nehalem",
		.vendor = INTEL,
		.family = 6,
		.model = 44,
		.stepping = 1,
		.level = 0xb,
		.xlevel = 0x80000008,
		.id = "Westmere E56xx/L56xx/X56xx (Nehalem-C)",
		.features = "pclmulqdq aes arat vmx-unrestricted-guest vmx-store-lma",
		.versions = westmere,
	},
	{
		.name = "SandyBridge",
		.like = "Westmere",
		.vendor = INTEL,
		.family = 6,
		.model = 42,
		.stepping = 1,
		.level = 0xd,
		.xlevel = 0x80000008,
		.id = "Intel Xeon E312xx (Sandy Bridge)",
		.features = "x2apic tsc-deadline xsave avx rdtscp xsaveopt",
		.versions = sandybridge,
	},
	{
		.name = "IvyBridge",
		.like = "SandyBridge",
		.vendor = INTEL,
		.family = 6,
		.model = 58,
		.stepping = 9,
		.level = 0xd,
		.xlevel = 0x80000008,
		.id = "Intel Xeon E3-12xx v2 (Ivy Bridge)",
		.features = "f16c rdrand fsgsbase smep erms vmx-apicv-register vmx-apicv-vid "
			    "vmx-rdrand-exit vmx-posted-intr",
		.versions = ivybridge,
	},
	{
		.name = "Haswell",
		.like = "IvyBridge",
		.vendor = INTEL,
		.family = 6,
		.model = 60,
		.stepping = 4,
		.level = 0xd,
		.xlevel = 0x80000008,
		.id = "Intel Core Processor (Haswell)",
		.features = "fma pcid movbe bmi1 hle avx2 bmi2 invpcid rtm abm vmx-invpcid-exit "
			    "vmx-vmfunc vmx-shadow-vmcs vmx-vmwrite-vmexit-fields vmx-eptad "
			    "vmx-eptp-switching",
		.versions = haswell,
	},
	{
		.name = "Broadwell",
		.like = "Haswell",
		.vendor = INTEL,
		.family = 6,
		.model = 61,
		.stepping = 2,
		.level = 0xd,
		.xlevel = 0x80000008,
		.id = "Intel Core Processor (Broadwell)",
		.features = "rdseed adx smap 3dnowprefetch vmx-rdseed-exit vmx-pml",
		.versions = broadwell,
	},
	{
		.name = "Skylake-Client",
		.like = "Broadwell",
		.vendor = INTEL,
		.family = 6,
		.model = 94,
		.stepping = 3,
		.level = 0xd,
		.xlevel = 0x80000008,
		.id = "Intel Core Processor (Skylake)",
		.features = "xsavec xgetbv1 -vmx-apicv-x2apic -vmx-apicv-register -vmx-apicv-vid "
			    "-vmx-posted-intr",
		.versions = skylake_client,
	},
	{
		.name = "Skylake-Server",
		.like = "Broadwell",
		.vendor = INTEL,
		.family = 6,
		.model = 85,
		.stepping = 4,
		.level = 0xd,
		.xlevel = 0x80000008,
		.id = "Intel Xeon Processor (Skylake)",
		.features = "avx512f avx512dq clflushopt clwb avx512cd avx512bw avx512vl pku "
			    "pdpe1gb xsavec xgetbv1 -vmx-eptp-switching",
		.versions = skylake_server,
	},
	{
		.name = "Cascadelake-Server",
		.like = "Skylake-Server",
		.vendor = INTEL,
		.family = 6,
		.model = 85,
		.stepping = 6,
		.level = 0xd,
		.xlevel = 0x80000008,
		.id = "Intel Xeon Processor (Cascadelake)",
		.features = "avx512vnni spec-ctrl ssbd",
		.versions = cascadelake_server,
	},
	{
		.name = "Cooperlake",
		.like = "Cascadelake-Server",
		.vendor = INTEL,
		.family = 6,
		.model = 85,
		.stepping = 10,
		.level = 0xd,
		.xlevel = 0x80000008,
		.id = "Intel Xeon Processor (Cooperlake)",
		.features = "stibp arch-capabilities avx512-bf16 rdctl-no ibrs-all "
			    "skip-l1dfl-vmentry mds-no pschange-mc-no taa-no vmx-eptp-switching",
		.versions = cooperlake,
	},
	{
		.name = "Icelake-Server",
		.like = "Cascadelake-Server",
		.vendor = INTEL,
		.family = 6,
		.model = 134,
		.stepping = 0,
		.level = 0xd,
		.xlevel = 0x80000008,
		.id = "Intel Xeon Processor (Icelake)",
		.features = "avx512vbmi umip avx512vbmi2 gfni vaes vpclmulqdq avx512bitalg "
			    "avx512-vpopcntdq la57 wbnoinvd -vmx-rdseed-exit -vmx-pml",
		.versions = icelake_server,
	},
	{
		.name = "Denverton",
		.like = "Broadwell",
		.vendor = INTEL,
		.family = 6,
		.model = 95,
		.stepping = 1,
		.level = 0x15,
		.xlevel = 0x80000008,
		.id = "Intel Atom Processor (Denverton)",
		.features =
			"monitor mpx clflushopt sha-ni spec-ctrl arch-capabilities ssbd pdpe1gb "
			"xsavec xgetbv1 rdctl-no skip-l1dfl-vmentry -fma -pcid -avx -f16c -bmi1 "
			"-hle -avx2 -bmi2 -invpcid -rtm -adx -abm",
		.versions = denverton,
	},
	{
		.name = "Snowridge",
		.like = "Denverton",
		.vendor = INTEL,
		.family = 6,
		.model = 134,
		.stepping = 1,
		.level = 0x1b,
		.xlevel = 0x80000008,
		.id = "Intel Atom Processor (SnowRidge)",
		.features = "clwb umip gfni cldemote movdiri movdir64b core-capability "
			    "split-lock-detect -rdctl-no -skip-l1dfl-vmentry",
		.versions = snowridge,
	},
	{
		.name = "KnightsMill",
		.like = "Conroe",
		.vendor = INTEL,
		.family = 6,
		.model = 133,
		.stepping = 0,
		.level = 0xd,
		.xlevel = 0x80000008,
		.id = "Intel Xeon Phi Processor (Knights Mill)",
		.features =
			"ss pclmulqdq fma cx16 sse4.1 sse4.2 x2apic movbe popcnt tsc-deadline "
			"aes xsave avx f16c rdrand fsgsbase bmi1 avx2 smep bmi2 erms avx512f "
			"rdseed adx avx512pf avx512er avx512cd avx512-vpopcntdq avx512-4vnniw "
			"avx512-4fmaps pdpe1gb rdtscp abm 3dnowprefetch xsaveopt arat "
			"-vmx-vintr-pending -vmx-tsc-offset -vmx-hlt-exit -vmx-invlpg-exit "
			"-vmx-mwait-exit -vmx-rdpmc-exit -vmx-rdtsc-exit -vmx-cr8-load-exit "
			"-vmx-cr8-store-exit -vmx-flexpriority -vmx-vnmi-pending "
			"-vmx-movdr-exit -vmx-io-exit -vmx-io-bitmap -vmx-msr-bitmap "
			"-vmx-monitor-exit -vmx-pause-exit -vmx-secondary-ctls -vmx-apicv-xapic "
			"-vmx-intr-exit -vmx-nmi-exit -vmx-vnmi -vmx-exit-ack-intr "
			"-vmx-entry-ia32e-mode -vmx-activity-hlt -vmx-ins-outs",
	},
	{0},
};
