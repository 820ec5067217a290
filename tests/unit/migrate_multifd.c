/* SPDX-License-Identifier: Apache-2.0 */
/* Packets of channels beside the stream: their octets, and what packed pages come back as. */
#include "migrate/multifd/multifd.h"
#include "migrate/wire.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PAGES = 24 };

static uint8_t from[PAGES][WIRE_PAGE], to[PAGES][WIRE_PAGE];

static void a_hello_is_as_qemu_writes_it(void **unused)
{
	struct multifd_hello h = {.uuid = {1, 2, 3}, .id = 7}, back;
	uint8_t bytes[MULTIFD_HELLO_BYTES],
		want[MULTIFD_HELLO_BYTES] = {
			0x11,     0x22, 0x33, 0x44, 0, 0, 0, 1, /* magic, version */
			1,        2,    3,                      /* UUID */
			[24] = 7,                               /* channel; nothing behind it */
		};
	struct err e;

	multifd_hello_put(&h, bytes);
	assert_memory_equal(bytes, want, sizeof(want));
	assert_int_equal(multifd_hello_get(&back, want, &e), 0);
	assert_memory_equal(&back, &h, sizeof(h));
	want[7] = 2;
	assert_int_equal(multifd_hello_get(&back, want, &e), -EINVAL);
}

static void a_packet_is_as_qemu_writes_it(void **unused)
{
	static const uint8_t want[] = {
		0x11, 0x22, 0x33, 0x44, 0, 0, 0, 1,    /* magic, version */
		0,    0,    0,    0x04, 0, 0, 0, 0x80, /* zstd; room for 128 */
		0,    0,    0,    2,    0, 0, 1, 0,    /* 2 pages in 256 octets */
		0,    0,    0,    0,    0, 0, 0, 9,    /* packet 9 */
		0,    0,    0,    1,    0, 0, 0, 0,    /* 1 page of zeros */
	};
	struct multifd_packet p = {.flags = MULTIFD_FLAG_ZSTD,
				   .normal = 2,
				   .zero = 1,
				   .payload = 256,
				   .number = 9,
				   .block = "pc.ram",
				   .offset = {0x1000, 0x3000, 0x2000}};
	struct multifd_packet back = {0};
	uint8_t bytes[MULTIFD_PACKET_BYTES];
	struct err e;

	multifd_packet_put(&p, bytes);
	assert_memory_equal(bytes, want, sizeof(want));
	assert_string_equal((char *)bytes + 64, "pc.ram");
	assert_int_equal(bytes[320 + 6], 0x10);
	assert_int_equal(multifd_packet_get(&back, bytes, &e), 0);
	assert_memory_equal(&back, &p, sizeof(p));
}

static void packets_that_cannot_be_right_are_refused(void **unused)
{
	static const struct {
		unsigned int at;
		uint8_t value;
		int code;
	} bad[] = {
		{0, 0, EINVAL},      /* magic */
		{8, 1, ENOTSUP},     /* a flag that nobody knows */
		{11, 0x40, ENOTSUP}, /* state of a device */
		{14, 1, EINVAL},     /* room for more than a packet has */
		{19, 129, EINVAL},   /* more pages than room */
		{35, 128, EINVAL},   /* with those of zeros */
	};
	struct multifd_packet p = {.normal = 1, .block = "pc.ram"}, back;
	uint8_t bytes[MULTIFD_PACKET_BYTES];
	struct err e;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		multifd_packet_put(&p, bytes);
		bytes[bad[i].at] = bad[i].value;
		if (multifd_packet_get(&back, bytes, &e) != -bad[i].code)
			fail_msg("packet %zu is taken", i);
	}
}

static void fill(unsigned int *seed)
{
	size_t i, j;

	for (i = 0; i < PAGES; i++)
		for (j = 0; j < WIRE_PAGE; j++)
			from[i][j] = i % 3 ? (uint8_t)(j / 7 * i) : (uint8_t)rand_r(seed);
	memset(to, 0x55, sizeof(to));
}

static void pages_of(uint8_t pages[PAGES][WIRE_PAGE], struct iovec *iov)
{
	int i;

	for (i = 0; i < PAGES; i++)
		iov[i] = (struct iovec){pages[i], WIRE_PAGE};
}

/* Several packets: the later ones refer to the earlier. */
static void packed_pages_come_back(const struct multifd_codec_ops *ops)
{
	void *packing = ops->begin(true, 1), *unpacking = ops->begin(false, 0);
	struct iovec in[PAGES], out[PAGES], piece;
	unsigned int seed = 3, n;
	struct err e;

	pages_of(from, in);
	pages_of(to, out);
	for (n = 1; n <= PAGES; n++) {
		fill(&seed);
		assert_int_equal(ops->pack(packing, in, n, &piece, &e), 0);
		assert_int_equal(ops->unpack(unpacking, &piece, out, n, &e), 0);
		assert_memory_equal(from, to, n * WIRE_PAGE);
	}
	ops->end(packing);
	ops->end(unpacking);
}

static void both_compressions_bring_back_what_they_packed(void **unused)
{
	packed_pages_come_back(&multifd_zlib);
	packed_pages_come_back(&multifd_zstd);
}

/* Cut or changed data: refused, or other pages; never more than the pages. */
static void damaged_pieces_do_no_harm(const struct multifd_codec_ops *ops)
{
	struct iovec in[PAGES], out[PAGES], piece, cut;
	void *packing = ops->begin(true, 1), *unpacking;
	unsigned int seed = 5;
	struct err e;
	size_t at;

	pages_of(from, in);
	pages_of(to, out);
	fill(&seed);
	assert_int_equal(ops->pack(packing, in, PAGES, &piece, &e), 0);
	for (at = 0; at < piece.iov_len * 9 / 10; at += 1 + piece.iov_len / 200) {
		cut = (struct iovec){piece.iov_base, at};
		unpacking = ops->begin(false, 0);
		assert_true(ops->unpack(unpacking, &cut, out, PAGES, &e) < 0);
		ops->end(unpacking);
		((uint8_t *)piece.iov_base)[at] ^= 0x10;
		unpacking = ops->begin(false, 0);
		if (ops->unpack(unpacking, &piece, out, PAGES, &e) < 0)
			assert_int_not_equal(e.msg[0], '\0');
		ops->end(unpacking);
		((uint8_t *)piece.iov_base)[at] ^= 0x10;
	}
	ops->end(packing);
}

static void damaged_data_is_refused_or_harmless(void **unused)
{
	damaged_pieces_do_no_harm(&multifd_zlib);
	damaged_pieces_do_no_harm(&multifd_zstd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hello_is_as_qemu_writes_it),
		cmocka_unit_test(a_packet_is_as_qemu_writes_it),
		cmocka_unit_test(packets_that_cannot_be_right_are_refused),
		cmocka_unit_test(both_compressions_bring_back_what_they_packed),
		cmocka_unit_test(damaged_data_is_refused_or_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
