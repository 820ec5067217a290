/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: firmware asks the VMM for things by key: it selects one (port 0x510, 16
 * bits) and reads bytes (port 0x511), or writes the address of a request to 0x514 (64 bits,
 * big-endian, high half first) and has the bytes copied. Files are keys from 0x20 on, listed in a
 * directory that is itself a key. Behind the end everything reads 0.
 *
 * What the guest writes is only the selected key, an offset and requests; each request is copied in
 * once, and every copy is bounded by the blob's size and by the memory gate.
 *
 * Source: QEMU's docs/specs/fw_cfg; the file order is by name.
 */
#include "device/fw_cfg.h"

#include "base/bytes.h"
#include "base/owned.h"
#include "device/classes.h"

#include <assert.h>
#include <errno.h>

#define KEY_INVALID 0xffff
#define KEY_MASK    0x3fff /* without the architecture and the (unused) write bit */

enum dma_control { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };

struct dma_request {
	uint32_t control, length;
	uint64_t address;
};

static struct fw_cfg_blob *blob_of(struct fw_cfg *f, uint16_t key)
{
	uint16_t number = key & KEY_MASK;

	if (number < FW_CFG_FILE_FIRST)
		return &f->keys[!!(key & FW_CFG_ARCH_LOCAL)][number];
	if (key & FW_CFG_ARCH_LOCAL || number >= FW_CFG_FILE_FIRST + f->files_len)
		return NULL;
	return &f->files[number - FW_CFG_FILE_FIRST].blob;
}

static struct fw_cfg_blob *selected(struct fw_cfg *f)
{
	return f->s.entry == KEY_INVALID ? NULL : blob_of(f, f->s.entry);
}

static void select_key(struct fw_cfg *f, uint16_t key)
{
	struct fw_cfg_blob *b;

	f->s.offset = 0;
	f->s.entry = (key & KEY_MASK) < FW_CFG_FILE_FIRST + FW_CFG_FILES ? key : KEY_INVALID;
	b = selected(f);
	if (b && b->selected)
		b->selected(b->opaque);
}

/* Bytes of @b left to read, at most @len. */
static uint32_t left(const struct fw_cfg *f, const struct fw_cfg_blob *b, uint32_t len)
{
	return b && b->data && f->s.offset < b->len ? MIN(b->len - f->s.offset, len) : 0;
}

static uint64_t port_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct fw_cfg *f = opaque;
	struct fw_cfg_blob *b = selected(f);

	if (size != 1)
		return UINT64_MAX;
	return left(f, b, 1) ? b->data[f->s.offset++] : 0;
}

/* A byte written to the data port does nothing since QEMU 2.4. */
static void port_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	if (size == 2)
		select_key(opaque, (uint16_t)value);
}

static bool zero_fill(struct fw_cfg *f, uint64_t gpa, uint64_t len)
{
	static const uint8_t zeros[4096];

	while (len) {
		uint64_t n = MIN(len, (uint64_t)sizeof(zeros));

		if (!memory_write(f->dev.env->memory, gpa, zeros, n))
			return false;
		gpa += n;
		len -= n;
	}
	return true;
}

static bool dma_read(struct fw_cfg *f, const struct fw_cfg_blob *b, const struct dma_request *r)
{
	uint32_t n = left(f, b, r->length);

	if (n && !memory_write(f->dev.env->memory, r->address, b->data + f->s.offset, n))
		return false;
	f->s.offset += n;
	return n == r->length || zero_fill(f, r->address + n, r->length - n);
}

static bool dma_write(struct fw_cfg *f, struct fw_cfg_blob *b, const struct dma_request *r)
{
	uint32_t n = left(f, b, r->length);

	if (!n || !b->writable || n != r->length ||
	    !memory_read(f->dev.env->memory, r->address, b->data + f->s.offset, n))
		return false;
	f->s.offset += n;
	return true;
}

static bool dma_do(struct fw_cfg *f, const struct dma_request *r)
{
	struct fw_cfg_blob *b;

	if (r->control & DMA_SELECT)
		select_key(f, (uint16_t)(r->control >> 16));
	b = selected(f);
	if (!r->length)
		return true;
	if (r->control & DMA_READ)
		return dma_read(f, b, r);
	if (r->control & DMA_WRITE)
		return dma_write(f, b, r);
	if (r->control & DMA_SKIP)
		f->s.offset += left(f, b, r->length);
	return true;
}

static void dma_run(struct fw_cfg *f)
{
	uint64_t at = f->s.dma_addr;
	uint8_t raw[16], status[4];
	struct dma_request r;
	bool ok;

	f->s.dma_addr = 0;
	ok = memory_read(f->dev.env->memory, at, raw, sizeof(raw));
	if (ok) {
		r.control = load_be32(raw);
		r.length = load_be32(raw + 4);
		r.address = load_be64(raw + 8);
		ok = dma_do(f, &r);
	}
	store_be32(status, ok ? 0 : DMA_ERROR);
	if (!memory_write(f->dev.env->memory, at, status, sizeof(status)))
		return; /* the guest gave an address that isn't RAM: nobody to tell */
}

static uint64_t dma_port_read(void *opaque, uint64_t offset, unsigned int size)
{
	static const uint8_t signature[16] = "QEMU CFG";

	return load_le64(signature + (offset & 7));
}

static void dma_port_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct fw_cfg *f = opaque;

	if (size != 4)
		return;
	if (offset == 0) {
		f->s.dma_addr = (uint64_t)be32toh((uint32_t)value) << 32;
	} else if (offset == 4) {
		f->s.dma_addr |= be32toh((uint32_t)value);
		dma_run(f);
	}
}

static const struct io_ops port_ops = {port_read, port_write, 1, 2};
static const struct io_ops dma_ops = {dma_port_read, dma_port_write, 1, 4};

static void blob_set(struct fw_cfg_blob *b, const struct fw_cfg_blob *to)
{
	if (b->owned)
		free(b->data);
	*b = *to;
}

static struct fw_cfg_blob copy_of(const void *data, size_t len)
{
	struct fw_cfg_blob b = {.data = mem_zalloc(len), .len = (uint32_t)len, .owned = true};

	memcpy(b.data, data, len);
	return b;
}

/**
 * fw_cfg_add() - Set what a numbered key reads as
 * @f:		The device
 * @key:	Below FW_CFG_FILE_FIRST, perhaps with FW_CFG_ARCH_LOCAL
 * @data:	Copied
 * @len:	Bytes
 */
void fw_cfg_add(struct fw_cfg *f, uint16_t key, const void *data, size_t len)
{
	struct fw_cfg_blob b = copy_of(data, len);

	assert((key & KEY_MASK) < FW_CFG_FILE_FIRST && len <= UINT32_MAX);
	blob_set(blob_of(f, key), &b);
}

/**
 * fw_cfg_add_u16() - Set a key to a little-endian number
 * @f:		The device
 * @key:	As fw_cfg_add()
 * @value:	The number
 */
void fw_cfg_add_u16(struct fw_cfg *f, uint16_t key, uint16_t value)
{
	uint8_t bytes[2];

	store_le16(bytes, value);
	fw_cfg_add(f, key, bytes, sizeof(bytes));
}

/**
 * fw_cfg_add_u32() - Set a key to a little-endian number
 * @f:		The device
 * @key:	As fw_cfg_add()
 * @value:	The number
 */
void fw_cfg_add_u32(struct fw_cfg *f, uint16_t key, uint32_t value)
{
	uint8_t bytes[4];

	store_le32(bytes, value);
	fw_cfg_add(f, key, bytes, sizeof(bytes));
}

/**
 * fw_cfg_add_u64() - Set a key to a little-endian number
 * @f:		The device
 * @key:	As fw_cfg_add()
 * @value:	The number
 */
void fw_cfg_add_u64(struct fw_cfg *f, uint16_t key, uint64_t value)
{
	uint8_t bytes[8];

	store_le64(bytes, value);
	fw_cfg_add(f, key, bytes, sizeof(bytes));
}

static void directory_make(struct fw_cfg *f)
{
	memset(f->directory, 0, sizeof(f->directory));
	store_be32(f->directory, (uint32_t)f->files_len);
	for (size_t i = 0; i < f->files_len; i++) {
		uint8_t *at = f->directory + 4 + 64 * i;

		store_be32(at, f->files[i].blob.len);
		store_be16(at + 4, (uint16_t)(FW_CFG_FILE_FIRST + i));
		memcpy(at + 8, f->files[i].name, FW_CFG_NAME);
	}
}

static void acpi_sizes(struct fw_cfg *f, const char *name, uint32_t len)
{
	if (!strcmp(name, "etc/acpi/tables"))
		f->s.table_size = len;
	else if (!strcmp(name, "etc/table-loader"))
		f->s.linker_size = len;
	else if (!strcmp(name, "etc/acpi/rsdp"))
		f->s.rsdp_size = len;
}

/**
 * fw_cfg_add_shared() - Add or replace a file that shows the caller's memory
 * @f:		The device
 * @name:	At most 55 characters
 * @blob:	Copied; its data stays valid as long as the device
 * @e:		Set on failure only
 *
 * Errors: ENAMETOOLONG, ENOSPC (there are 32 files)
 * Return: 0, or a negative errno
 */
int fw_cfg_add_shared(struct fw_cfg *f, const char *name, const struct fw_cfg_blob *blob,
		      struct err *e)
{
	size_t at = 0;

	if (strlen(name) >= FW_CFG_NAME)
		return err_set(e, ENAMETOOLONG, "fw_cfg file name '%s' is too long", name);
	while (at < f->files_len && strcmp(f->files[at].name, name) < 0)
		at++;
	if (at == f->files_len || strcmp(f->files[at].name, name)) {
		if (f->files_len == FW_CFG_FILES)
			return err_set(e, ENOSPC, "fw_cfg file '%s': there are 32 already", name);
		memmove(&f->files[at + 1], &f->files[at],
			(f->files_len++ - at) * sizeof(f->files[0]));
		f->files[at] = (struct fw_cfg_file){0};
		memcpy(f->files[at].name, name, strlen(name) + 1);
	}
	blob_set(&f->files[at].blob, blob);
	acpi_sizes(f, name, blob->len);
	directory_make(f);
	return 0;
}

/**
 * fw_cfg_add_file() - Add or replace a file
 * @f:		The device
 * @name:	At most 55 characters
 * @data:	Copied
 * @len:	Bytes
 * @e:		Set on failure only
 *
 * Errors: ENAMETOOLONG, ENOSPC (there are 32 files)
 * Return: 0, or a negative errno
 */
int fw_cfg_add_file(struct fw_cfg *f, const char *name, const void *data, size_t len, struct err *e)
{
	struct fw_cfg_blob b = copy_of(data, len);
	int r = fw_cfg_add_shared(f, name, &b, e);

	if (r)
		free(b.data);
	return r;
}

/**
 * fw_cfg_has_file() - Is there a file of this name?
 * @f:		The device
 * @name:	Of the file
 */
bool fw_cfg_has_file(const struct fw_cfg *f, const char *name)
{
	for (size_t i = 0; i < f->files_len; i++)
		if (!strcmp(f->files[i].name, name))
			return true;
	return false;
}

static void fw_cfg_reset(struct device *dev)
{
	struct fw_cfg *f = (struct fw_cfg *)dev;

	f->s.dma_addr = 0;
	select_key(f, FW_CFG_SIGNATURE);
}

static int fw_cfg_realize(struct device *dev, struct err *e)
{
	struct fw_cfg *f = (struct fw_cfg *)dev;

	fw_cfg_add(f, FW_CFG_SIGNATURE, "QEMU", 4);
	fw_cfg_add_u32(f, FW_CFG_ID, 3); /* the ports, and DMA */
	f->keys[0][FW_CFG_FILE_DIR] = (struct fw_cfg_blob){.data = f->directory,
							   .len = sizeof(f->directory)};
	f->io = (struct io_region){.name = "fwcfg",
				   .kind = IO_PORT,
				   .base = 0x510,
				   .size = 2,
				   .ops = &port_ops,
				   .opaque = f,
				   .lock = dev->lock,
				   .enabled = true};
	f->dma_io = (struct io_region){.name = "fwcfg.dma",
				       .kind = IO_PORT,
				       .base = 0x514,
				       .size = 8,
				       .ops = &dma_ops,
				       .opaque = f,
				       .lock = dev->lock,
				       .enabled = true};
	io_region_add(dev->env->io, &f->io);
	io_region_add(dev->env->io, &f->dma_io);
	return 0;
}

static void fw_cfg_unrealize(struct device *dev)
{
	struct fw_cfg *f = (struct fw_cfg *)dev;
	const struct fw_cfg_blob none = {0};

	io_region_del(&f->io);
	io_region_del(&f->dma_io);
	for (int key = 0; key < FW_CFG_FILE_FIRST; key++) {
		blob_set(&f->keys[0][key], &none);
		blob_set(&f->keys[1][key], &none);
	}
	for (size_t i = 0; i < f->files_len; i++)
		blob_set(&f->files[i].blob, &none);
}

static bool always(const void *state)
{
	return true;
}

static bool sizes_needed(const void *state)
{
	const struct fw_cfg_state *s = state;

	return (s->table_size | s->linker_size | s->rsdp_size) & 4095;
}

static const struct state_field dma_fields[] = {
	FIELD("dma_addr", struct fw_cfg_state, dma_addr),
	FIELDS_END,
};

static const struct state_field sizes_fields[] = {
	FIELD("table_mr_size", struct fw_cfg_state, table_size),
	FIELD("linker_mr_size", struct fw_cfg_state, linker_size),
	FIELD("rsdp_mr_size", struct fw_cfg_state, rsdp_size),
	FIELDS_END,
};

static const struct state_table dma_sub = {
	.name = "fw_cfg/dma",
	.version = 0,
	.min_version = 0,
	.size = sizeof(struct fw_cfg_state),
	.fields = dma_fields,
	.needed = always,
};

static const struct state_table sizes_sub = {
	.name = "fw_cfg/acpi_mr",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct fw_cfg_state),
	.fields = sizes_fields,
	.needed = sizes_needed,
};

static const struct state_table *const fw_cfg_subs[] = {&dma_sub, &sizes_sub, NULL};

static const struct state_field fw_cfg_fields[] = {
	FIELD("cur_entry", struct fw_cfg_state, entry),
	FIELD("cur_offset[1]", struct fw_cfg_state, offset),
	NOT_SENT(struct fw_cfg_state, reserved, "padding"),
	FIELDS_END,
};

static const struct state_table fw_cfg_table = {
	.name = "fw_cfg",
	.version = 2,
	.min_version = 2,
	.size = sizeof(struct fw_cfg_state),
	.fields = fw_cfg_fields,
	.subsections = fw_cfg_subs,
};

static void fw_cfg_capture(const struct device *dev, void *state)
{
	*(struct fw_cfg_state *)state = ((const struct fw_cfg *)dev)->s;
}

static void file_resize(struct fw_cfg *f, const char *name, uint64_t len)
{
	for (size_t i = 0; i < f->files_len; i++)
		if (!strcmp(f->files[i].name, name))
			f->files[i].blob.len = (uint32_t)len;
}

/* A file can't grow over the memory behind it. */
static int size_check(const struct fw_cfg *f, const char *name, uint64_t len, struct err *e)
{
	for (size_t i = 0; i < f->files_len; i++)
		if (!strcmp(f->files[i].name, name) &&
		    len > ALIGN_UP((uint64_t)f->files[i].blob.len, 4096))
			return err_set(e, EINVAL, "%s: %ju bytes offered, %u here", name,
				       (uintmax_t)len, f->files[i].blob.len);
	return 0;
}

static int fw_cfg_validate(const struct device *dev, const void *state, struct err *e)
{
	const struct fw_cfg *f = (const struct fw_cfg *)dev;
	const struct fw_cfg_state *s = state;
	int r = size_check(f, "etc/acpi/tables", s->table_size, e);

	if (!r)
		r = size_check(f, "etc/table-loader", s->linker_size, e);
	if (!r)
		r = size_check(f, "etc/acpi/rsdp", s->rsdp_size, e);
	return r;
}

static void fw_cfg_apply(struct device *dev, const void *state)
{
	struct fw_cfg *f = (struct fw_cfg *)dev;

	f->s = *(const struct fw_cfg_state *)state;
	file_resize(f, "etc/acpi/tables", f->s.table_size);
	file_resize(f, "etc/table-loader", f->s.linker_size);
	file_resize(f, "etc/acpi/rsdp", f->s.rsdp_size);
	directory_make(f);
}

const struct device_class fw_cfg_class = {
	.name = "fw_cfg_io",
	.help = "Firmware configuration",
	.bus = "System",
	.size = sizeof(struct fw_cfg),
	.own_lock = true,
	.continuity = CONTINUITY_STATE,
	.state = &fw_cfg_table,
	.section = "fw_cfg",
	.realize = fw_cfg_realize,
	.unrealize = fw_cfg_unrealize,
	.reset = fw_cfg_reset,
	.capture = fw_cfg_capture,
	.validate = fw_cfg_validate,
	.apply = fw_cfg_apply,
};
