/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_X86_BOOT_H
#define MACHINE_X86_BOOT_H

#include "base/err.h"
#include "kvm/x86/x86.h"
#include "machine/x86/layout.h"
#include "memory/memory.h"

/**
 * struct boot_options - -kernel, -initrd, -append without firmware
 * @kernel:	PVH ELF or bzImage
 * @initrd, @cmdline: Or NULL
 * @layout:	RAM
 * @rsdp:	Guest address of the ACPI root pointer, 0: the kernel searches for it
 */
struct boot_options {
	const char *kernel, *initrd, *cmdline;
	struct x86_layout layout;
	uint64_t rsdp;
};

/* Writes kernel, initrd and boot data to guest memory; again after each reset. @ret is for
 * x86_vcpu_enter(). */
MUST_CHECK int boot_load(struct memory *m, const struct boot_options *o, struct x86_entry *ret,
			 struct err *e);

#endif
