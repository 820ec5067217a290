/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the flash that UEFI firmware keeps its code and variables in. Its content is
 * a RAM block, mapped read-only, so that the guest runs from it at full speed; a write leaves the
 * kernel and is a command. From the first byte of a command until "read array" the mapping is
 * hidden and reads come here as well. What is programmed or erased goes to the image before the
 * guest goes on. Bytes are programmed as they are written: bits may become one again without an
 * erase, as on QEMU. A secure chip takes commands, and shows their results, in system management
 * mode only.
 *
 * Source: Intel's Common Flash Memory Interface and command set 0001; QEMU's cfi.pflash01 for what
 * it leaves open and for the section.
 */
#include "device/pflash.h"

#include "base/log.h"
#include "device/classes.h"

#include <errno.h>
#include <string.h>

enum pflash_command {
	CMD_SHOW = 0x00, /* after reset; as CMD_READ_ARRAY */
	CMD_PROGRAM = 0x10,
	CMD_ERASE = 0x20,
	CMD_ERASE_ALSO = 0x28,
	CMD_PROGRAM_ALSO = 0x40,
	CMD_CLEAR_STATUS = 0x50,
	CMD_LOCK = 0x60,
	CMD_STATUS = 0x70,
	CMD_DEVICE_ID = 0x90,
	CMD_QUERY = 0x98,
	CMD_CONFIRM = 0xd0,
	CMD_BUFFER = 0xe8,
	CMD_READ_ARRAY = 0xff,
};

#define STATUS_READY         0x80
#define STATUS_ERASE_ERROR   0x20
#define STATUS_PROGRAM_ERROR 0x10
#define LOCK_BLOCK           0x01
#define BUFFER_EXPONENT      8
#define DISK_SECTOR          512u

static void show(struct pflash *f, bool on)
{
	static struct log_limit limit;
	struct err e;

	if (f->map && f->map->enabled != on &&
	    memory_map_set(f->dev.env->memory, f->map, f->gpa, on, true, &e) < 0)
		log_guest(&limit, "flash %s: %s", f->block->name, e.msg);
}

static void read_array(struct pflash *f)
{
	f->s.wcycle = 0;
	f->s.cmd = CMD_SHOW;
	show(f, true);
}

/* To the image, in whole sectors, with what is around. */
static void store(struct pflash *f, uint64_t offset, uint64_t len)
{
	uint64_t from = ALIGN_DOWN(offset, DISK_SECTOR);
	uint64_t end = ALIGN_UP(offset + len, (uint64_t)DISK_SECTOR);
	int r = block_sync_do(f->out, BLOCK_WRITE, from, f->block->hva + from, end - from);

	if (r < 0 && !f->failed)
		log_error("flash %s: write to %s: %s; the firmware's variables aren't kept",
			  f->block->name, block_name(f->drive), strerror(-r));
	f->failed = r < 0;
}

static void program(struct pflash *f, uint64_t offset, uint32_t value, unsigned int size)
{
	for (unsigned int i = 0; i < size; i++)
		f->block->hva[offset + i] = (uint8_t)(value >> 8 * i);
	memory_mark_block(f->dev.env->memory, f->block, offset, size);
}

static void erase(struct pflash *f, uint64_t offset)
{
	offset = ALIGN_DOWN(offset, (uint64_t)PFLASH_SECTOR);
	if (f->read_only) {
		f->s.status |= STATUS_ERASE_ERROR;
	} else {
		memset(f->block->hva + offset, 0xff, PFLASH_SECTOR);
		memory_mark_block(f->dev.env->memory, f->block, offset, PFLASH_SECTOR);
		store(f, offset, PFLASH_SECTOR);
	}
	f->s.status |= STATUS_READY;
}

/* The first byte of a command. */
static void command(struct pflash *f, uint64_t offset, uint8_t cmd)
{
	switch (cmd) {
	case CMD_ERASE: erase(f, offset); break;
	case CMD_BUFFER: f->s.status |= STATUS_READY; break;
	case CMD_STATUS:
	case CMD_DEVICE_ID: f->s.cmd = cmd; return;
	case CMD_PROGRAM:
	case CMD_PROGRAM_ALSO:
	case CMD_LOCK:
	case CMD_QUERY: break;
	case CMD_CLEAR_STATUS:
		f->s.status = 0;
		read_array(f);
		return;
	default: read_array(f); return;
	}
	f->s.wcycle = 1;
	f->s.cmd = cmd;
}

static void program_one(struct pflash *f, uint64_t offset, uint32_t value, unsigned int size)
{
	if (f->read_only) {
		f->s.status |= STATUS_PROGRAM_ERROR;
	} else {
		program(f, offset, value, size);
		store(f, offset, size);
	}
	f->s.status |= STATUS_READY;
	f->s.wcycle = 0;
}

static void confirm(struct pflash *f, bool ok)
{
	if (!ok) {
		read_array(f);
		return;
	}
	f->s.wcycle = 0;
	f->s.status |= STATUS_READY;
}

static void second(struct pflash *f, uint64_t offset, uint32_t value, unsigned int size)
{
	uint8_t byte = (uint8_t)value;

	switch (f->s.cmd) {
	case CMD_PROGRAM:
	case CMD_PROGRAM_ALSO: program_one(f, offset, value, size); break;
	case CMD_ERASE:
	case CMD_ERASE_ALSO: confirm(f, byte == CMD_CONFIRM); break;
	case CMD_LOCK: confirm(f, byte == CMD_CONFIRM || byte == LOCK_BLOCK); break;
	case CMD_BUFFER:
		f->s.counter = byte;
		f->s.wcycle = 2;
		break;
	case CMD_QUERY:
		if (byte == CMD_READ_ARRAY)
			read_array(f);
		break;
	default: read_array(f);
	}
}

/* Data of the buffer command: in place at once, in the image when the last has come. */
static void buffered(struct pflash *f, uint64_t offset, uint32_t value, unsigned int size)
{
	uint64_t bytes = 1u << BUFFER_EXPONENT;

	if (f->s.cmd != CMD_BUFFER) {
		read_array(f);
		return;
	}
	if (f->read_only)
		f->s.status |= STATUS_PROGRAM_ERROR;
	else
		program(f, offset, value, size);
	f->s.status |= STATUS_READY;
	if (!f->s.counter) {
		f->s.wcycle = 3;
		if (!f->read_only)
			store(f, ALIGN_DOWN(offset, bytes), bytes);
	}
	f->s.counter--;
}

static bool is_rom(const struct pflash *f)
{
	return f->secure && !f->dev.env->in_smm(f->dev.env->opaque);
}

static void pflash_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct pflash *f = opaque;

	if (is_rom(f))
		return;
	if (!f->s.wcycle)
		show(f, false);
	switch (f->s.wcycle) {
	case 0: command(f, offset, (uint8_t)value); break;
	case 1: second(f, offset, (uint32_t)value, size); break;
	case 2: buffered(f, offset, (uint32_t)value, size); break;
	case 3: confirm(f, f->s.cmd == CMD_BUFFER && (uint8_t)value == CMD_CONFIRM); break;
	default: read_array(f);
	}
}

static uint32_t content(const struct pflash *f, uint64_t offset, unsigned int size)
{
	uint32_t value = 0;

	for (unsigned int i = 0; i < size; i++)
		value |= (uint32_t)f->block->hva[offset + i] << 8 * i;
	return value;
}

static uint64_t pflash_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pflash *f = opaque;
	uint32_t status = f->s.status;

	if (is_rom(f))
		return content(f, offset, size);
	switch (f->s.cmd) {
	case CMD_PROGRAM:
	case CMD_PROGRAM_ALSO:
	case CMD_ERASE:
	case CMD_ERASE_ALSO:
	case CMD_CLEAR_STATUS:
	case CMD_LOCK:
	case CMD_STATUS:
	case CMD_BUFFER: return size > 2 ? status << 16 | status : status;
	case CMD_DEVICE_ID: return 0;
	case CMD_QUERY: return (offset & 0xff) < sizeof(f->cfi) ? f->cfi[offset & 0xff] : 0;
	case CMD_SHOW: break;
	default: f->s.cmd = CMD_SHOW; f->s.wcycle = 0;
	}
	return content(f, offset, size);
}

static const struct io_ops pflash_ops = {pflash_read, pflash_write, 1, 4};

/* What the query command shows, from offset 0x10. Source: CFI 1.5, tables 4-1 to 4-6 */
static void cfi_fill(struct pflash *f)
{
	static const uint8_t head[] = {
		'Q',  'R',  'Y',  0x01, 0x00, 0x31, 0x00, 0x00, 0x00, 0x00, 0x00, /* Intel's */
		0x45, 0x55, 0x00, 0x00,                                           /* voltages */
		0x07, 0x07, 0x0a, 0x00, 0x04, 0x04, 0x04, 0x00,                   /* timeouts */
	};
	static const uint8_t extended[] = {'P', 'R', 'I', '1', '0'};
	uint32_t last = (uint32_t)(f->block->size / PFLASH_SECTOR) - 1;

	memcpy(f->cfi + 0x10, head, sizeof(head));
	f->cfi[0x27] = (uint8_t)__builtin_ctz((unsigned int)f->block->size);
	f->cfi[0x28] = 0x02; /* 8 and 16 bits */
	f->cfi[0x2a] = BUFFER_EXPONENT;
	f->cfi[0x2c] = 1; /* all sectors are of one size */
	f->cfi[0x2d] = (uint8_t)last;
	f->cfi[0x2e] = (uint8_t)(last >> 8);
	f->cfi[0x2f] = PFLASH_SECTOR >> 8;
	f->cfi[0x30] = PFLASH_SECTOR >> 16;
	memcpy(f->cfi + 0x31, extended, sizeof(extended));
	f->cfi[0x3f] = 1;
}

static int image_take(struct pflash *f, struct err *e)
{
	int r;

	f->read_only = block_read_only(f->drive);
	r = block_attach(f->drive, f->block->name, !f->read_only, e);
	if (r < 0)
		return r;
	f->attached = true;
	return f->read_only ? 0 : block_sync_open(f->drive, &f->out, e);
}

static void appear(struct pflash *f)
{
	f->io = (struct io_region){
		.name = f->block->name,
		.kind = IO_MEMORY,
		.base = f->gpa,
		.size = f->block->size,
		.ops = &pflash_ops,
		.opaque = f,
		.lock = f->dev.lock,
		.enabled = true,
	};
	io_region_add(f->dev.env->io, &f->io);
	cfi_fill(f);
}

static int pflash_realize(struct device *dev, struct err *e)
{
	struct pflash *f = CONTAINER_OF(dev, struct pflash, dev);
	const struct memory_map window = {.gpa = f->gpa,
					  .size = f->block->size,
					  .block = f->block,
					  .readonly = true,
					  .enabled = true,
					  .priority = 1};
	int r = f->secure && !dev->env->in_smm
			? err_set(e, ENOTSUP,
				  "secure=on needs system management mode, which isn't there: give "
				  "-machine smm=on, or take firmware without it (OVMF_CODE_4M.fd)")
			: image_take(f, e);

	if (r >= 0)
		r = memory_map_add(dev->env->memory, &window, &f->map, e);
	if (r < 0) {
		dev->class->unrealize(dev);
		return r;
	}
	appear(f);
	return 0;
}

static void pflash_unrealize(struct device *dev)
{
	struct pflash *f = CONTAINER_OF(dev, struct pflash, dev);

	io_region_del(&f->io);
	if (f->map)
		memory_map_del(dev->env->memory, f->map);
	block_sync_close(f->out);
	if (f->attached)
		block_detach(f->drive);
}

static void pflash_reset(struct device *dev)
{
	struct pflash *f = CONTAINER_OF(dev, struct pflash, dev);

	f->s = (struct pflash_state){.status = STATUS_READY};
	show(f, true);
}

static void pflash_capture(const struct device *dev, void *state)
{
	memcpy(state, &CONTAINER_OF(dev, const struct pflash, dev)->s, sizeof(struct pflash_state));
}

static void pflash_apply(struct device *dev, const void *state)
{
	struct pflash *f = CONTAINER_OF(dev, struct pflash, dev);

	memcpy(&f->s, state, sizeof(f->s));
	show(f, f->s.cmd == CMD_SHOW);
	f->behind = !f->adopted && !f->read_only;
}

/* The content came with the state; now the image is ours. */
static void pflash_run(struct device *dev)
{
	struct pflash *f = CONTAINER_OF(dev, struct pflash, dev);

	if (f->behind)
		store(f, 0, f->block->size);
	f->behind = false;
}

static const struct state_field pflash_fields[] = {
	FIELD("wcycle", struct pflash_state, wcycle),
	FIELD("cmd", struct pflash_state, cmd),
	FIELD("status", struct pflash_state, status),
	NOT_SENT(struct pflash_state, reserved, "padding"),
	FIELD("counter", struct pflash_state, counter),
	FIELDS_END,
};

static const struct state_table pflash_table = {
	.name = "pflash_cfi01",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct pflash_state),
	.fields = pflash_fields,
};

static const struct prop pflash_props[] = {
	{.name = "secure",
	 .kind = PROP_BOOL,
	 .offset = offsetof(struct pflash, secure),
	 .def = "off",
	 .help = "Only firmware in system management mode may write"},
	PROPS_END,
};

const struct device_class pflash_class = {
	.name = "cfi.pflash01",
	.help = "Flash chip that firmware keeps its code and variables in",
	.bus = "System",
	.size = sizeof(struct pflash),
	.own_lock = true, /* held while the image is written */
	.continuity = CONTINUITY_STATE,
	.state = &pflash_table,
	.section = "pflash_cfi01",
	.props = pflash_props,
	.realize = pflash_realize,
	.unrealize = pflash_unrealize,
	.reset = pflash_reset,
	.capture = pflash_capture,
	.apply = pflash_apply,
	.run = pflash_run,
};
