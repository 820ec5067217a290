/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: virtio devices are older than descriptions; theirs says "virtio" and a size.
 * This reads the inside by knowledge: the PCI transport, the common part, the queues, what the kind
 * of device adds (shown as bytes: it ends where the first subsection begins) and the subsections.
 * Source: docs/wire.md, "virtio".
 */
#include "cli/inspect/cursor.h"

#include "base/bytes.h"

#include <stdio.h>
#include <string.h>

enum { QUEUE_MAX = 1024 };

/**
 * struct wire_field - A field known by heart
 * @name:	Its name
 * @type:	Its type
 * @bytes:	0 for a number
 */
struct wire_field {
	const char *name, *type;
	size_t bytes;
};

static void read_fields(struct cursor *c, json_t *into, const struct wire_field *f,
			const char *prefix)
{
	char name[100];

	for (; f->name; f++) {
		snprintf(name, sizeof(name), "%s%s", prefix, f->name);
		piece_read(c, into, name, f->type, f->bytes);
	}
}

/* Offset of a PCI capability in a configuration space of 256 bytes; 0 if there is none. */
static uint8_t pci_capability(const uint8_t *config, uint8_t id)
{
	uint8_t at = config[0x34];
	unsigned int hops;

	for (hops = 0; hops < 64 && at >= 0x40 && config[0x06] & 0x10; hops++) {
		if (config[at] == id)
			return at;
		at = config[at + 1] & 0xfc;
	}
	return 0;
}

/* Reads what the PCI transport puts first; returns the number of MSI-X vectors. */
static unsigned int read_pci(struct cursor *c, json_t *into)
{
	uint8_t config[256] = {0}, msix;
	unsigned int vectors = 0;

	piece_read(c, into, "pci/version_id", "int32", 0);
	if (c->end - c->at >= sizeof(config))
		memcpy(config, c->data + c->at, sizeof(config));
	msix = pci_capability(config, 0x11);
	if (msix)
		vectors = (load_le16(config + msix + 2) & 0x7ff) + 1;
	piece_read(c, into, "pci/config", "buffer", pci_capability(config, 0x10) ? 4096 : 256);
	piece_read(c, into, "pci/irq_state", "buffer", 16);
	if (vectors) {
		piece_read(c, into, "msix/table", "buffer", 16 * vectors);
		piece_read(c, into, "msix/pending", "buffer", (vectors + 7) / 8);
		piece_read(c, into, "config_vector", "uint16", 0);
	}
	return vectors;
}

static json_int_t value_of(const json_t *piece)
{
	return json_integer_value(json_object_get(piece, "value"));
}

static void read_queues(struct cursor *c, json_t *into, bool vectors)
{
	static const struct wire_field fields[] = {
		{"num", "uint32", 0}, {"desc", "uint64", 0}, {"last_avail", "uint16", 0}, {NULL}};
	json_int_t n = value_of(piece_read(c, into, "queues", "uint32", 0)), i;
	char name[40];

	if (n > QUEUE_MAX)
		cursor_fail(c, "%" JSON_INTEGER_FORMAT " queues", n);
	for (i = 0; i < n && !c->failed; i++) {
		json_t *q;

		snprintf(name, sizeof(name), "queue[%" JSON_INTEGER_FORMAT "]", i);
		q = piece_new(name, "struct", c->at);
		json_array_append_new(into, q);
		read_fields(c, piece_inner(q), fields, "");
		if (vectors)
			piece_read(c, piece_inner(q), "vector", "uint16", 0);
		piece_end(q, c);
	}
}

/* Where the first subsection of virtio begins; the end if there is none. */
static size_t first_subsection(const struct cursor *c)
{
	static const char prefix[] = "virtio/";
	size_t at;

	for (at = c->at; at + 2 + sizeof(prefix) <= c->end; at++)
		if (c->data[at] == 0x05 && c->data[at + 1] < 40 &&
		    !memcmp(c->data + at + 2, prefix, sizeof(prefix) - 1))
			return at;
	return c->end;
}

static void read_queue_list(struct cursor *c, json_t *into, const struct wire_field *fields)
{
	char prefix[40];
	int i;

	for (i = 0; i < QUEUE_MAX && !c->failed; i++) {
		snprintf(prefix, sizeof(prefix), "queue[%d]/", i);
		read_fields(c, into, fields, prefix);
	}
}

static void read_modern_state(struct cursor *c, json_t *into)
{
	static const struct wire_field head[] = {{"dfselect", "uint32", 0},
						 {"gfselect", "uint32", 0},
						 {"guest_features[0]", "uint32", 0},
						 {"guest_features[1]", "uint32", 0},
						 {NULL}};
	static const struct wire_field queue[] = {{"num", "uint16", 0},
						  {"unused", "unused_buffer", 1},
						  {"enabled", "bool", 0},
						  {"desc", "uint32s", 8},
						  {"avail", "uint32s", 8},
						  {"used", "uint32s", 8},
						  {NULL}};
	json_t *sub = piece_subsection(c, into);

	if (strcmp(json_string_value(json_object_get(sub, "name")), "virtio_pci/modern_state"))
		cursor_fail(c, "an unknown subsection");
	read_fields(c, piece_inner(sub), head, "");
	read_queue_list(c, piece_inner(sub), queue);
	piece_end(sub, c);
}

/**
 * struct known_subsection - A subsection of virtio
 * @name:	Its name
 * @fields:	What is in it
 * @per_queue:	... for each of the 1024 queues that there could be
 */
struct known_subsection {
	const char *name;
	struct wire_field fields[6];
	bool per_queue;
};

static const struct known_subsection known[] = {
	{"virtio/64bit_features", {{"guest_features", "uint64", 0}}, false},
	{"virtio/broken", {{"broken", "bool", 0}}, false},
	{"virtio/started", {{"started", "bool", 0}}, false},
	{"virtio/disabled", {{"disabled", "bool", 0}}, false},
	{"virtio/device_endian", {{"device_endian", "uint8", 0}}, false},
	{"virtio/virtqueues", {{"avail", "uint64", 0}, {"used", "uint64", 0}}, true},
	{"virtio/ringsize", {{"num_default", "uint32", 0}}, true},
	{"virtio/packed_virtqueues",
	 {{"last_avail", "uint16", 0},
	  {"last_avail_wrap", "bool", 0},
	  {"used", "uint16", 0},
	  {"used_wrap", "bool", 0},
	  {"inuse", "uint32", 0}},
	 true},
};

static void read_known(struct cursor *c, const char *name, json_t *into)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(known); i++) {
		if (strcmp(known[i].name, name))
			continue;
		if (known[i].per_queue)
			read_queue_list(c, into, known[i].fields);
		else
			read_fields(c, into, known[i].fields, "");
		return;
	}
	cursor_fail(c, "unknown subsection %s", name);
}

static void read_subsection(struct cursor *c, json_t *into)
{
	const char *name;
	json_t *sub;

	if (!cursor_at(c, 0x05)) {
		cursor_fail(c, "bytes of virtio are left over");
		return;
	}
	sub = piece_subsection(c, into);
	name = json_string_value(json_object_get(sub, "name"));
	if (strcmp(name, "virtio/extra_state"))
		read_known(c, name, piece_inner(sub));
	else if (cursor_at(c, 0x05))
		read_modern_state(c, piece_inner(sub));
	piece_end(sub, c);
}

/**
 * inspect_virtio() - Read the payload of a virtio-pci device
 * @c:		Cursor that ends where the payload does
 * @into:	List that gets the pieces
 */
void inspect_virtio(struct cursor *c, json_t *into)
{
	static const struct wire_field head[] = {{"status", "uint8", 0},
						 {"isr", "uint8", 0},
						 {"queue_sel", "uint16", 0},
						 {"features_low", "uint32", 0},
						 {NULL}};
	unsigned int vectors = read_pci(c, into);
	json_int_t config_bytes;
	size_t device_end;

	read_fields(c, into, head, "");
	config_bytes = value_of(piece_read(c, into, "config_len", "uint32", 0));
	piece_read(c, into, "config", "buffer", (size_t)config_bytes);
	read_queues(c, into, vectors);
	device_end = c->failed ? c->at : first_subsection(c);
	if (device_end > c->at)
		piece_read(c, into, "device", "buffer", device_end - c->at);
	while (!c->failed && c->at < c->end)
		read_subsection(c, into);
}
