/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the kernel's counters of a VM and of a vCPU come from files that describe
 * themselves: a header, a row for each counter, the values. The file of a vCPU can only be opened
 * while it is out of guest mode, but read at any time: so it is opened once, when somebody first
 * asks.
 *
 * Source: KVM API 4.133 (KVM_GET_STATS_FD, Linux 5.14)
 */
#include "kvm/private.h"

#include "base/owned.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COUNTERS_MAX 4096
#define VALUES_MAX   65536

/**
 * kvm_vcpu_stats_open() - Make a vCPU's counters readable
 * @c:		The vCPU; its own thread, or it is parked
 *
 * Where the kernel has none, kvm_vcpu_stats() finds none.
 */
void kvm_vcpu_stats_open(struct kvm_vcpu *c)
{
	if (c->stats_fd < 0)
		c->stats_fd = ioctl(c->fd, KVM_GET_STATS_FD, NULL);
}

/**
 * kvm_vcpu_stats_opened() - Has kvm_vcpu_stats_open() found counters?
 * @c:		The vCPU
 */
bool kvm_vcpu_stats_opened(const struct kvm_vcpu *c)
{
	return c->stats_fd >= 0;
}

static int read_at(int fd, void *buf, size_t len, uint64_t at, struct err *e)
{
	ssize_t n = pread(fd, buf, len, (off_t)at);

	if (n < 0)
		return err_sys(e, "read KVM's counters");
	return (size_t)n == len ? 0 : err_set(e, EIO, "KVM's counters end after %zd bytes", n);
}

/* How many values there are up to the end of the last counter. */
static size_t values_len(const struct kvm_stats_header *h, const uint8_t *rows, size_t row_bytes)
{
	size_t len = 0;

	for (uint32_t i = 0; i < h->num_desc; i++) {
		const struct kvm_stats_desc *d = (const void *)(rows + i * row_bytes);

		len = MAX(len, d->offset / sizeof(uint64_t) + d->size);
	}
	return len;
}

static int counters_read(int fd, kvm_stat_fn *fn, void *opaque, struct err *e)
{
	OWNED(uint8_t *) rows = NULL;
	OWNED(uint64_t *) values = NULL;
	struct kvm_stats_header h;
	size_t row_bytes, len;
	int r = read_at(fd, &h, sizeof(h), 0, e);

	if (r < 0)
		return r;
	if (h.num_desc > COUNTERS_MAX || h.name_size > 4096)
		return err_set(e, EIO, "KVM says that it has %u counters", h.num_desc);
	row_bytes = sizeof(struct kvm_stats_desc) + h.name_size;
	rows = mem_zalloc(h.num_desc * row_bytes + 1);
	r = read_at(fd, rows, h.num_desc * row_bytes, h.desc_offset, e);
	len = r < 0 ? 0 : values_len(&h, rows, row_bytes);
	if (len > VALUES_MAX)
		return err_set(e, EIO, "KVM says that it has %zu values", len);
	values = mem_calloc(len + 1, sizeof(*values));
	if (r >= 0)
		r = read_at(fd, values, len * sizeof(*values), h.data_offset, e);
	for (uint32_t i = 0; i < h.num_desc && r >= 0; i++) {
		const struct kvm_stats_desc *d = (const void *)(rows + i * row_bytes);

		fn(opaque, d, values + d->offset / sizeof(uint64_t));
	}
	return r;
}

/**
 * kvm_vm_stats() - The kernel's counters of a VM
 * @vm:		The VM
 * @fn:		Gets each; where the kernel has none, it isn't called
 * @opaque:	For @fn
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int kvm_vm_stats(struct kvm_vm *vm, kvm_stat_fn *fn, void *opaque, struct err *e)
{
	if (vm->stats_fd < 0)
		vm->stats_fd = ioctl(vm->fd, KVM_GET_STATS_FD, NULL);
	return vm->stats_fd < 0 ? 0 : counters_read(vm->stats_fd, fn, opaque, e);
}

/**
 * kvm_vcpu_stats() - The kernel's counters of a vCPU
 * @c:		The vCPU; it may be running
 * @fn, @opaque, @e: As kvm_vm_stats()
 *
 * Return: 0, or a negative errno
 */
int kvm_vcpu_stats(const struct kvm_vcpu *c, kvm_stat_fn *fn, void *opaque, struct err *e)
{
	return c->stats_fd < 0 ? 0 : counters_read(c->stats_fd, fn, opaque, e);
}
