/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the ICH9's SMBus host. On the bus are eight EEPROMs (0x50-0x57) that read as
 * zeros, as the blank ones of QEMU's q35; nobody else answers, so any other address is a device
 * error. Writes to the EEPROMs are taken and forgotten.
 *
 * A transaction runs when the guest starts it, or, without interrupts, when it next reads the
 * status (some firmware waits to see the host busy first). Blocks go byte by byte or through a
 * buffer of 32.
 *
 * Source: Intel ICH9 data sheet 20. State as QEMU's "ich9_smb" version 1 and "i2c_bus".
 */
#include "machine/q35/smbus.h"

#include "machine/q35/q35_chipset.h"

#include <errno.h>

enum smb_register {
	REG_STATUS = 0,
	REG_CONTROL = 2,
	REG_COMMAND = 3,
	REG_ADDRESS = 4,
	REG_DATA0 = 5,
	REG_DATA1 = 6,
	REG_BLOCK = 7,
	REG_AUX = 13
};
enum smb_protocol { QUICK, BYTE, BYTE_DATA, WORD_DATA, PROCESS_CALL, BLOCK, I2C_READ };

#define ST_BUSY    0x01
#define ST_DONE    0x02
#define ST_ERROR   0x04
#define ST_FAILED  0x10
#define ST_BYTE    0x80
#define CT_INT     0x01
#define CT_KILL    0x02
#define CT_LAST    0x20
#define CT_START   0x40
#define AUX_BUFFER 0x02
#define HOSTC      0x40 /* in configuration space */

static bool answers(const struct smb_state *s)
{
	return s->address >> 1 >= 0x50 && s->address >> 1 <= 0x57;
}

static void irq_update(struct smbus *d)
{
	bool level = d->s.smb.status & ~ST_BUSY && d->s.smb.control & CT_INT;

	if (level != d->s.irq) {
		d->s.irq = level;
		pci_intx_set(&d->pci, level);
	}
}

static void block_start(struct smb_state *s)
{
	bool read = s->address & 1;

	s->op_done = false;
	if (read) { /* a blank EEPROM says that the block has no byte */
		memset(s->data, 0, sizeof(s->data));
		s->index = 0;
		s->data0 = 0;
		s->block_data = 0;
		s->status |= s->aux & AUX_BUFFER ? ST_DONE : ST_BUSY | ST_BYTE;
	} else if (s->aux & AUX_BUFFER) {
		s->op_done = s->index == s->data0;
		s->status |= s->op_done ? ST_DONE : ST_ERROR;
		if (s->op_done)
			s->status &= (uint8_t)~ST_BUSY;
		s->index = 0;
	} else {
		s->data[0] = s->block_data;
		s->index = 0;
		s->status |= ST_BUSY | ST_BYTE;
	}
}

static void transaction(struct smb_state *s)
{
	enum smb_protocol protocol = s->control >> 2 & 7;
	bool read = s->address & 1;

	if (s->status & ST_ERROR || !answers(s) || protocol == PROCESS_CALL ||
	    protocol > I2C_READ) {
		s->status |= ST_ERROR;
		return;
	}
	if (protocol == BLOCK) {
		block_start(s);
		return;
	}
	if (protocol == I2C_READ) {
		s->in_i2c_read = true;
		s->block_data = 0;
		s->op_done = false;
		s->status |= ST_BUSY | ST_BYTE;
		return;
	}
	if (read && protocol != QUICK)
		s->data0 = 0;
	if (read && protocol == WORD_DATA)
		s->data1 = 0;
	s->status |= ST_DONE;
}

static void start(struct smb_state *s)
{
	if (!s->op_done) {
		s->index = 0;
		s->op_done = true;
		s->in_i2c_read = false;
	}
	s->on_status_read = !(s->control & CT_INT);
	if (s->on_status_read)
		s->status |= ST_BUSY;
	else
		transaction(s);
}

static void control_write(struct smb_state *s, uint8_t value)
{
	s->control = (uint8_t)(value & ~CT_START);
	if (value & CT_START)
		start(s);
	if (value & CT_KILL) {
		s->op_done = true;
		s->index = 0;
		s->status |= ST_FAILED;
		s->status &= (uint8_t)~ST_BUSY;
	}
}

static void finish(struct smb_state *s)
{
	s->op_done = true;
	s->in_i2c_read = false;
	s->index = 0;
	s->status |= ST_DONE;
	s->status &= (uint8_t)~ST_BUSY;
}

/* The guest is through with a byte of a block that goes byte by byte. */
static void byte_next(struct smb_state *s)
{
	bool read = s->address & 1 || s->in_i2c_read;

	s->index = (s->index + 1) % sizeof(s->data);
	if (!read && s->index == s->data0) {
		finish(s);
	} else if (!read) {
		s->data[s->index] = s->block_data;
		s->status |= ST_BYTE;
	} else {
		s->block_data = s->in_i2c_read ? 0 : s->data[s->index];
		if (s->control & CT_LAST)
			finish(s);
		else
			s->status |= ST_BYTE;
	}
}

static void status_write(struct smb_state *s, uint8_t value)
{
	bool byte_done = s->status & value & ST_BYTE;

	s->status &= (uint8_t) ~(value & ~ST_BUSY);
	if (byte_done && !s->op_done && (s->in_i2c_read || !(s->aux & AUX_BUFFER)))
		byte_next(s);
}

static void block_write(struct smb_state *s, uint8_t value)
{
	if (s->aux & AUX_BUFFER) {
		s->index %= sizeof(s->data);
		s->data[s->index++] = value;
	} else {
		s->block_data = value;
	}
}

static void smb_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct smbus *d = opaque;
	struct smb_state *s = &d->s.smb;
	uint8_t v = (uint8_t)value;

	switch (offset) {
	case REG_STATUS: status_write(s, v); break;
	case REG_CONTROL: control_write(s, v); break;
	case REG_COMMAND: s->command = v; break;
	case REG_ADDRESS: s->address = v; break;
	case REG_DATA0: s->data0 = v; break;
	case REG_DATA1: s->data1 = v; break;
	case REG_BLOCK: block_write(s, v); break;
	case REG_AUX: s->aux = v & 3; break;
	default: break;
	}
	irq_update(d);
}

static uint8_t status_read(struct smb_state *s)
{
	uint8_t value = s->status;

	if (s->on_status_read) {
		s->on_status_read = false;
		s->status &= (uint8_t)~ST_BUSY;
		transaction(s);
	}
	return value;
}

static uint8_t block_read(struct smb_state *s)
{
	uint8_t value;

	if (!(s->aux & AUX_BUFFER) || s->in_i2c_read)
		return s->block_data;
	s->index %= sizeof(s->data);
	value = s->data[s->index++];
	if (!s->op_done && s->index == s->data0) {
		s->op_done = true;
		s->index = 0;
		s->status &= (uint8_t)~ST_BUSY;
	}
	return value;
}

static uint64_t smb_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct smbus *d = opaque;
	struct smb_state *s = &d->s.smb;
	uint8_t value = 0;

	switch (offset) {
	case REG_STATUS: value = status_read(s); break;
	case REG_CONTROL: value = s->control & 0x1f; break;
	case REG_COMMAND: value = s->command; break;
	case REG_ADDRESS: value = s->address; break;
	case REG_DATA0: value = s->data0; break;
	case REG_DATA1: value = s->data1; break;
	case REG_BLOCK: value = block_read(s); break;
	case REG_AUX: value = s->aux; break;
	default: break;
	}
	irq_update(d);
	return value;
}

static const struct io_ops smb_ops = {smb_read, smb_write, 1, 1};

static void smb_reset(struct smb_state *s)
{
	bool i2c = s->i2c_enable;

	*s = (struct smb_state){.op_done = true, .i2c_enable = i2c};
}

static void config_written(struct pci_device *pci, unsigned int offset, unsigned int size)
{
	struct smbus *d = (struct smbus *)pci;
	uint8_t *hostc = &pci->config[HOSTC];

	if (offset > HOSTC || offset + size <= HOSTC)
		return;
	d->s.smb.i2c_enable = *hostc & 4;
	if (*hostc & 8) {
		smb_reset(&d->s.smb);
		*hostc &= (uint8_t)~8;
		irq_update(d);
	}
}

static void smbus_reset(struct device *dev)
{
	struct smbus *d = (struct smbus *)dev;

	pci_device_reset(&d->pci);
	d->pci.config[HOSTC] = 0;
	d->s.smb.i2c_enable = false;
	smb_reset(&d->s.smb);
	irq_update(d);
}

static int smbus_realize(struct device *dev, struct err *e)
{
	static const struct pci_ids ids = {.vendor = 0x8086,
					   .device = 0x2930,
					   .revision = 2,
					   .subsystem_vendor = 0x1af4,
					   .subsystem = 0x1100,
					   .class_code = 0x0c0500};
	struct smbus *d = (struct smbus *)dev;
	int r;

	d->pci.devfn = PCI_DEVFN(31, 3);
	d->pci.multifunction = true;
	d->pci.config_written = config_written;
	r = pci_device_init(&d->pci, &ids, e);
	d->pci.config[PCI_INTERRUPT_PIN] = 1;
	d->io = (struct io_region){
		.name = "pm-smbus", .size = 64, .ops = &smb_ops, .opaque = d, .lock = dev->lock};
	pci_bar_region(&d->pci, 4, &d->io, PCI_BASE_ADDRESS_SPACE_IO);
	if (!r)
		r = pci_device_attach(&d->pci, NULL, e);
	if (r) {
		pci_device_release(&d->pci);
		return r;
	}
	smbus_reset(dev);
	return 0;
}

static void smbus_unrealize(struct device *dev)
{
	struct smbus *d = (struct smbus *)dev;

	pci_device_detach(&d->pci);
	pci_device_release(&d->pci);
}

static void smbus_capture(const struct device *dev, void *state)
{
	const struct smbus *d = (const struct smbus *)dev;
	struct smbus_state *s = state;

	*s = d->s;
	pci_capture(&d->pci, &s->pci);
}

static int smbus_validate(const struct device *dev, const void *state, struct err *e)
{
	return pci_validate(&((const struct smbus *)dev)->pci,
			    &((const struct smbus_state *)state)->pci, e);
}

static void smbus_apply(struct device *dev, const void *state)
{
	struct smbus *d = (struct smbus *)dev;

	d->s = *(const struct smbus_state *)state;
	pci_apply(&d->pci, &d->s.pci);
}

static const struct state_field smb_fields[] = {
	FIELD("smb_stat", struct smb_state, status),
	FIELD("smb_ctl", struct smb_state, control),
	FIELD("smb_cmd", struct smb_state, command),
	FIELD("smb_addr", struct smb_state, address),
	FIELD("smb_data0", struct smb_state, data0),
	FIELD("smb_data1", struct smb_state, data1),
	FIELD("smb_index", struct smb_state, index),
	FIELD_U8S("smb_data", struct smb_state, data),
	FIELD("smb_auxctl", struct smb_state, aux),
	FIELD("smb_blkdata", struct smb_state, block_data),
	FIELD("i2c_enable", struct smb_state, i2c_enable),
	FIELD("op_done", struct smb_state, op_done),
	FIELD("in_i2c_block_read", struct smb_state, in_i2c_read),
	FIELD("start_transaction_on_status_read", struct smb_state, on_status_read),
	FIELDS_END,
};

static int smb_check(const void *state, unsigned int version, struct err *e)
{
	const struct smb_state *s = state;

	if (s->index > sizeof(s->data))
		return err_set(e, EINVAL, "smb_index: %u, the buffer has 32 bytes", s->index);
	return 0;
}

static const struct state_table smb_table = {
	.name = "pmsmb",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct smb_state),
	.fields = smb_fields,
	.check = smb_check,
};

static const struct state_field smbus_fields[] = {
	FIELD_STRUCT("dev", struct smbus_state, pci, &pci_device_state),
	FIELD("irq_enabled", struct smbus_state, irq),
	FIELD_STRUCT("smb", struct smbus_state, smb, &smb_table),
	NOT_SENT(struct smbus_state, reserved, "padding"),
	FIELDS_END,
};

static const struct state_table smbus_table = {
	.name = "ich9_smb",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct smbus_state),
	.fields = smbus_fields,
};

const struct device_class smbus_class = {
	.name = "ICH9-SMB",
	.help = "SMBus host",
	.bus = "PCI",
	.size = sizeof(struct smbus),
	.continuity = CONTINUITY_STATE,
	.state = &smbus_table,
	.section = "ich9_smb",
	.realize = smbus_realize,
	.unrealize = smbus_unrealize,
	.reset = smbus_reset,
	.capture = smbus_capture,
	.validate = smbus_validate,
	.apply = smbus_apply,
};

/**
 * struct i2c_state - The bus between transfers
 * @address:	Of a transfer in progress when captured, 0xff: none. Transfers are over at once here
 */
struct i2c_state {
	uint8_t address;
};

static void i2c_capture(const struct device *dev, void *state)
{
	((struct i2c_state *)state)->address = 0xff;
}

static void i2c_apply(struct device *dev, const void *state)
{
}

static const struct state_field i2c_fields[] = {
	FIELD("saved_address", struct i2c_state, address),
	FIELDS_END,
};

static const struct state_table i2c_table = {
	.name = "i2c_bus",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct i2c_state),
	.fields = i2c_fields,
};

const struct device_class i2c_bus_class = {
	.name = "i2c-bus",
	.help = "The SMBus host's bus",
	.bus = "System",
	.size = sizeof(struct device),
	.continuity = CONTINUITY_STATE,
	.state = &i2c_table,
	.section = "i2c_bus",
	.capture = i2c_capture,
	.apply = i2c_apply,
};
