/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: command lines as people and managers write them, and what becomes of them.
 * Each refusal is checked for the words an operator needs: which argument, and what was probably
 * meant.
 */
#include "vmm/options.h"
#include "vmm/served.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct vmm_options o;

static int parse(const char *const *argv, struct err *e)
{
	int argc = 0;
	int r;

	while (argv[argc])
		argc++;
	r = vmm_options_parse(&o, argc, argv, e);
	if (r == 0)
		r = vmm_options_finish(&o, e);
	return r;
}

#define accept(...)                                                       \
	do {                                                              \
		const char *argv_[] = {"outlive-vmm", __VA_ARGS__, NULL}; \
		struct err e_ = {0};                                      \
		if (parse(argv_, &e_) < 0)                                \
			fail_msg("refused: %s", e_.msg);                  \
	} while (0)

#define refuse(words, ...)                                                \
	do {                                                              \
		const char *argv_[] = {"outlive-vmm", __VA_ARGS__, NULL}; \
		struct err e_ = {0};                                      \
		if (parse(argv_, &e_) == 0)                               \
			fail_msg("taken, but should say '%s'", words);    \
		if (!strstr(e_.msg, words))                               \
			fail_msg("'%s' doesn't say '%s'", e_.msg, words); \
		vmm_options_release(&o);                                  \
	} while (0)

/* Well formed, but not what the machine does. */
#define refuse_unserved(words, ...)                                        \
	do {                                                               \
		struct err unserved_ = {0};                                \
		accept(__VA_ARGS__);                                       \
		if (served_check(&o, &unserved_) == 0)                     \
			fail_msg("taken, but should say '%s'", words);     \
		if (!strstr(unserved_.msg, words))                         \
			fail_msg("'%s' isn't '%s'", unserved_.msg, words); \
		vmm_options_release(&o);                                   \
	} while (0)

static int release(void **state)
{
	vmm_options_release(&o);
	return 0;
}

static const json_t *item(enum vmm_group g, size_t i)
{
	assert_true(i < o.groups[g].len);
	return o.groups[g].items[i].values;
}

static void a_managers_command_line_with_json_is_taken(void **state)
{
	accept("-name", "guest=a,,b,debug-threads=on", "-S", "-object",
	       "{\"qom-type\":\"secret\",\"id\":\"masterKey0\",\"format\":\"raw\",\"file\":\"/k\"}",
	       "-machine",
	       "pc-q35-7.2,usb=off,dump-guest-core=off,memory-backend=pc.ram,hpet=off,acpi=on",
	       "-accel", "kvm", "-cpu", "host,migratable=on,hv-spinlocks=0x1fff,kvm=off", "-m",
	       "size=524288k", "-object",
	       "{\"qom-type\":\"memory-backend-memfd\",\"id\":\"pc.ram\",\"share\":true,"
	       "\"x-use-canonical-path-for-ramblock-id\":false,\"size\":536870912}",
	       "-overcommit", "mem-lock=off", "-smp",
	       "4,sockets=2,dies=1,clusters=1,cores=2,threads=1", "-uuid",
	       "01234567-89ab-cdef-0123-456789abcdef", "-no-user-config", "-nodefaults", "-chardev",
	       "socket,id=charmonitor,fd=22,server=on,wait=off", "-mon",
	       "chardev=charmonitor,id=monitor,mode=control", "-rtc", "base=utc,driftfix=slew",
	       "-global", "kvm-pit.lost_tick_policy=delay", "-no-shutdown", "-boot", "strict=on",
	       "-device",
	       "{\"driver\":\"pcie-root-port\",\"port\":16,\"id\":\"pci.1\",\"bus\":\"pcie.0\","
	       "\"multifunction\":true,\"addr\":\"0x2\"}",
	       "-blockdev", "{\"driver\":\"file\",\"node-name\":\"n\",\"cache\":{\"direct\":true}}",
	       "-netdev", "{\"type\":\"tap\",\"fd\":\"33\",\"id\":\"hostnet0\"}", "-audiodev",
	       "{\"id\":\"audio1\",\"driver\":\"none\"}", "-vnc", "127.0.0.1:0,audiodev=audio1",
	       "-global", "ICH9-LPC.noreboot=off", "-watchdog-action", "reset", "-sandbox",
	       "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", "-msg",
	       "timestamp=on");
	assert_string_equal(o.name, "a,b");
	assert_string_equal(o.cpu, "host");
	assert_string_equal(option_str(item(VMM_CPU, 0), "hv-spinlocks", ""), "0x1fff");
	assert_int_equal(o.ram_bytes, 512 * MiB);
	assert_int_equal(o.smp.max_cpus, 4);
	assert_int_equal(o.uuid[4], 0x89);
	assert_int_equal(option_int(item(VMM_DEVICE, 0), "port", 0), 16);
	assert_string_equal(option_str(item(VMM_GLOBAL, 1), "property", ""), "noreboot");
	assert_true(o.groups[VMM_DEVICE].items[0].json);
}

static void the_probe_of_a_manager_is_taken(void **state)
{
	accept("-S", "-no-user-config", "-nodefaults", "-nographic", "-machine",
	       "none,accel=kvm:tcg", "-qmp", "unix:/q,server=on,wait=off", "-pidfile", "/p",
	       "-daemonize");
	assert_string_equal(o.machine, "none");
	assert_true(vmm_given(&o, VMM_DAEMONIZE));
}

static void plain_key_value_forms_are_taken(void **state)
{
	accept("--kernel", "k", "-append", "console=ttyS0,115200", "-m", "2G", "-smp", "2",
	       "-drive", "file=a,,b.img,if=virtio,format=raw,cache=none", "-netdev",
	       "tap,id=n,ifname=t0,script=no", "-device", "virtio-net-pci,netdev=n,addr=0x3.0x1",
	       "-cpu", "max,+avx2,-x2apic", "-blockdev",
	       "raw,node-name=r,file.driver=file,file.filename=x", "-numa",
	       "node,nodeid=0,cpus=0,cpus=1,memdev=m", "-fw_cfg", "opt/x,string=y", "-smbios",
	       "type=1,manufacturer=Some One,serial=abc");
	assert_string_equal(vmm_text(&o, VMM_APPEND), "console=ttyS0,115200");
	assert_string_equal(option_str(item(VMM_DRIVE, 0), "file", ""), "a,b.img");
	assert_string_equal(option_str(item(VMM_DEVICE, 0), "addr", ""), "0x3.0x1");
	assert_string_equal(option_str(item(VMM_CPU, 0), "avx2", ""), "on");
	assert_string_equal(option_str(item(VMM_CPU, 0), "x2apic", ""), "off");
	assert_string_equal(
		option_str(json_object_get(item(VMM_BLOCKDEV, 0), "file"), "filename", ""), "x");
	assert_int_equal(json_array_size(json_object_get(item(VMM_NUMA, 0), "cpus")), 2);
	assert_int_equal(o.smp.cores, 2);
}

static void the_last_cpu_counts(void **state)
{
	accept("-cpu", "host,+avx2", "-cpu", "max,-x2apic");
	assert_string_equal(o.cpu, "max");
	assert_string_equal(o.groups[VMM_CPU].items[0].argument, "max,-x2apic");
	assert_null(json_object_get(item(VMM_CPU, 0), "avx2"));
}

static void unknown_words_name_the_nearest(void **state)
{
	refuse("argument 1 (-devcie): there is no such option (did you mean 'device'?)", "-devcie",
	       "x");
	refuse("did you mean 'memory-backend'?", "-machine", "q35,memory-backed=x");
	refuse("argument 3 (-smp 2,core=2): 'core' is unknown here (did you mean 'cores'?)", "-m",
	       "1G", "-smp", "2,core=2");
	refuse("did you mean 'memory-backend-memfd'?", "-object",
	       "memory-backend-memdf,id=a,size=1G");
	refuse("did you mean 'hugetlb'?", "-object",
	       "memory-backend-memfd,id=a,size=1G,hugetbl=on");
	refuse("did you mean 'slew'?", "-rtc", "driftfix=slw");
	refuse("did you mean 'debug'?", "-d", "debgu");
	refuse("did you mean 'reset'?", "-watchdog-action", "rest");
	refuse("disks come by -drive", "disk.img");
}

static void contradictions_point_at_both_sides(void **state)
{
	refuse("argument 3 (-machine usb=off,hpet=on): 'hpet' contradicts argument 1", "-machine",
	       "q35,hpet=off", "-machine", "usb=off,hpet=on");
	refuse("contradicts -machine hpet=on", "-machine", "q35,hpet=on", "-no-hpet");
	refuse("id 'a' is taken by argument 1", "-device", "x,id=a", "-device", "y,id=a");
	refuse("sockets (2) * dies (1) * cores (2) * threads (1) is not maxcpus (3)", "-smp",
	       "2,maxcpus=3,sockets=2,cores=2,threads=1");
	refuse("maxcpus (2) is less than cpus (4)", "-smp", "4,maxcpus=2");
	refuse("maxmem is less than size", "-m", "2G,slots=2,maxmem=1G");
	refuse("there is no -kernel", "-append", "x");
	refuse("id is given twice", "-device", "x,id=a,id=b");
	refuse("only kvm is there", "-machine", "q35,accel=tcg");
}

static void bad_values_say_what_is_wanted(void **state)
{
	refuse("\"many\" is not a number", "-smp", "many");
	refuse("\"2X\" is not a size", "-m", "2X");
	refuse("this is not a UUID", "-uuid", "0123");
	refuse("its value is missing", "-m");
	refuse("bad JSON", "-device", "{\"driver\":");
	refuse("'driver' is missing", "-device", "{\"id\":\"x\"}");
	refuse("takes key=value, not JSON", "-machine", "{\"type\":\"q35\"}");
	refuse("4097 is not in 1...4096", "-smp", "4097");
	refuse("only mode=control", "-mon", "chardev=a,mode=readline");
}

static void what_would_not_be_done_is_refused(void **state)
{
	refuse_unserved("snapshot=on isn't here: writes would reach the image", "-drive",
			"file=x,snapshot=on");
	refuse_unserved("isn't here: give the node an -object", "-numa", "node,mem=512");
	refuse_unserved("slots=2 isn't here: memory can't be plugged", "-m",
			"1G,slots=2,maxmem=2G");
	refuse_unserved("maxmem is more than size", "-m", "1G,maxmem=2G");
	refuse_unserved("kernel-irqchip=split isn't here", "-machine", "q35,kernel_irqchip=split");
	refuse_unserved("acpi=off isn't here", "-machine", "q35,acpi=off");
	refuse_unserved("cpu-pm=on isn't here", "-overcommit", "cpu-pm=on");
	refuse_unserved("type=9 isn't here", "-smbios", "type=9");
}

static void what_is_done_is_served(void **state)
{
	struct err e = {0};

	accept("-machine", "q35,kernel_irqchip=on,acpi=auto", "-m", "1G,maxmem=1G", "-drive",
	       "file=x,snapshot=off", "-smbios", "type=11,value=x", "-rtc", "clock=host");
	assert_int_equal(served_check(&o, &e), 0);
}

static void more_vcpus_than_there_is_room_for_are_refused(void **state)
{
	accept("-smp", "288");
	vmm_options_release(&o);
	refuse("289 vCPUs: this machine has room for 288", "-smp", "289");
	refuse("is not maxcpus (2)", "-smp", "2,sockets=2,cores=2");
}

static void repeated_options_may_agree(void **state)
{
	accept("-machine", "q35", "-machine", "hpet=off", "-no-hpet", "-nodefaults", "-nodefaults");
	assert_string_equal(o.machine, "q35");
}

static void help_is_found_in_its_places(void **state)
{
	accept("-object", "memory-backend-memfd,help");
	assert_non_null(json_object_get(item(VMM_OBJECT, 0), "help"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_managers_command_line_with_json_is_taken, release),
		cmocka_unit_test_teardown(the_probe_of_a_manager_is_taken, release),
		cmocka_unit_test_teardown(plain_key_value_forms_are_taken, release),
		cmocka_unit_test_teardown(the_last_cpu_counts, release),
		cmocka_unit_test_teardown(unknown_words_name_the_nearest, release),
		cmocka_unit_test_teardown(contradictions_point_at_both_sides, release),
		cmocka_unit_test_teardown(bad_values_say_what_is_wanted, release),
		cmocka_unit_test_teardown(what_would_not_be_done_is_refused, release),
		cmocka_unit_test_teardown(what_is_done_is_served, release),
		cmocka_unit_test_teardown(more_vcpus_than_there_is_room_for_are_refused, release),
		cmocka_unit_test_teardown(repeated_options_may_agree, release),
		cmocka_unit_test_teardown(help_is_found_in_its_places, release),
	};

	return cmocka_run_group_tests_name("vmm options", tests, NULL, NULL);
}
