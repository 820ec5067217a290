/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: -probe-host opens KVM as a guest would, and measures how fast ring 0 runs:
 * a loop of two instructions in real mode at the reset vector, so that no register has to be set,
 * ended by a port write. Ordinary hosts run it at full speed; some nested ones emulate it. The
 * answer is one JSON object on stdout; outlive doctor reads it.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/owned.h"
#include "kvm/kvm.h"
#include "memory/memory.h"
#include "memory/slots.h"
#include "vmm/vmm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RESET_PAGE   0xffff0000u /* what the CPU sees of it after reset: CS base, IP 0xfff0 */
#define LOOPS_FIRST  20000u      /* 80 ms where ring 0 is emulated */
#define LOOPS_SECOND 100000000u  /* 50 ms where it isn't */
#define QUICK_NS     (5 * NS_PER_MS)
#define END_PORT     0x80

/**
 * struct probe - A VM of one vCPU without devices
 */
struct probe {
	struct kvm_host host;
	struct memory memory;
	struct slots *slots;
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
};

/* mov ecx, @loops; dec ecx; jnz; out END_PORT, al; and at the reset vector a jump to it. */
static void write_code(uint8_t *page, uint32_t loops)
{
	static const uint8_t code[] = {0x66, 0xb9, 0,    0,    0,    0,
				       0x66, 0x49, 0x75, 0xfc, 0xe6, END_PORT};
	static const uint8_t jump[] = {0xe9, 0x0d, 0x00}; /* 0xfff0 + 3 + 13 wraps to 0 */

	memcpy(page, code, sizeof(code));
	store_le32(page + 2, loops);
	memcpy(page + 0xfff0, jump, sizeof(jump));
}

static int memory_make(struct probe *p, uint32_t loops, struct err *e)
{
	struct ram_options options = {.kind = RAM_MEMFD};
	struct memory_map map = {.gpa = RESET_PAGE, .size = 64 * KiB, .enabled = true};
	struct memory_map *made;
	int r = ram_create(&p->memory, "probe", 64 * KiB, &options, &map.block, e);

	if (r < 0)
		return r;
	write_code(map.block->hva, loops);
	r = memory_map_add(&p->memory, &map, &made, e);
	return r < 0 ? r : slots_attach(&p->slots, &p->memory, p->vm, e);
}

static int make(struct probe *p, uint32_t loops, struct err *e)
{
	int r = kvm_vm_create(&p->vm, &p->host, NULL, e);

	if (r == 0)
		r = memory_make(p, loops, e);
	if (r == 0)
		r = kvm_vcpu_create(&p->vcpu, p->vm, 0, e);
	return r == 0 ? kvm_vcpu_thread_init(e) : r;
}

static void unmake(struct probe *p)
{
	if (p->vcpu)
		kvm_vcpu_destroy(p->vcpu);
	if (p->slots)
		slots_detach(p->slots);
	if (p->vm)
		kvm_vm_destroy(p->vm);
	memory_destroy(&p->memory);
	p->vcpu = NULL;
	p->slots = NULL;
	p->vm = NULL;
}

/* Time of @loops loops, or a negative errno. */
static int64_t measure(struct probe *p, uint32_t loops, struct err *e)
{
	int64_t ns, began;
	int r;

	memory_init(&p->memory);
	r = make(p, loops, e);
	began = time_ns();
	while (r == 0) {
		const struct kvm_run *run = kvm_vcpu_run_page(p->vcpu);

		r = kvm_vcpu_run(p->vcpu);
		if (r == 0 && run->exit_reason == KVM_EXIT_IO && run->io.port == END_PORT)
			break;
		if (r == 0)
			r = err_set(e, EIO, "the measuring loop ended by exit %u",
				    run->exit_reason);
	}
	ns = time_ns() - began;
	unmake(p);
	return r < 0 ? r : MAX(ns, 1);
}

/* A short loop first: where ring 0 is emulated the long one would take minutes. */
static double ring0_speed(struct probe *p)
{
	struct err e;
	uint32_t loops = LOOPS_FIRST;
	int64_t ns = measure(p, loops, &e);

	if (ns > 0 && ns < QUICK_NS) {
		loops = LOOPS_SECOND;
		ns = measure(p, loops, &e);
	}
	if (ns < 0)
		log_warn("ring 0 can't be measured: %s", e.msg);
	return ns > 0 ? 2.0 * loops / ((double)ns / NS_PER_SEC) : 0;
}

static json_t *lacking(const struct kvm_caps *c)
{
	const struct {
		const char *name;
		bool there;
	} wanted[] = {
		{"dirty log with manual protect", c->dirty_log_manual},
		{"dirty ring", c->dirty_ring_entries > 0},
		{"read-only memory", c->readonly_memory},
		{"pre-fault", c->pre_fault},
		{"TSC scaling", c->tsc_control},
		{"TSC offset", c->tsc_offset},
		{"xsave2", c->xsave2},
		{"nested state", c->nested_state},
		{"system management mode", c->smm},
		{"ioeventfd of any length", c->ioeventfd_any_length},
		{"kvmclock with real time", c->kvmclock_realtime},
	};
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (!wanted[i].there)
			json_array_append_new(list, json_string(wanted[i].name));
	return list;
}

/**
 * probe_host() - Print what KVM offers here
 *
 * Return: exit code of the process: 0, also if there is no KVM (the answer says so)
 */
int probe_host(void)
{
	struct probe p = {0};
	OWNED_JSON *answer = NULL;
	struct err e = {0}, small = {0};

	if (kvm_host_open(&p.host, &e) < 0) {
		answer = json_pack("{s:s}", "error", e.msg);
	} else {
		bool huge = ram_huge_possible(&small) == 0;

		answer = json_pack("{s:i, s:i, s:i, s:o, s:f, s:s*}", "api", KVM_API_VERSION,
				   "max-vcpus", (int)p.host.caps.max_vcpus, "max-slots",
				   (int)p.host.caps.max_slots, "lacking", lacking(&p.host.caps),
				   "ring0-instructions-per-second", ring0_speed(&p), "small-pages",
				   huge ? NULL : small.msg);
		kvm_host_close(&p.host);
	}
	json_dumpf(answer, stdout, JSON_INDENT(2));
	putchar('\n');
	return 0;
}
