/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what a vCPU left guest mode for. Ports and memory-mapped I/O go to the
 * io_space; memory that is RAM in the vCPU's current view, that of SMM or the other (a slot was
 * just being changed), is accessed directly, and writes to ROM go to whoever answers behind it
 * (flash), else nowhere. What KVM or the guest can't recover from stops the machine with run state
 * internal-error; the registers go to the log.
 */
#include "base/log.h"
#include "machine/private.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/**
 * vcpu_fault() - Stop the machine: this vCPU can't go on
 * @v:		The vCPU; own thread
 * @fmt:	What happened
 */
void vcpu_fault(struct vm_vcpu *v, const char *fmt, ...)
{
	char text[256], regs[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	kvm_vcpu_describe(v->kvm, regs, sizeof(regs));
	log_error("vCPU %u: %s\n%s", v->index, text, regs);
	vm_request(v->vm, VM_REQUEST_INTERNAL_ERROR, 0);
}

/* INS and OUTS come as one exit with all elements of a page in the buffer. */
static void serve_port(struct vm_vcpu *v, struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	struct io_space *io = v->vm->c.io;

	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_OUT)
			io_write(io, IO_PORT, run->io.port, data, run->io.size);
		else
			io_read(io, IO_PORT, run->io.port, data, run->io.size);
	}
}

static void serve_memory(struct vm_vcpu *v, struct kvm_run *run)
{
	struct memory *m = v->vm->c.memory;
	enum memory_space space = kvm_vcpu_in_smm(v->kvm) ? MEMORY_SMM : MEMORY_NORMAL;
	uint64_t gpa = run->mmio.phys_addr;
	uint32_t len = run->mmio.len;
	uint8_t *data = run->mmio.data;

	if (run->mmio.is_write) {
		if (!memory_write_in(m, space, gpa, data, len))
			io_write(v->vm->c.io, IO_MEMORY, gpa, data, len);
	} else if (!memory_read_in(m, space, gpa, data, len)) {
		io_read(v->vm->c.io, IO_MEMORY, gpa, data, len);
	}
}

static bool serve_system_event(struct vm_vcpu *v, const struct kvm_run *run)
{
	switch (run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN: vm_request(v->vm, MACHINE_POWEROFF, 0); return false;
	case KVM_SYSTEM_EVENT_RESET: vm_request(v->vm, MACHINE_RESET, 0); return false;
	case KVM_SYSTEM_EVENT_CRASH: vm_request(v->vm, MACHINE_PANICKED, 1); return true;
	default: vcpu_fault(v, "system event %u", run->system_event.type); return false;
	}
}

/* Some kernels reboot so on purpose; of any other this is the only trace of what befell it. */
static bool triple_fault(struct vm_vcpu *v)
{
	log_guest(&v->shutdowns, "vCPU %u: triple fault, the guest is reset", v->index);
	vm_request(v->vm, MACHINE_RESET, 0);
	return false;
}

static bool internal_error(struct vm_vcpu *v, const struct kvm_run *run)
{
	char data[160] = "";
	size_t n = 0;

	for (uint32_t i = 0; i < run->internal.ndata && i < 6; i++)
		n += (size_t)snprintf(data + n, sizeof(data) - n, " %#llx", run->internal.data[i]);
	vcpu_fault(v, "KVM internal error %u%s%s", run->internal.suberror,
		   run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION
			   ? " (an instruction KVM can't emulate)"
			   : "",
		   data);
	return false;
}

static bool entry_failed(struct vm_vcpu *v, const struct kvm_run *run)
{
	vcpu_fault(v, "the CPU refused to enter the guest, reason %#llx",
		   run->fail_entry.hardware_entry_failure_reason);
	return false;
}

static bool dirty_ring_full(struct vm_vcpu *v)
{
	if (v->vm->c.dirty_full)
		v->vm->c.dirty_full(v->vm->c.opaque);
	vcpu_pace(v);
	return true;
}

/**
 * vcpu_exit_serve() - Do what the vCPU left guest mode for
 * @v:		The vCPU; own thread
 *
 * Return: false if it can't go on before the main thread acted
 */
bool vcpu_exit_serve(struct vm_vcpu *v)
{
	struct kvm_run *run = kvm_vcpu_run_page(v->kvm);

	switch (run->exit_reason) {
	case KVM_EXIT_IO: serve_port(v, run); return !v->hold;
	case KVM_EXIT_MMIO: serve_memory(v, run); return !v->hold;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN: return true;
	case KVM_EXIT_SHUTDOWN: return triple_fault(v);
	case KVM_EXIT_SYSTEM_EVENT: return serve_system_event(v, run);
	case KVM_EXIT_INTERNAL_ERROR: return internal_error(v, run);
	case KVM_EXIT_FAIL_ENTRY: return entry_failed(v, run);
	case KVM_EXIT_DIRTY_RING_FULL: return dirty_ring_full(v);
	default: vcpu_fault(v, "exit %u of KVM isn't known", run->exit_reason); return false;
	}
}
