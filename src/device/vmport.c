/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: software that reads port 0x5658 with a magic number in EAX and a command in
 * ECX talks to the VMM by registers. Of the commands there are version, memory size, UUID, and
 * those of a pointer (vmmouse), whose words lie in a queue that the guest reads a few at a time.
 *
 * Anybody in the guest who may do port I/O can send anything: counts are checked, a driver that
 * asks for more than there is switches the pointer off, as on QEMU.
 */
#include "device/vmport.h"

#include "base/bytes.h"
#include "device/classes.h"
#include "device/wire.h"

#include <errno.h>

#define MAGIC       0x564d5868u
#define VMX_VERSION 6
#define VMX_TYPE    2
#define MOUSE_OFF   0xffff
#define MOUSE_ID    0x3442554au

enum vmport_command {
	CMD_VERSION = 10,
	CMD_UUID = 19,
	CMD_RAM = 20,
	CMD_MOUSE_DATA = 39,
	CMD_MOUSE_STATUS = 40,
	CMD_MOUSE_COMMAND = 41
};

static void mouse_command(struct vmmouse_state *s, uint32_t value)
{
	switch (value) {
	case 0x45414552: /* read the id */
		if (s->len < VMMOUSE_QUEUE) {
			s->queue[s->len++] = MOUSE_ID;
			s->status = 0;
		}
		break;
	case 0x000000f5: s->status = MOUSE_OFF; break;
	case 0x4c455252: s->absolute = s->status ? s->absolute : 0; break;
	case 0x53424152: s->absolute = s->status ? s->absolute : 1; break;
	default: break;
	}
}

static void mouse_data(struct vmmouse_state *s, uint32_t *regs, uint32_t n)
{
	if (!n || n > VMPORT_REGISTERS || n > s->len) {
		s->status = MOUSE_OFF;
		return;
	}
	memcpy(regs, s->queue, n * sizeof(regs[0]));
	s->len = (uint16_t)(s->len - n);
	memmove(s->queue, s->queue + n, s->len * sizeof(s->queue[0]));
}

static void version(uint32_t *regs)
{
	regs[VMPORT_EAX] = VMX_VERSION;
	regs[VMPORT_EBX] = MAGIC;
	regs[VMPORT_ECX] = VMX_TYPE;
}

static void uuid(const struct vmport *d, uint32_t *regs)
{
	for (int i = 0; i < 4; i++)
		regs[i] = load_le32(d->uuid + 4 * i);
}

static void dispatch(struct vmport *d, uint32_t *regs)
{
	struct vmmouse_state *mouse = d->mouse ? &d->mouse->s : NULL;
	uint32_t command = regs[VMPORT_ECX] & 0xff;

	if (regs[VMPORT_EAX] != MAGIC)
		regs[VMPORT_EAX] = UINT32_MAX;
	else if (command == CMD_VERSION)
		version(regs);
	else if (command == CMD_UUID)
		uuid(d, regs);
	else if (command == CMD_RAM) {
		regs[VMPORT_EBX] = 0x1177;
		regs[VMPORT_EAX] = (uint32_t)d->ram_bytes;
	} else if (mouse && command == CMD_MOUSE_STATUS)
		regs[VMPORT_EAX] = (uint32_t)mouse->status << 16 | mouse->len;
	else if (mouse && command == CMD_MOUSE_COMMAND)
		mouse_command(mouse, regs[VMPORT_EBX]);
	else if (mouse && command == CMD_MOUSE_DATA)
		mouse_data(mouse, regs, regs[VMPORT_EBX]);
	else
		regs[VMPORT_EAX] = UINT32_MAX;
}

static uint64_t vmport_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct vmport *d = opaque;
	uint32_t regs[VMPORT_REGISTERS];

	if (!d->registers || !d->registers(d->registers_opaque, regs, false))
		return UINT64_MAX;
	dispatch(d, regs);
	d->registers(d->registers_opaque, regs, true);
	return regs[VMPORT_EAX];
}

static void vmport_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	vmport_read(opaque, offset, size);
}

/* An access of any size is taken as one of 4, from the first port. */
static const struct io_ops vmport_ops = {vmport_read, vmport_write, 1, 4};

static int vmport_realize(struct device *dev, struct err *e)
{
	struct vmport *d = (struct vmport *)dev;

	d->io = (struct io_region){.name = "vmport",
				   .kind = IO_PORT,
				   .base = 0x5658,
				   .size = 4,
				   .ops = &vmport_ops,
				   .opaque = d,
				   .lock = dev->lock,
				   .enabled = true};
	io_region_add(dev->env->io, &d->io);
	return 0;
}

static void vmport_unrealize(struct device *dev)
{
	io_region_del(&((struct vmport *)dev)->io);
}

const struct device_class vmport_class = {
	.name = "vmport",
	.help = "VMware's back door",
	.bus = "ISA",
	.size = sizeof(struct vmport),
	.continuity = CONTINUITY_STATELESS,
	.why = "each command is answered at once; the pointer's queue is vmmouse's",
	.realize = vmport_realize,
	.unrealize = vmport_unrealize,
};

static void vmmouse_reset(struct device *dev)
{
	struct vmmouse *d = (struct vmmouse *)dev;

	d->s.size = VMMOUSE_QUEUE;
	d->s.len = 0;
	d->s.status = MOUSE_OFF;
}

static void vmmouse_capture(const struct device *dev, void *state)
{
	*(struct vmmouse_state *)state = ((const struct vmmouse *)dev)->s;
}

static void vmmouse_apply(struct device *dev, const void *state)
{
	((struct vmmouse *)dev)->s = *(const struct vmmouse_state *)state;
}

static int vmmouse_check(const void *state, unsigned int v, struct err *e)
{
	const struct vmmouse_state *s = state;

	if (s->len > VMMOUSE_QUEUE)
		return err_set(e, EINVAL, "nb_queue: %u, the queue has %u words", s->len,
			       VMMOUSE_QUEUE);
	return 0;
}

static const struct state_field vmmouse_fields[] = {
	FIELD_CODEC("queue_size", struct vmmouse_state, size, &wire_int32_equal),
	FIELD("queue", struct vmmouse_state, queue),
	FIELD("nb_queue", struct vmmouse_state, len),
	FIELD("status", struct vmmouse_state, status),
	FIELD("absolute", struct vmmouse_state, absolute),
	NOT_SENT(struct vmmouse_state, reserved, "padding"),
	FIELDS_END,
};

static const struct vmmouse_state vmmouse_fresh = {.size = VMMOUSE_QUEUE};

static const struct state_table vmmouse_table = {
	.name = "vmmouse",
	.version = 0,
	.min_version = 0,
	.size = sizeof(struct vmmouse_state),
	.fields = vmmouse_fields,
	.check = vmmouse_check,
	.fresh = &vmmouse_fresh,
};

const struct device_class vmmouse_class = {
	.name = "vmmouse",
	.help = "VMware's pointer",
	.bus = "ISA",
	.size = sizeof(struct vmmouse),
	.continuity = CONTINUITY_STATE,
	.state = &vmmouse_table,
	.section = "vmmouse",
	.reset = vmmouse_reset,
	.capture = vmmouse_capture,
	.apply = vmmouse_apply,
};
