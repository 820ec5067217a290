/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KVM_X86_STATE_PRIVATE_H
#define KVM_X86_STATE_PRIVATE_H

#include "kvm/x86/state.h"

/* Inside the kvm room: msrs.c for state.c. */
MUST_CHECK int x86_msrs_capture(struct kvm_vcpu *c, const struct x86_msr_list *list,
				struct x86_vcpu_state *s, struct err *e);
MUST_CHECK int x86_msrs_apply(struct kvm_vcpu *c, const struct x86_vcpu_state *s,
			      const struct x86_vcpu_state *known, struct err *e);

#endif
