/* SPDX-License-Identifier: Apache-2.0 */
/* Where RAM lies, what -cpu takes, and what an operator reads when a kernel can't be started. */
#include "kvm/x86/models.h"
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

static void each_model(void *opaque, const struct x86_model_name *n)
{
	struct x86_features f;
	uint32_t model, stepping;
	const char *id;

	x86_model_load(n, &f, &id, &model, &stepping);
	assert_non_null(id);
	assert_true(x86_feature_get(&f, "fpu"));
	++*(int *)opaque;
}

static void models_have_versions_and_aliases(void **state)
{
	struct x86_model_name plain, second, alias;
	struct x86_features f;
	uint32_t model, stepping;
	const char *id;
	struct err e;
	int n = 0;

	x86_models_each(each_model, &n);
	assert_int_equal(n, 129);
	assert_int_equal(x86_model_find("Haswell", &plain, &e), 0);
	assert_int_equal(plain.version, 1);
	assert_int_equal(x86_model_find("Haswell-v2", &second, &e), 0);
	assert_int_equal(x86_model_find("Haswell-noTSX", &alias, &e), 0);
	assert_true(alias.alias && !second.alias && alias.version == second.version);
	x86_model_load(&alias, &f, &id, &model, &stepping);
	assert_true(x86_feature_get(&f, "avx2") && !x86_feature_get(&f, "rtm"));
	assert_int_equal(stepping, 1);
	assert_int_equal(x86_model_find("Haswel", &plain, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "Haswell"));
}

static void features_have_one_name_and_several_spellings(void **state)
{
	struct x86_features f = {{0}};

	assert_string_equal(x86_feature_name("sse3"), "pni");
	assert_null(x86_feature_name("sse33"));
	assert_true(x86_feature_set(&f, "kvmclock", 8, true));
	assert_int_equal(f.word[X86_FEAT_KVM], 9); /* old and new clock */
	f.word[X86_FEAT_KVM] = 8;
	assert_false(x86_feature_get(&f, "kvmclock"));
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
		cmocka_unit_test(models_have_versions_and_aliases),
		cmocka_unit_test(features_have_one_name_and_several_spellings),
		cmocka_unit_test(ram_is_divided_as_on_qemus_q35),
		cmocka_unit_test(the_memory_map_ends_with_the_ram_above),
		cmocka_unit_test(a_file_that_is_no_kernel_is_named),
		cmocka_unit_test(an_elf_file_needs_a_pvh_entry),
		cmocka_unit_test(an_old_or_cut_bzimage_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
