/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what a VM needs on x86 before its first vCPU: three pages of guest address
 * space for Intel's real-mode support, placed where QEMU's machines report them as reserved; the
 * interrupt controllers; the PIT. The pins are routed as on a PC: the timer's line 0 reaches the
 * IOAPIC at pin 2.
 */
#include "kvm/private.h"

#include <cpuid.h>
#include <errno.h>
#include <sys/ioctl.h>

#define IDENTITY_MAP_GPA 0xfeffc000ULL
#define TSS_GPA          (IDENTITY_MAP_GPA + 0x1000)

struct x86_need {
	int cap;
	const char *name, *what;
};

static const struct x86_need x86_needs[] = {
	{KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID", "CPUID"},
	{KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR", "real mode"},
	{KVM_CAP_PIT2, "KVM_CAP_PIT2", "the timer i8254"},
	{KVM_CAP_PIT_STATE2, "KVM_CAP_PIT_STATE2", "saving the timer i8254"},
	{KVM_CAP_ADJUST_CLOCK, "KVM_CAP_ADJUST_CLOCK", "saving kvmclock"},
	{KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS", "saving vCPU state"},
	{KVM_CAP_XSAVE, "KVM_CAP_XSAVE", "saving vCPU state"},
	{KVM_CAP_XCRS, "KVM_CAP_XCRS", "saving vCPU state"},
	{KVM_CAP_GET_TSC_KHZ, "KVM_CAP_GET_TSC_KHZ", "saving vCPU state"},
	{KVM_CAP_TSC_DEADLINE_TIMER, "KVM_CAP_TSC_DEADLINE_TIMER", "the local APIC's timer"},
};

/**
 * kvm_arch_host_check() - What x86 needs of KVM
 * @h:		The host, with @fd and common capabilities
 * @e:		Set on failure
 *
 * Errors: ENOTSUP a capability is missing
 * Return: 0, or a negative errno
 */
int kvm_arch_host_check(struct kvm_host *h, struct err *e)
{
	uint32_t bytes, flags, unused;
	int size = ioctl(h->fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);

	for (size_t i = 0; i < ARRAY_SIZE(x86_needs); i++)
		if (ioctl(h->fd, KVM_CHECK_EXTENSION, x86_needs[i].cap) <= 0)
			return err_set(e, ENOTSUP, "KVM on this host lacks %s, which %s needs",
				       x86_needs[i].name, x86_needs[i].what);
	for (uint32_t i = 2; i < ARRAY_SIZE(h->xsave_offset); i++)
		__cpuid_count(0xd, i, bytes, h->xsave_offset[i], flags, unused);
	h->xsave_size = size > (int)sizeof(struct kvm_xsave) ? (size_t)size
							     : sizeof(struct kvm_xsave);
	return 0;
}

static int enable_caps(struct kvm_vm *vm, struct err *e)
{
	struct kvm_enable_cap x2apic = {
		.cap = KVM_CAP_X2APIC_API,
		.args = {KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK},
	};
	struct kvm_enable_cap payload = {.cap = KVM_CAP_EXCEPTION_PAYLOAD, .args = {1}};
	struct kvm_enable_cap triple = {.cap = KVM_CAP_X86_TRIPLE_FAULT_EVENT, .args = {1}};

	if (vm->host->caps.x2apic_api && vm->host->caps.max_vcpus > 255)
		if (ioctl(vm->fd, KVM_ENABLE_CAP, &x2apic) < 0)
			return err_sys(e, "KVM_CAP_X2APIC_API");
	if (vm->host->caps.exception_payload && ioctl(vm->fd, KVM_ENABLE_CAP, &payload) < 0)
		return err_sys(e, "KVM_CAP_EXCEPTION_PAYLOAD");
	if (vm->host->caps.triple_fault_event && ioctl(vm->fd, KVM_ENABLE_CAP, &triple) < 0)
		return err_sys(e, "KVM_CAP_X86_TRIPLE_FAULT_EVENT");
	return 0;
}

/**
 * kvm_arch_vm_init() - Give a new VM its interrupt controllers and timer
 * @vm:		Without vCPUs
 * @e:		Set on failure
 *
 * Errors: as the ioctls
 * Return: 0, or a negative errno
 */
int kvm_arch_vm_init(struct kvm_vm *vm, struct err *e)
{
	uint64_t identity = IDENTITY_MAP_GPA;
	struct kvm_pit_config pit = {.flags = 0}; /* port 0x61 is the speaker device's */

	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
		return err_sys(e, "KVM_SET_IDENTITY_MAP_ADDR");
	if (ioctl(vm->fd, KVM_SET_TSS_ADDR, (unsigned long)TSS_GPA) < 0)
		return err_sys(e, "KVM_SET_TSS_ADDR");
	if (enable_caps(vm, e) < 0)
		return -e->code;
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return err_sys(e, "KVM_CREATE_IRQCHIP");
	if (ioctl(vm->fd, KVM_CREATE_PIT2, &pit) < 0)
		return err_sys(e, "KVM_CREATE_PIT2");
	return 0;
}

static struct kvm_irq_routing_entry pin(unsigned int gsi, unsigned int chip, unsigned int n)
{
	return (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = {.irqchip = chip, .pin = n},
	};
}

/**
 * kvm_arch_fixed_routes() - The routes of the interrupt controllers' pins
 * @entries:	Filled in, at most 40
 *
 * Source: QEMU's pc machines; ACPI's interrupt source override 0 -> 2 says the same to the guest
 * Return: how many
 */
unsigned int kvm_arch_fixed_routes(struct kvm_irq_routing_entry *entries)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < 16; i++)
		entries[n++] = pin(i, i < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
				   i & 7);
	for (unsigned int i = 0; i < 24; i++)
		if (i != 2)
			entries[n++] = pin(i, KVM_IRQCHIP_IOAPIC, i == 0 ? 2 : i);
	return n;
}
