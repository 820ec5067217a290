/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile source of an upgrade. The input's first 16 bit say how many bytes are the message with
 * the guest's configuration; what is behind them lies in the area that both share, header first.
 * The target must take both or say why not; nothing outside of the area is read.
 */
#include "base/bytes.h"
#include "base/scm.h"
#include "state_sample.h"
#include "upgrade/upgrade.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define AREA_BYTES 8192u
#define PAGE_BYTES 4096u
#define MAGIC      0x4f55544c49564531ULL

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The area's file. Its magic is right, and the guest is offered: else the target would wait. */
static int area_make(const uint8_t *data, size_t size)
{
	static uint8_t bytes[AREA_BYTES];
	size_t header = MIN(size, (size_t)120), state = MIN(size - header, AREA_BYTES - PAGE_BYTES);
	int fd = memfd_create("area", MFD_CLOEXEC);

	memset(bytes, 0, sizeof(bytes));
	memcpy(bytes, data, header);
	memcpy(bytes + PAGE_BYTES, data + header, state);
	store_le64(bytes, MAGIC);
	store_le32(bytes + 8, OWNER_OFFERED);
	if (fd < 0 || write(fd, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes))
		abort();
	return fd;
}

/* What is said, with its length; some of it with one that isn't. */
static void say(int sock, const uint8_t *data, size_t size, int area)
{
	uint8_t prefix[4];

	store_be32(prefix, (uint32_t)size - (size && data[size - 1] == '!'));
	if (send(sock, prefix, sizeof(prefix), MSG_NOSIGNAL) < 0 ||
	    send(sock, data, size, MSG_NOSIGNAL) < 0 || scm_send(sock, "f", 1, &area, 1) < 0)
		abort();
	shutdown(sock, SHUT_WR);
}

static void take(struct upgrade_target *t)
{
	struct upgrade_report report;
	struct state_reader r;
	struct sample s = {0};
	struct err e;
	size_t room;

	target_reader(t, &r);
	(void)!state_load(&sample_table, &s, sample_table.version, &r, &e);
	area_state(&t->area, &room);
	if (r.at > room - 8 || (!r.failed && r.at > r.len))
		abort();
	json_decref(target_late(t));
	if (target_take(t, &e) < 0)
		abort();
	target_report(t, "2", &report);
}

/**
 * LLVMFuzzerTestOneInput() - One try of the fuzzer
 * @data:	The try
 * @size:	Bytes
 *
 * Return: 0
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const features[] = {NULL};
	struct upgrade_target t;
	struct err e = {0};
	int pair[2], area;
	json_t *schema;
	size_t said;

	if (size < 2)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		abort();
	schema = json_object();
	said = MIN((size_t)load_le16(data), size - 2);
	area = area_make(data + 2 + said, size - 2 - said);
	say(pair[1], data + 2, said, area);
	if (target_open(&t, pair[0], "2", schema, features, &e) == 0) {
		take(&t);
		target_close(&t);
	} else {
		if (!e.msg[0])
			abort();
		close(pair[0]);
	}
	close(area);
	close(pair[1]);
	json_decref(schema);
	return 0;
}
