/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: preloaded into any VMM, it writes down what a vCPU is told to be: a line in
 * the file that CPUID_TOLD names for each entry of KVM_SET_CPUID2 that isn't all zero, and for each
 * MSR that describes a CPU. What the guest then reads is up to KVM, and on some hosts to the CPU.
 */
#include <dlfcn.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

int ioctl(int fd, unsigned long request, ...);

static void cpuid_tell(FILE *out, const struct kvm_cpuid2 *c)
{
	for (__u32 i = 0; i < c->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &c->entries[i];

		if (e->eax || e->ebx || e->ecx || e->edx)
			fprintf(out, "CPUID %08x.%x: %08x %08x %08x %08x\n", e->function, e->index,
				e->eax, e->ebx, e->ecx, e->edx);
	}
}

static bool describes_a_cpu(__u32 msr)
{
	return msr == 0x8b || msr == 0xcf || msr == 0x10a || msr == 0x345 ||
	       (msr >= 0x480 && msr <= 0x491);
}

static void msrs_tell(FILE *out, const struct kvm_msrs *m)
{
	for (__u32 i = 0; i < m->nmsrs; i++)
		if (describes_a_cpu(m->entries[i].index))
			fprintf(out, "MSR %x: %llx\n", m->entries[i].index, m->entries[i].data);
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*real)(int, unsigned long, ...) = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT,
										       "ioctl");
	const char *path = getenv("CPUID_TOLD");
	va_list ap;
	void *arg;
	FILE *out;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	out = path && (request == KVM_SET_CPUID2 || request == KVM_SET_MSRS) ? fopen(path, "a")
									     : NULL;
	if (out) {
		if (request == KVM_SET_CPUID2)
			cpuid_tell(out, arg);
		else
			msrs_tell(out, arg);
		fclose(out);
	}
	return real(fd, request, arg);
}
