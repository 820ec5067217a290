/* SPDX-License-Identifier: Apache-2.0 */
/* Where RAM lies, what -cpu takes, and what an operator reads when a kernel can't be started. */
#include "kvm/x86/features.h"
#include "machine/x86/boot.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void ram_is_divided_as_on_qemus_q35(void **state)
{
	assert_int_equal(x86_layout_q35(2 * GiB).below_4g, 2 * GiB);
	assert_int_equal(x86_layout_q35(2 * GiB).above_4g, 0);
	assert_int_equal(x86_layout_q35(0xb0000000 - 4096).below_4g, 0xb0000000 - 4096);
	assert_int_equal(x86_layout_q35(0xb0000000).below_4g, 2 * GiB);
	assert_int_equal(x86_layout_q35(4 * GiB).above_4g, 2 * GiB);
}

static void the_memory_map_ends_with_the_ram_above(void **state)
{
	struct x86_layout l = x86_layout_q35(4 * GiB);
	struct e820_entry map[8];
	size_t n = x86_e820(&l, map, 8);

	assert_int_equal(map[n - 1].addr, 4 * GiB);
	assert_int_equal(map[n - 1].size, 2 * GiB);
	for (size_t i = 1; i < n; i++)
		assert_true(map[i].addr >= map[i - 1].addr + map[i - 1].size);
}

static void features_are_switched_by_name(void **state)
{
	struct x86_features f = {{0}}, all;
	struct err e;

	memset(&all, 0xff, sizeof(all));
	assert_int_equal(x86_features_toggle(&f, &all, "+avx2,pcid=on,kvmclock=on", &e), 0);
	assert_int_equal(f.word[X86_FEAT_7_0_EBX], 1U << 5);
	assert_int_equal(f.word[X86_FEAT_1_ECX], 1U << 17);
	assert_int_equal(f.word[X86_FEAT_KVM], 9); /* old and new clock */
	assert_int_equal(x86_features_toggle(&f, &all, "-avx2", &e), 0);
	assert_int_equal(f.word[X86_FEAT_7_0_EBX], 0);
}

static void bad_features_are_refused_with_the_nearest(void **state)
{
	struct x86_features f = {{0}}, none = {{0}};
	struct err e;

	assert_int_equal(x86_features_toggle(&f, &none, "+avx512ff", &e), -EINVAL);
	assert_non_null(strstr(e.msg, "avx512f"));
	assert_int_equal(x86_features_toggle(&f, &none, "avx2=on", &e), -ENOTSUP);
	assert_non_null(strstr(e.msg, "avx2"));
	assert_int_equal(x86_features_toggle(&f, &none, "avx2=maybe", &e), -EINVAL);
	assert_int_equal(x86_features_toggle(&f, &none, "avx2", &e), -EINVAL);
}

/* Tries to boot a file of these bytes in 64 MiB; the message goes to @e. */
static int boot_bytes(const void *bytes, size_t len, struct err *e)
{
	char path[] = "/tmp/outlive-boot-XXXXXX";
	struct boot_options o = {.kernel = path, .layout = {.below_4g = 64 * MiB}};
	struct memory_map map = {.size = 64 * MiB, .enabled = true};
	struct x86_entry entry;
	struct memory m;
	int r, fd = mkstemp(path);

	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
	memory_init(&m);
	assert_int_equal(ram_create(&m, "pc.ram", 64 * MiB, NULL, &map.block, e), 0);
	assert_int_equal(memory_map_add(&m, &map, NULL, e), 0);
	r = boot_load(&m, &o, &entry, e);
	memory_destroy(&m);
	unlink(path);
	assert_true(r == 0 || strstr(e->msg, path));
	return r;
}

static void a_file_that_is_no_kernel_is_named(void **state)
{
	uint8_t junk[8192] = "junk";
	struct err e;

	assert_int_equal(boot_bytes(junk, sizeof(junk), &e), -ENOEXEC);
	assert_non_null(strstr(e.msg, "neither"));
}

static void an_elf_file_needs_a_pvh_entry(void **state)
{
	uint8_t elf[512] = {0x7f, 'E', 'L', 'F', 2, 1, 1, [18] = 62, [54] = 56};
	struct err e;

	assert_int_equal(boot_bytes(elf, sizeof(elf), &e), -ENOEXEC);
	assert_non_null(strstr(e.msg, "PVH"));
	elf[56] = 200; /* more program headers than bytes */
	assert_int_equal(boot_bytes(elf, sizeof(elf), &e), -ENOEXEC);
	assert_non_null(strstr(e.msg, "cut off"));
	elf[18] = 40;
	assert_int_equal(boot_bytes(elf, sizeof(elf), &e), -ENOEXEC);
	assert_non_null(strstr(e.msg, "x86-64"));
}

static void an_old_or_cut_bzimage_is_refused(void **state)
{
	uint8_t *image = calloc(1, 8192);
	struct err e;

	memcpy(image + 0x202, "HdrS", 4);
	image[0x206] = 9;
	image[0x207] = 2;
	assert_int_equal(boot_bytes(image, 8192, &e), -ENOEXEC);
	assert_non_null(strstr(e.msg, "2.09"));
	image[0x206] = 15;
	image[0x211] = 1;
	image[0x1f1] = 40; /* sectors: more than the file has */
	assert_int_equal(boot_bytes(image, 8192, &e), -ENOEXEC);
	assert_non_null(strstr(e.msg, "cut off"));
	image[0x1f1] = 4;
	image[0x25b] = 0x10; /* preferred address 256 MiB */
	assert_int_equal(boot_bytes(image, 8192, &e), -ENOSPC);
	free(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ram_is_divided_as_on_qemus_q35),
		cmocka_unit_test(the_memory_map_ends_with_the_ram_above),
		cmocka_unit_test(features_are_switched_by_name),
		cmocka_unit_test(bad_features_are_refused_with_the_nearest),
		cmocka_unit_test(a_file_that_is_no_kernel_is_named),
		cmocka_unit_test(an_elf_file_needs_a_pvh_entry),
		cmocka_unit_test(an_old_or_cut_bzimage_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
