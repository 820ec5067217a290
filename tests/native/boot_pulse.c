/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The witness guest boots over kvm, memory and machine alone, with a serial port of this test's: 1,
 * 2 and 8 vCPUs. It is stopped and run again, and its own report says that it beats, and that none
 * of its memory changed.
 */
#include "pulse_guest.h"

static int shorter(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void boots(unsigned int vcpus)
{
	struct bench *b = bench_make(vcpus, NULL);
	struct pulse_report *r = report(b);
	uint64_t beats;
	int64_t stops[20];

	pulse_boots(b);
	for (int i = 0; i < 20; i++) {
		vm_stop(&b->vm, RUN_PAUSED);
		stops[i] = b->vm.stop_ns / 1000;
		beats = cpu_report(b, vcpus - 1)->beats;
		usleep(1000);
		assert_int_equal(cpu_report(b, vcpus - 1)->beats, beats);
		vm_start(&b->vm);
		assert_true(reaches(&cpu_report(b, vcpus - 1)->beats, 8, beats + 1));
	}
	vm_stop(&b->vm, RUN_PAUSED);
	qsort(stops, 20, sizeof(stops[0]), shorter);
	print_message("%u vCPUs: 20 stops, median %lld us, longest %lld us\n", vcpus,
		      (long long)stops[10], (long long)stops[19]);
	assert_int_equal(r->faults, 0);
	assert_int_equal(r->state, PULSE_RUNNING);
	bench_destroy(b);
}

/* A device's section goes through its wire form, as from one host to another. */
static void section_move(struct bench *to, const struct device *dev, struct device *peer)
{
	const struct device_class *c = dev->class;
	void *state = calloc(1, c->state->size), *scratch = calloc(1, c->state->size);
	struct state_writer w = {0};
	struct state_reader r;

	assert_ptr_equal(c, peer->class);
	c->capture(dev, state);
	state_save(c->state, state, &w);
	c->capture(peer, scratch);
	r = (struct state_reader){.buf = w.buf, .len = w.len};
	ok(to, state_load(c->state, scratch, c->state->version, &r, &to->e));
	assert_int_equal(r.at, w.len);
	if (c->validate)
		ok(to, c->validate(peer, scratch, &to->e));
	c->apply(peer, scratch);
	state_writer_destroy(&w);
	free(state);
	free(scratch);
}

static void sections_move(struct bench *from, struct bench *to)
{
	struct list *peer = to->devices.next;
	struct device *dev;

	list_for_each (dev, &from->devices, link) {
		section_move(to, dev, list_entry(peer, struct device, link));
		peer = peer->next;
	}
}

/* The guest goes on in a VM of its own that shares nothing with the old one but the file behind
 * its RAM. */
static void moves_to_another_vm(unsigned int vcpus)
{
	struct bench *from = bench_make(vcpus, NULL), *to = bench_make(vcpus, from);
	struct pulse_report *r = report(to);
	int64_t t[4];
	uint64_t beats;

	pulse_boots(from);
	vm_stop(&from->vm, RUN_POSTMIGRATE);
	t[0] = time_ns();
	ok(from, x86_cpus_capture(from->cpus, &from->e));
	t[1] = time_ns();
	sections_move(from, to);
	t[2] = time_ns();
	ok(to, x86_cpus_commit(to->cpus, &to->e));
	t[3] = time_ns();
	beats = cpu_report(to, vcpus - 1)->beats;
	vm_start(&to->vm);
	assert_true(reaches(&cpu_report(to, vcpus - 1)->beats, 8, beats + 100000));
	vm_stop(&to->vm, RUN_PAUSED);
	print_message(
		"%u vCPUs, us: stop %lld, capture %lld, sections out and in %lld, commit %lld\n",
		vcpus, (long long)from->vm.stop_ns / 1000, (long long)(t[1] - t[0]) / 1000,
		(long long)(t[2] - t[1]) / 1000, (long long)(t[3] - t[2]) / 1000);
	assert_int_equal(r->state, PULSE_RUNNING);
	assert_int_equal(r->faults, 0);
	for (unsigned int i = 0; i < vcpus; i++)
		assert_int_equal(cpu_report(to, i)->tsc_back, 0);
	assert_int_equal(r->wall_back, 0);
	bench_destroy(to);
	bench_destroy(from);
}

/* After a reset nothing of the old life is left: not the local APIC's mode, not kvmclock's page. */
static void boots_again_after_a_reset(void **state)
{
	struct bench *b = bench_make(2, NULL);
	struct pulse_report *r = report(b);
	uint64_t life;

	pulse_boots(b);
	life = r->life;
	vm_stop(&b->vm, RUN_PAUSED);
	vm_reset(&b->vm, false);
	memset(r, 0, sizeof(*r));
	pulse_boots(b);
	assert_int_not_equal(r->life, life);
	vm_stop(&b->vm, RUN_PAUSED);
	bench_destroy(b);
}

static void moves_with_1_vcpu(void **state)
{
	moves_to_another_vm(1);
}

static void moves_with_8_vcpus(void **state)
{
	moves_to_another_vm(8);
}

static void boots_with_1_vcpu(void **state)
{
	boots(1);
}

static void boots_with_2_vcpus(void **state)
{
	boots(2);
}

static void boots_with_8_vcpus(void **state)
{
	boots(8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(boots_with_1_vcpu),  cmocka_unit_test(boots_with_2_vcpus),
		cmocka_unit_test(boots_with_8_vcpus), cmocka_unit_test(boots_again_after_a_reset),
		cmocka_unit_test(moves_with_1_vcpu),  cmocka_unit_test(moves_with_8_vcpus),
	};

	if (access("/dev/kvm", R_OK | W_OK) < 0 || access(pulse_path(), R_OK) < 0) {
		fprintf(stderr, "no /dev/kvm or no %s\n", pulse_path());
		return 77; /* meson: skipped */
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
