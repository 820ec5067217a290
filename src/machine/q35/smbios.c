/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: SMBIOS 2.8 tables, structure after structure: a header (type, length,
 * handle), the fields of the type, then its strings, each closed by a zero, then one more zero.
 * Fields name strings by number, from 1; 0 is no string. Firmware finds tables and entry point in
 * fw_cfg, adds a type 0 of its own and corrects the sums; without firmware we do. Handles and
 * values are QEMU's, since management software and licences look at them.
 *
 * Source: DMTF DSP0134 2.8.0
 */
#include "machine/q35/smbios.h"

#include "base/bytes.h"
#include "base/owned.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STRINGS_MAX 8
#define DIMM_BYTES  (16 * GiB)

/**
 * struct structure - One structure being written
 * @t:		The tables
 * @start:	Where it begins
 * @strings, @count: Its strings
 */
struct structure {
	struct smbios *t;
	size_t start;
	const char *strings[STRINGS_MAX];
	unsigned int count;
};

static void put(struct smbios *t, const void *bytes, size_t n)
{
	if (t->len + n > t->room) {
		t->room = 2 * (t->len + n);
		t->buf = realloc(t->buf, t->room);
		assert(t->buf);
	}
	memcpy(t->buf + t->len, bytes, n);
	t->len += n;
}

static void put8(struct structure *s, unsigned int v)
{
	uint8_t b = (uint8_t)v;

	put(s->t, &b, 1);
}

static void put16(struct structure *s, unsigned int v)
{
	put8(s, v & 0xff);
	put8(s, v >> 8);
}

static void put32(struct structure *s, uint32_t v)
{
	put16(s, v & 0xffff);
	put16(s, v >> 16);
}

static void put64(struct structure *s, uint64_t v)
{
	put32(s, (uint32_t)v);
	put32(s, (uint32_t)(v >> 32));
}

static void put_string(struct structure *s, const char *text)
{
	if (text && *text)
		s->strings[s->count++] = text;
	put8(s, text && *text ? s->count : 0);
}

static struct structure begin(struct smbios *t, uint8_t type, unsigned int handle)
{
	struct structure s = {.t = t, .start = t->len};

	put8(&s, type);
	put8(&s, 0);
	put16(&s, handle);
	return s;
}

static void end(struct structure *s)
{
	struct smbios *t = s->t;

	t->buf[s->start + 1] = (uint8_t)(t->len - s->start);
	for (unsigned int i = 0; i < s->count; i++)
		put(t, s->strings[i], strlen(s->strings[i]) + 1);
	put(t, "\0", s->count ? 1 : 2);
	t->largest = MAX(t->largest, t->len - s->start);
	t->count++;
}

static const char *text(const struct smbios_config *c, int type, const char *field, const char *def)
{
	const char *given = c->field ? c->field(c->opaque, type, field) : NULL;

	return given ? given : def;
}

/* What firmware says of itself; without one we do, and when the user wants other words. */
static void bios(struct smbios *t, const struct smbios_config *c)
{
	struct structure s = begin(t, 0, 0);

	put_string(&s, text(c, 0, "vendor", "Outlive"));
	put_string(&s, text(c, 0, "version", "direct boot"));
	put16(&s, 0xe800);
	put_string(&s, text(c, 0, "date", "04/01/2014"));
	put8(&s, 0);
	put64(&s, 1 << 3);            /* characteristics: none are known */
	put16(&s, 1 << 10 | 1 << 12); /* targeted content distribution, a VM */
	put32(&s, 0xffff0000);        /* no release numbers */
	end(&s);
}

static void system_info(struct smbios *t, const struct smbios_config *c)
{
	struct structure s = begin(t, 1, 0x100);
	uint8_t uuid[16];

	put_string(&s, text(c, 1, "manufacturer", "QEMU"));
	put_string(&s, text(c, 1, "product", "Standard PC (Q35 + ICH9, 2009)"));
	put_string(&s, text(c, 1, "version", c->machine));
	put_string(&s, text(c, 1, "serial", NULL));
	memcpy(uuid, c->uuid, sizeof(uuid));
	store_le32(uuid, load_be32(c->uuid));
	store_le16(uuid + 4, load_be16(c->uuid + 4));
	store_le16(uuid + 6, load_be16(c->uuid + 6));
	put(t, uuid, sizeof(uuid));
	put8(&s, 6); /* woken by the power switch */
	put_string(&s, text(c, 1, "sku", NULL));
	put_string(&s, text(c, 1, "family", NULL));
	end(&s);
}

static void base_board(struct smbios *t, const struct smbios_config *c)
{
	struct structure s = begin(t, 2, 0x200);

	put_string(&s, text(c, 2, "manufacturer", "QEMU"));
	put_string(&s, text(c, 2, "product", "Standard PC (Q35 + ICH9, 2009)"));
	put_string(&s, text(c, 2, "version", c->machine));
	put_string(&s, text(c, 2, "serial", NULL));
	put_string(&s, text(c, 2, "asset", NULL));
	put8(&s, 1); /* hosting board */
	put_string(&s, text(c, 2, "location", NULL));
	put16(&s, 0x300);
	put8(&s, 10); /* motherboard */
	put8(&s, 0);
	end(&s);
}

static void chassis(struct smbios *t, const struct smbios_config *c)
{
	struct structure s = begin(t, 3, 0x300);

	put_string(&s, text(c, 3, "manufacturer", "QEMU"));
	put8(&s, 1); /* other */
	put_string(&s, text(c, 3, "version", c->machine));
	put_string(&s, text(c, 3, "serial", NULL));
	put_string(&s, text(c, 3, "asset", NULL));
	put32(&s, 0x02030303); /* states: safe, safe, safe; security unknown */
	put32(&s, 0);
	put32(&s, 0); /* height, power cords, no contained elements */
	put_string(&s, text(c, 3, "sku", NULL));
	end(&s);
}

static void processor(struct smbios *t, const struct smbios_config *c, unsigned int socket)
{
	struct structure s = begin(t, 4, 0x400 + socket);
	char name[32];

	snprintf(name, sizeof(name), "%s%2x", text(c, 4, "sock_pfx", "CPU"), socket);
	put_string(&s, name);
	put8(&s, 3); /* central processor */
	put8(&s, 1); /* family: other */
	put_string(&s, text(c, 4, "manufacturer", "QEMU"));
	put32(&s, c->cpu_signature);
	put32(&s, c->cpu_features);
	put_string(&s, text(c, 4, "version", c->machine));
	put8(&s, 0);     /* voltage */
	put16(&s, 0);    /* external clock */
	put16(&s, 2000); /* MHz at most, and now */
	put16(&s, 2000);
	put8(&s, 0x41); /* populated, enabled */
	put8(&s, 1);
	put32(&s, 0xffffffff); /* no cache structures */
	put16(&s, 0xffff);
	put_string(&s, text(c, 4, "serial", NULL));
	put_string(&s, text(c, 4, "asset", NULL));
	put_string(&s, text(c, 4, "part", NULL));
	put8(&s, MIN(c->cores, 255U));
	put8(&s, MIN(c->cores, 255U));
	put8(&s, MIN(c->threads, 255U));
	put16(&s, 2); /* characteristics: unknown */
	put16(&s, 1); /* family 2: other */
	end(&s);
}

static const char *nth(const struct smbios_config *c, int type, const char *field, unsigned int i)
{
	return c->nth ? c->nth(c->opaque, type, field, i) : NULL;
}

static unsigned int number(const char *text)
{
	return text ? (unsigned int)strtoul(text, NULL, 0) & 0xff : 0;
}

/* One for each -smbios type=8. Source: SMBIOS 2.8, 7.9; the handles are QEMU's */
static void connectors(struct smbios *t, const struct smbios_config *c)
{
	const char *internal;

	for (unsigned int i = 0; (internal = nth(c, 8, "internal_reference", i)); i++) {
		struct structure s = begin(t, 8, i);

		put_string(&s, internal);
		put8(&s, 0);
		put_string(&s, nth(c, 8, "external_reference", i));
		put8(&s, number(nth(c, 8, "connector_type", i)));
		put8(&s, number(nth(c, 8, "port_type", i)));
		end(&s);
	}
}

/* Strings for the guest's software. Source: SMBIOS 2.8, 7.12 */
static void oem_strings(struct smbios *t, const struct smbios_config *c)
{
	struct structure s;
	unsigned int n = 0;

	while (n < UINT8_MAX && nth(c, 11, "value", n))
		n++;
	if (!n)
		return;
	s = begin(t, 11, 0xe00);
	put8(&s, n);
	t->buf[s.start + 1] = (uint8_t)(t->len - s.start);
	for (unsigned int i = 0; i < n; i++)
		put(t, nth(c, 11, "value", i), strlen(nth(c, 11, "value", i)) + 1);
	put(t, "", 1);
	t->largest = MAX(t->largest, t->len - s.start);
	t->count++;
}

static void memory_array(struct smbios *t, const struct smbios_config *c, unsigned int dimms)
{
	struct structure s = begin(t, 16, 0x1000);
	bool wide = c->ram_bytes / KiB >= 0x80000000ULL;

	put8(&s, 1); /* location: other */
	put8(&s, 3); /* system memory */
	put8(&s, 6); /* multi-bit ECC */
	put32(&s, wide ? 0x80000000U : (uint32_t)(c->ram_bytes / KiB));
	put16(&s, 0xfffe);
	put16(&s, dimms);
	put64(&s, wide ? c->ram_bytes : 0);
	end(&s);
}

static void memory_device(struct smbios *t, const struct smbios_config *c, unsigned int i,
			  uint64_t bytes)
{
	struct structure s = begin(t, 17, 0x1100 + i);
	char name[32];

	snprintf(name, sizeof(name), "%s %u", text(c, 17, "loc_pfx", "DIMM"), i);
	put16(&s, 0x1000);
	put16(&s, 0xfffe);
	put32(&s, 0xffffffff); /* widths */
	put16(&s, (unsigned int)(bytes / MiB));
	put8(&s, 9); /* DIMM */
	put8(&s, 0);
	put_string(&s, name);
	put_string(&s, text(c, 17, "bank", NULL));
	put8(&s, 7);  /* RAM */
	put16(&s, 2); /* other */
	put16(&s, 0); /* speed */
	put_string(&s, text(c, 17, "manufacturer", "QEMU"));
	put_string(&s, text(c, 17, "serial", NULL));
	put_string(&s, text(c, 17, "asset", NULL));
	put_string(&s, text(c, 17, "part", NULL));
	put8(&s, 0);
	put32(&s, 0); /* extended size */
	put64(&s, 0); /* clock, voltages */
	end(&s);
}

static void mapped_range(struct smbios *t, unsigned int i, uint64_t base, uint64_t bytes)
{
	struct structure s = begin(t, 19, 0x1300 + i);
	uint64_t first = base / KiB, last = (base + bytes - 1) / KiB;
	bool wide = last >= UINT32_MAX;

	put32(&s, wide ? UINT32_MAX : (uint32_t)first);
	put32(&s, wide ? UINT32_MAX : (uint32_t)last);
	put16(&s, 0x1000);
	put8(&s, 1);
	put64(&s, wide ? base : 0);
	put64(&s, wide ? base + bytes - 1 : 0);
	end(&s);
}

static void memory(struct smbios *t, const struct smbios_config *c)
{
	unsigned int dimms = (unsigned int)DIV_ROUND_UP(c->ram_bytes, DIMM_BYTES);

	memory_array(t, c, dimms);
	for (unsigned int i = 0; i < dimms; i++)
		memory_device(t, c, i, MIN(c->ram_bytes - i * DIMM_BYTES, DIMM_BYTES));
	mapped_range(t, 0, 0, c->below_4g);
	if (c->ram_bytes > c->below_4g)
		mapped_range(t, 1, 4 * GiB, c->ram_bytes - c->below_4g);
}

static void closing(struct smbios *t)
{
	struct structure s = begin(t, 32, 0x2000);

	put32(&s, 0);
	put16(&s, 0);
	put8(&s, 0); /* no errors at boot */
	end(&s);
	s = begin(t, 127, 0x7f00);
	end(&s);
}

static uint8_t sum(const uint8_t *bytes, size_t n)
{
	uint8_t v = 0;

	while (n--)
		v = (uint8_t)(v + *bytes++);
	return v;
}

/**
 * smbios_anchor() - The entry point of the tables
 * @t:		The tables
 * @gpa:	Where they will be; 0: firmware will say and correct the sums
 * @ret:	Filled in
 *
 * Source: DSP0134, 5.2.1
 */
void smbios_anchor(const struct smbios *t, uint32_t gpa, uint8_t ret[SMBIOS_ANCHOR_BYTES])
{
	memset(ret, 0, SMBIOS_ANCHOR_BYTES);
	memcpy(ret, "_SM_", 4);
	ret[5] = SMBIOS_ANCHOR_BYTES;
	ret[6] = 2;
	ret[7] = 8;
	store_le16(ret + 8, (uint16_t)t->largest);
	memcpy(ret + 16, "_DMI_", 5);
	store_le16(ret + 22, (uint16_t)t->len);
	store_le32(ret + 24, gpa);
	store_le16(ret + 28, (uint16_t)t->count);
	ret[30] = 0x28;
	if (!gpa)
		return;
	ret[21] = (uint8_t)-sum(ret + 16, 15);
	ret[4] = (uint8_t)-sum(ret, SMBIOS_ANCHOR_BYTES);
}

/**
 * smbios_build() - Write the tables
 * @t:		Filled in; release with smbios_destroy()
 * @c:		What they say
 */
void smbios_build(struct smbios *t, const struct smbios_config *c)
{
	*t = (struct smbios){0};
	if (c->direct || text(c, 0, "vendor", NULL) || text(c, 0, "version", NULL))
		bios(t, c);
	system_info(t, c);
	if (text(c, 2, "manufacturer", NULL) || text(c, 2, "product", NULL))
		base_board(t, c);
	chassis(t, c);
	for (unsigned int i = 0; i < c->sockets; i++)
		processor(t, c, i);
	connectors(t, c);
	oem_strings(t, c);
	memory(t, c);
	closing(t);
}

/**
 * smbios_destroy() - Release tables
 * @t:		Tables
 */
void smbios_destroy(struct smbios *t)
{
	free(t->buf);
}
