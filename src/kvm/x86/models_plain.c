/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: CPU models of no one product, and of products before those that have names
 * for their features by generation. Each row is what differs from an earlier one.
 *
 * Source: QEMU 7.2, whose guests have these
 */
#include "kvm/x86/models.h"

#define INTEL "GenuineIntel"
#define AMD   "AuthenticAMD"

const struct x86_model x86_models_plain[] = {
	{
		.name = "qemu64",
		.vendor = AMD,
		.family = 15,
		.model = 107,
		.stepping = 1,
		.level = 0xd,
		.xlevel = 0x8000000a,
		.id = "QEMU Virtual CPU version 2.5+",
		.features = "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 "
			    "clflush mmx fxsr sse sse2 pni cx16 syscall nx lm lahf-lm svm",
	},
	{
		.name = "qemu32",
		.like = "qemu64",
		.vendor = INTEL,
		.family = 6,
		.model = 6,
		.stepping = 3,
		.level = 0x4,
		.xlevel = 0x80000004,
		.id = "QEMU Virtual CPU version 2.5+",
		.features = "-mtrr -mca -pse36 -clflush -cx16 -syscall -nx -lm -lahf-lm -svm",
	},
	{
		.name = "kvm64",
		.like = "qemu64",
		.vendor = INTEL,
		.family = 15,
		.model = 6,
		.stepping = 1,
		.level = 0xd,
		.xlevel = 0x80000008,
		.id = "Common KVM processor",
		.features = "vme vmx-vintr-pending vmx-tsc-offset vmx-hlt-exit vmx-invlpg-exit "
			    "vmx-mwait-exit vmx-rdpmc-exit vmx-rdtsc-exit vmx-cr8-load-exit "
			    "vmx-cr8-store-exit vmx-flexpriority vmx-movdr-exit vmx-io-exit "
			    "vmx-io-bitmap vmx-monitor-exit vmx-pause-exit vmx-intr-exit "
			    "vmx-nmi-exit vmx-exit-ack-intr vmx-entry-ia32e-mode vmx-activity-hlt "
			    "-lahf-lm -svm",
	},
	{
		.name = "kvm32",
		.like = "kvm64",
		.vendor = INTEL,
		.family = 15,
		.model = 6,
		.stepping = 1,
		.level = 0x5,
		.xlevel = 0x80000008,
		.id = "Common 32-bit KVM processor",
		.features = "vmx-msr-bitmap -cx16 -syscall -nx -lm -vmx-cr8-load-exit "
			    "-vmx-cr8-store-exit -vmx-flexpriority",
	},
	{
		.name = "486",
		.vendor = INTEL,
		.family = 4,
		.model = 8,
		.stepping = 0,
		.level = 0x1,
		.id = "",
		.features = "fpu vme pse",
	},
	{
		.name = "pentium",
		.like = "486",
		.vendor = INTEL,
		.family = 5,
		.model = 4,
		.stepping = 3,
		.level = 0x1,
		.id = "",
		.features = "de tsc msr mce cx8 apic mmx",
	},
	{
		.name = "pentium2",
		.like = "qemu32",
		.vendor = INTEL,
		.family = 6,
		.model = 5,
		.stepping = 2,
		.level = 0x2,
		.id = "",
		.features = "vme mtrr mca pse36 -sse -sse2 -pni",
	},
	{
		.name = "pentium3",
		.like = "pentium2",
		.vendor = INTEL,
		.family = 6,
		.model = 7,
		.stepping = 3,
		.level = 0x3,
		.id = "",
		.features = "sse",
	},
	{
		.name = "coreduo",
		.like = "kvm32",
		.vendor = INTEL,
		.family = 6,
		.model = 14,
		.stepping = 8,
		.level = 0xa,
		.xlevel = 0x80000008,
		.id = "Genuine Intel(R) CPU           T2600  @ 2.16GHz",
		.features = "acpi ss monitor nx -pse36",
	},
	{
		.name = "core2duo",
		.like = "kvm64",
		.vendor = INTEL,
		.family = 6,
		.model = 15,
		.stepping = 11,
		.level = 0xa,
		.xlevel = 0x80000008,
		.id = "Intel(R) Core(TM)2 Duo CPU     T7700  @ 2.40GHz",
		.features = "acpi ss monitor ssse3 lahf-lm vmx-vnmi-pending vmx-msr-bitmap "
			    "vmx-secondary-ctls vmx-apicv-xapic vmx-vnmi vmx-ins-outs",
	},
	{
		.name = "n270",
		.like = "qemu64",
		.vendor = INTEL,
		.family = 6,
		.model = 28,
		.stepping = 2,
		.level = 0xa,
		.xlevel = 0x80000008,
		.id = "Intel(R) Atom(TM) CPU N270   @ 1.60GHz",
		.features = "vme acpi ss monitor ssse3 movbe -pse36 -cx16 -syscall -lm -svm",
	},
	{
		.name = "athlon",
		.like = "pentium3",
		.vendor = AMD,
		.family = 6,
		.model = 2,
		.stepping = 3,
		.level = 0x2,
		.xlevel = 0x80000008,
		.id = "QEMU Virtual CPU version 2.5+",
		.features = "sse2 mmxext 3dnowext 3dnow",
	},
	{
		.name = "phenom",
		.like = "qemu64",
		.vendor = AMD,
		.family = 16,
		.model = 2,
		.stepping = 3,
		.level = 0x5,
		.xlevel = 0x8000001a,
		.id = "AMD Phenom(tm) 9550 Quad-Core Processor",
		.features = "vme monitor popcnt mmxext fxsr-opt pdpe1gb rdtscp 3dnowext 3dnow abm "
			    "sse4a npt",
	},
	{0},
};
