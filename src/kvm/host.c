/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: see kvm.h. What a guest can't do without is a row in a table: capability,
 * name, what needs it. The first one missing is the error. What is only better to have becomes a
 * flag in struct kvm_caps.
 */
#include "base/owned.h"
#include "kvm/private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#ifndef KVM_CAP_PRE_FAULT_MEMORY
#define KVM_CAP_PRE_FAULT_MEMORY 236
#endif

/**
 * struct kvm_need - A capability without which nothing runs
 * @cap:	Number
 * @name:	As in the kernel's documentation
 * @what:	What needs it, for the operator
 */
struct kvm_need {
	int cap;
	const char *name, *what;
};

static const struct kvm_need needs[] = {
	{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY", "guest memory"},
	{KVM_CAP_DESTROY_MEMORY_REGION_WORKS, "KVM_CAP_DESTROY_MEMORY_REGION_WORKS",
	 "moving PCI BARs"},
	{KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, "KVM_CAP_JOIN_MEMORY_REGIONS_WORKS",
	 "firmware shadowing"},
	{KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP", "the interrupt controllers"},
	{KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING", "MSI"},
	{KVM_CAP_IRQFD, "KVM_CAP_IRQFD", "MSI of virtio devices"},
	{KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD", "virtio doorbells"},
	{KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI", "MSI"},
	{KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE", "saving vCPU state"},
	{KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS", "saving vCPU state"},
	{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT", "stopping a vCPU (Linux 4.13 or newer)"},
};

/* The first one missing, with what needs it. */
static int needs_check(int fd, const struct kvm_need *list, size_t len, struct err *e)
{
	for (size_t i = 0; i < len; i++)
		if (ioctl(fd, KVM_CHECK_EXTENSION, list[i].cap) <= 0)
			return err_set(e, ENOTSUP, "KVM on this host lacks %s, which %s needs",
				       list[i].name, list[i].what);
	return 0;
}

static int open_device(int *ret_fd, struct err *e)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		*ret_fd = fd;
		return 0;
	}
	err_sys(e, "open /dev/kvm");
	switch (errno) {
	case EACCES:
	case EPERM:
		return err_hint(
			e, "add the user to the group kvm (usermod -aG kvm USER) and log in again");
	case ENOENT:
		return err_hint(e, "load the module (modprobe kvm_intel or kvm_amd) and see that "
				   "virtualisation is on in the firmware setup");
	case ENODEV:
	case ENXIO:
		return err_hint(
			e, "the module is loaded but the CPU offers no virtualisation; inside a "
			   "VM, nesting must be on in its host");
	default: return -e->code;
	}
}

static int cap(int fd, int number)
{
	int v = ioctl(fd, KVM_CHECK_EXTENSION, number);

	return v > 0 ? v : 0;
}

static void caps_read(int fd, struct kvm_caps *c)
{
	int manual = cap(fd, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
	int ring = cap(fd, KVM_CAP_DIRTY_LOG_RING);

	c->max_vcpus = (unsigned int)cap(fd, KVM_CAP_MAX_VCPUS);
	c->max_slots = (unsigned int)cap(fd, KVM_CAP_NR_MEMSLOTS);
	c->dirty_log_manual = manual & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;
	c->dirty_log_initially_set = manual & KVM_DIRTY_LOG_INITIALLY_SET;
	c->dirty_ring_entries = (uint32_t)ring / sizeof(struct kvm_dirty_gfn);
	c->readonly_memory = cap(fd, KVM_CAP_READONLY_MEM);
	c->pre_fault = cap(fd, KVM_CAP_PRE_FAULT_MEMORY);
	c->tsc_control = cap(fd, KVM_CAP_TSC_CONTROL);
	c->tsc_offset = cap(fd, KVM_CAP_VCPU_ATTRIBUTES);
	c->nested_state = cap(fd, KVM_CAP_NESTED_STATE);
	c->xsave2 = cap(fd, KVM_CAP_XSAVE2);
	c->ioeventfd_any_length = cap(fd, KVM_CAP_IOEVENTFD_ANY_LENGTH);
	c->exception_payload = cap(fd, KVM_CAP_EXCEPTION_PAYLOAD);
	c->msr_filter = cap(fd, KVM_CAP_X86_MSR_FILTER);
	c->kvmclock_realtime = cap(fd, KVM_CAP_ADJUST_CLOCK) & KVM_CLOCK_REALTIME;
	c->x2apic_api = cap(fd, KVM_CAP_X2APIC_API);
	c->triple_fault_event = cap(fd, KVM_CAP_X86_TRIPLE_FAULT_EVENT);
	c->stats = cap(fd, KVM_CAP_BINARY_STATS_FD);
	c->smm = cap(fd, KVM_CAP_X86_SMM) && cap(fd, KVM_CAP_MULTI_ADDRESS_SPACE) > 1;
}

/**
 * kvm_host_open() - Open /dev/kvm and see what it can do
 * @h:		Filled in on success; release with kvm_host_close()
 * @e:		Set on failure, with the remedy
 *
 * Errors: EACCES, ENOENT, ENODEV as open(2); ENOTSUP a required capability is missing
 * Return: 0, or a negative errno
 */
int kvm_host_open(struct kvm_host *h, struct err *e)
{
	OWNED_FD fd = -1;
	int version, r = open_device(&fd, e);

	if (r < 0)
		return r;
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION)
		return err_set(e, ENOTSUP, "/dev/kvm speaks API version %d, not %d", version,
			       KVM_API_VERSION);
	r = needs_check(fd, needs, ARRAY_SIZE(needs), e);
	if (r < 0)
		return r;
	*h = (struct kvm_host){.fd = fd};
	caps_read(fd, &h->caps);
	r = ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (r < 0)
		return err_sys(e, "KVM_GET_VCPU_MMAP_SIZE");
	h->run_size = (size_t)r;
	r = kvm_arch_host_check(h, e);
	if (r == 0)
		(void)fd_take(&fd);
	return r;
}

/**
 * kvm_host_close() - Close /dev/kvm
 * @h:		Opened
 */
void kvm_host_close(struct kvm_host *h)
{
	fd_close(&h->fd);
}
