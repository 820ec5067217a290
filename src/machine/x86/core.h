/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_X86_CORE_H
#define MACHINE_X86_CORE_H

#include "machine/x86/cpus.h"

/*
 * The guest as an ELF core file, for crash, gdb and readelf: header, program headers, notes, then
 * the memory of each range in order. A range is a segment whose address is the guest physical one.
 * The notes have each vCPU twice: as NT_PRSTATUS, and with its control registers and segments as
 * QEMU's dump-guest-memory writes them (name "QEMU", type 0).
 */

/* All of the file but the memory. Guest stopped. @ret: the caller frees it. */
MUST_CHECK int x86_core_head(struct x86_cpus *cpus, const struct memory_range *ranges, size_t len,
			     uint8_t **ret, size_t *ret_len, struct err *e);

#endif
