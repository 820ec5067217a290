/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one table names the MSRs that belong to a guest. Its order is that of
 * writing: what others depend on first (feature control, counters stopped before they are set), the
 * TSC before anything that counts in it, and what fires by itself last. x86_msr_list_probe() keeps
 * those that this host's KVM knows.
 *
 * Loading: KVM refuses an MSR the vCPU doesn't have; if the value is 0 nothing is lost, and it is
 * passed over.
 */
#include "base/clock.h"
#include "base/owned.h"
#include "kvm/x86/state.h"
#include "kvm/x86/state_private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>

#define KVM_GP_COUNTERS 8 /* KVM emulates no more; 0xcd is another MSR */

/**
 * struct msr_range - @count MSRs from @first in steps of 1
 */
struct msr_range {
	uint32_t first, count;
};

static const struct msr_range ranges[] = {
	{MSR_FEATURE_CONTROL, 1},
	{MSR_SYSENTER_CS, 3},
	{MSR_PAT, 1},
	{MSR_STAR, 4},
	{MSR_KERNEL_GS_BASE, 1},
	{MSR_VM_HSAVE_PA, 1},
	{MSR_TSC_AUX, 1},
	{MSR_TSC_ADJUST, 1},
	{MSR_MISC_ENABLE, 1},
	{MSR_SMBASE, 1},
	{MSR_SMI_COUNT, 1},
	{MSR_PKRS, 1},
	{MSR_BNDCFGS, 1},
	{MSR_XSS, 1},
	{MSR_UMWAIT_CONTROL, 1},
	{MSR_SPEC_CTRL, 1},
	{MSR_AMD_TSC_RATIO, 1},
	{MSR_TSX_CTRL, 1},
	{MSR_VIRT_SSBD, 1},
	{MSR_XFD, 2},
	{MSR_TSC, 1},
	{MSR_KVM_WALL_CLOCK, 2},
	{MSR_KVM_ASYNC_PF_INT, 1},
	{MSR_KVM_ASYNC_PF, 4},
	{MSR_FIXED_CTR0, X86_FIXED_COUNTERS},
	{MSR_PERFCTR0, KVM_GP_COUNTERS},
	{MSR_EVNTSEL0, KVM_GP_COUNTERS},
	{MSR_GLOBAL_STATUS, 1},
	{MSR_FIXED_CTR_CTRL, 1},
	{MSR_GLOBAL_CTRL, 1},
	{MSR_MTRR_DEF_TYPE, 1},
	{MSR_MTRR_FIX64K, 1},
	{MSR_MTRR_FIX16K_0, 2},
	{MSR_MTRR_FIX4K_0, 8},
	{MSR_MTRR_PHYS_BASE0, 16},
	{MSR_MCG_STATUS, 2},
	{MSR_MCG_EXT_CTL, 1},
	{MSR_MC0_CTL, X86_MCE_BANKS * 4},
	{MSR_MCG_CAP, 1},
	{MSR_TSC_DEADLINE, 1},
};

struct msr_buffer {
	struct kvm_msrs head;
	struct kvm_msr_entry entries[X86_MSRS_MAX];
};

static uint32_t all_of_them(uint32_t *index)
{
	uint32_t len = 0;

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		for (uint32_t n = 0; n < ranges[i].count && len < X86_MSRS_MAX; n++)
			index[len++] = ranges[i].first + n;
	return len;
}

/* How many of the first ones KVM reads: it stops at one that it doesn't know. Each call costs more
 * than what it reads. */
static uint32_t readable(int fd, const uint32_t *index, uint32_t len)
{
	struct msr_buffer b = {.head.nmsrs = len};
	int n;

	for (uint32_t i = 0; i < len; i++)
		b.entries[i].index = index[i];
	n = ioctl(fd, KVM_GET_MSRS, &b);
	return n < 0 ? 0 : (uint32_t)n;
}

/* VMX, or SVM. A vCPU that won't tell its CPUID is asked for its nested state each time. */
static bool nests(struct kvm_vcpu *c)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} all = {.head.nent = ARRAY_SIZE(all.entries)};
	uint32_t found = 0;

	if (!kvm_vcpu_host(c)->caps.nested_state)
		return false;
	if (ioctl(kvm_vcpu_fd(c), KVM_GET_CPUID2, &all) < 0)
		return true;
	for (uint32_t i = 0; i < all.head.nent; i++)
		if (all.entries[i].function == 1)
			found |= all.entries[i].ecx & 1U << 5;
		else if (all.entries[i].function == 0x80000001)
			found |= all.entries[i].ecx & 1U << 2;
	return found;
}

/**
 * x86_msr_list_probe() - Find the MSRs that are captured on this host
 * @c:		A vCPU with its CPUID set; the others are alike
 * @ret:	Filled in
 * @e:		Set on failure
 *
 * Errors: ENOTSUP KVM reads none
 * Return: 0, or a negative errno
 */
int x86_msr_list_probe(struct kvm_vcpu *c, struct x86_msr_list *ret, struct err *e)
{
	uint32_t index[X86_MSRS_MAX], len = all_of_them(index);

	ret->len = 0;
	ret->nests = nests(c);
	for (uint32_t at = 0; at < len; at++) { /* past the one that ended the last call */
		uint32_t n = readable(kvm_vcpu_fd(c), index + at, len - at);

		memcpy(ret->index + ret->len, index + at, n * sizeof(index[0]));
		ret->len += n;
		at += n;
	}
	if (!ret->len)
		return err_set(e, ENOTSUP, "KVM reads no MSR of vCPU %u", kvm_vcpu_id(c));
	return 0;
}

/**
 * x86_msrs_capture() - Read the MSRs of a vCPU
 * @c:		The vCPU
 * @list:	Which
 * @s:		Gets msrs, msrs_len and read_ns
 * @e:		Set on failure
 *
 * Errors: as KVM_GET_MSRS; EIO one couldn't be read
 * Return: 0, or a negative errno
 */
int x86_msrs_capture(struct kvm_vcpu *c, const struct x86_msr_list *list, struct x86_vcpu_state *s,
		     struct err *e)
{
	struct msr_buffer b = {.head.nmsrs = list->len};
	int n;

	for (uint32_t i = 0; i < list->len; i++)
		b.entries[i].index = list->index[i];
	s->read_ns = time_ns();
	n = ioctl(kvm_vcpu_fd(c), KVM_GET_MSRS, &b);
	if (n < 0)
		return err_sys(e, "KVM_GET_MSRS of vCPU %u", kvm_vcpu_id(c));
	if ((uint32_t)n != list->len)
		return err_set(e, EIO, "MSR %#" PRIx32 " of vCPU %u can't be read", list->index[n],
			       kvm_vcpu_id(c));
	memcpy(s->msrs, b.entries, list->len * sizeof(b.entries[0]));
	s->msrs_len = list->len;
	return 0;
}

/* Those that tell and can't be told. */
static bool read_only(uint32_t index)
{
	return index == MSR_MCG_CAP;
}

/* Those that count or fire by themselves: what was read of them once says nothing now. */
static bool moves(uint32_t index)
{
	return index == MSR_TSC || index == MSR_TSC_ADJUST || index == MSR_TSC_DEADLINE;
}

static bool has_it(const struct x86_vcpu_state *known, const struct kvm_msr_entry *m,
		   uint32_t *hint)
{
	uint64_t v;

	return known && !moves(m->index) && x86_msr_find(known, m->index, hint, &v) && v == m->data;
}

static uint32_t to_write(const struct x86_vcpu_state *s, const struct x86_vcpu_state *known,
			 struct msr_buffer *b)
{
	uint32_t n = 0, hint = 0;

	for (uint32_t i = 0; i < s->msrs_len; i++)
		if (!read_only(s->msrs[i].index) && !has_it(known, &s->msrs[i], &hint))
			b->entries[n++] = s->msrs[i];
	return n;
}

/**
 * x86_msrs_apply() - Write the MSRs of a vCPU
 * @c:		The vCPU
 * @s:		Values, in writing order
 * @known:	What the vCPU has already; or NULL
 * @e:		Set on failure
 *
 * Errors: as KVM_SET_MSRS; EINVAL one was refused and isn't 0
 * Return: 0, or a negative errno
 */
int x86_msrs_apply(struct kvm_vcpu *c, const struct x86_vcpu_state *s,
		   const struct x86_vcpu_state *known, struct err *e)
{
	struct msr_buffer b = {.head.nmsrs = 0};
	uint32_t left = to_write(s, known, &b);

	while (left) {
		int n;

		b.head.nmsrs = left;
		n = ioctl(kvm_vcpu_fd(c), KVM_SET_MSRS, &b);
		if (n < 0)
			return err_sys(e, "KVM_SET_MSRS of vCPU %u", kvm_vcpu_id(c));
		if ((uint32_t)n == left)
			return 0;
		if (b.entries[n].data)
			return err_set(e, EINVAL,
				       "vCPU %u: this host refuses MSR %#" PRIx32 " = %#" PRIx64,
				       kvm_vcpu_id(c), b.entries[n].index,
				       (uint64_t)b.entries[n].data);
		left -= (uint32_t)n + 1;
		memmove(b.entries, b.entries + n + 1, left * sizeof(b.entries[0]));
	}
	return 0;
}

/* Index of an entry, @s->msrs_len if there is none. Who asks for many asks mostly in order. */
static uint32_t seek(const struct x86_vcpu_state *s, uint32_t index, uint32_t *hint)
{
	uint32_t from = hint && *hint < s->msrs_len ? *hint : 0;

	for (uint32_t n = 0; n < s->msrs_len; n++) {
		uint32_t i = from + n < s->msrs_len ? from + n : from + n - s->msrs_len;

		if (s->msrs[i].index != index)
			continue;
		if (hint)
			*hint = i + 1;
		return i;
	}
	return s->msrs_len;
}

/**
 * x86_msr_find() - Look an MSR up in a captured state
 * @s:		The state
 * @index:	Which
 * @hint:	Where it is looked for first, then the place behind it; NULL: from the start
 * @ret:	Set if it is there
 *
 * Return: whether it is there
 */
bool x86_msr_find(const struct x86_vcpu_state *s, uint32_t index, uint32_t *hint, uint64_t *ret)
{
	uint32_t i = seek(s, index, hint);

	if (i == s->msrs_len)
		return false;
	*ret = s->msrs[i].data;
	return true;
}

/**
 * x86_msr_put() - Set an MSR in a state that will be applied
 * @s:		The state
 * @index:	Which; if the state doesn't have it, it is added behind the others unless @value is
 * 0
 * @hint:	As for x86_msr_find()
 * @value:	Its value
 */
void x86_msr_put(struct x86_vcpu_state *s, uint32_t index, uint32_t *hint, uint64_t value)
{
	uint32_t i = seek(s, index, hint);

	if (i < s->msrs_len)
		s->msrs[i].data = value;
	else if (value && i < X86_MSRS_MAX)
		s->msrs[s->msrs_len++] = (struct kvm_msr_entry){.index = index, .data = value};
}
