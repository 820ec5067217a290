/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: keyboard and mouse behind the i8042. Each has a ring of bytes for the guest;
 * input that doesn't fit is lost, a reply to a command always has room, for it is put in front of
 * the input and replaces the reply before it. The wire to the i8042 is high while bytes wait.
 *
 * Source: IBM PS/2 technical reference, keyboard and mouse; the IntelliMouse protocols. State as
 * QEMU's ps2kbd version 3 and ps2mouse version 2.
 */
#include "device/ps2.h"

#include "device/classes.h"

#include <errno.h>
#include <string.h>

#define ACK    0xfa
#define RESEND 0xfe
#define PASSED 0xaa
#define BREAK  0xf0

static void queue_reset(struct ps2_queue *q)
{
	q->rptr = q->wptr = q->count = 0;
	q->cwptr = -1;
}

static void queue_put(struct ps2_queue *q, const uint8_t *bytes, int len)
{
	if (q->count > PS2_QUEUE - len)
		return;
	for (int i = 0; i < len; i++) {
		q->data[q->wptr] = bytes[i];
		q->wptr = (q->wptr + 1) % PS2_RING;
	}
	q->count += len;
}

/* A reply goes to the front. The guest hasn't read an earlier one: it is dropped with its command.
 */
static void queue_reply(struct ps2_queue *q, const uint8_t *bytes, int len)
{
	if (q->cwptr != -1) {
		q->count -= (q->cwptr - q->rptr) & (PS2_RING - 1);
		q->rptr = q->cwptr;
	}
	q->rptr = (q->rptr - len) & (PS2_RING - 1);
	for (int i = 0; i < len; i++)
		q->data[(q->rptr + i) % PS2_RING] = bytes[i];
	q->cwptr = (q->rptr + len) % PS2_RING;
	q->count += len;
}

/* An empty ring reads as the byte before. */
static uint8_t queue_take(struct ps2_queue *q)
{
	uint8_t value;

	if (!q->count)
		return q->data[(q->rptr - 1) & (PS2_RING - 1)];
	value = q->data[q->rptr];
	q->rptr = (q->rptr + 1) % PS2_RING;
	q->count--;
	if (q->rptr == q->cwptr)
		q->cwptr = -1;
	return value;
}

static int queue_check(const void *state, unsigned int version, struct err *e)
{
	const struct ps2_queue *q = state;

	if (q->count < 0 || q->count > PS2_RING || q->rptr < 0 || q->rptr >= PS2_RING ||
	    q->wptr < 0 || q->wptr >= PS2_RING || q->cwptr < -1 || q->cwptr >= PS2_RING)
		return err_set(e, EINVAL,
			       "queue: rptr %d, wptr %d, count %d: the ring has %d bytes", q->rptr,
			       q->wptr, q->count, PS2_RING);
	return 0;
}

/* What a sane ring has is kept, the pointers follow from the front. */
static void queue_restore(struct ps2_queue *q)
{
	int replies = q->cwptr == -1 ? 0 : (q->cwptr - q->rptr) & (PS2_RING - 1);

	replies = MIN(replies, 8);
	q->count = MAX(q->count, replies);
	q->count = MIN(q->count, replies + PS2_QUEUE);
	q->wptr = (q->rptr + q->count) & (PS2_RING - 1);
	q->cwptr = replies ? (q->rptr + replies) & (PS2_RING - 1) : -1;
}

static void keyboard_line(struct ps2_keyboard *k)
{
	irq_set(&k->irq, k->s.queue.count > 0);
}

static void keyboard_defaults(struct ps2_keyboard *k)
{
	k->s.scan_enabled = 1;
	k->s.scancode_set = 2;
	k->s.leds = 0;
	queue_reset(&k->s.queue);
}

static void reply(struct ps2_keyboard *k, uint8_t byte)
{
	queue_reply(&k->s.queue, &byte, 1);
}

static void keyboard_command(struct ps2_keyboard *k, uint8_t value)
{
	const uint8_t id[] = {ACK, 0xab, k->s.translate ? 0x41 : 0x83}, reset[] = {ACK, PASSED};

	switch (value) {
	case 0xee: reply(k, 0xee); break; /* echo */
	case 0xf2: queue_reply(&k->s.queue, id, sizeof(id)); break;
	case 0xed: /* set LEDs */
	case 0xf0: /* get or set scan code set */
	case 0xf3: /* set typematic rate */
	case 0xfc: /* set make and break */
		k->s.queue.write_cmd = value;
		reply(k, ACK);
		break;
	case 0xf4:
		k->s.scan_enabled = 1;
		reply(k, ACK);
		break;
	case 0xf5:
	case 0xf6: /* defaults; the first one also stops scanning */
		keyboard_defaults(k);
		k->s.scan_enabled = value == 0xf6;
		reply(k, ACK);
		break;
	case 0xff:
		keyboard_defaults(k);
		queue_reply(&k->s.queue, reset, sizeof(reset));
		break;
	case 0x00:
	case 0xfa: reply(k, ACK); break;
	default: reply(k, RESEND); break;
	}
}

static void scancode_set(struct ps2_keyboard *k, uint8_t value)
{
	static const uint8_t translated[] = {0x00, 0x43, 0x41, 0x3f};
	const uint8_t set = (uint8_t)k->s.scancode_set;
	const uint8_t now[] = {ACK, k->s.translate ? translated[set & 3] : set};

	if (value == 0)
		queue_reply(&k->s.queue, now, sizeof(now));
	else if (value <= 3)
		k->s.scancode_set = value;
	if (value)
		reply(k, value <= 3 ? ACK : RESEND);
}

/**
 * ps2_keyboard_write() - The guest sends a byte to the keyboard
 * @k:		The keyboard; chipset lock held
 * @value:	Command, or the argument of the one before
 */
void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t value)
{
	int command = k->s.queue.write_cmd;

	k->s.queue.write_cmd = -1;
	if (command == -1) {
		keyboard_command(k, value);
	} else if (command == 0xf0) {
		scancode_set(k, value);
	} else {
		if (command == 0xed)
			k->s.leds = value;
		reply(k, ACK);
	}
	keyboard_line(k);
}

/**
 * ps2_keyboard_read() - The guest takes a byte
 * @k:		The keyboard; chipset lock held
 *
 * Return: the byte; the wire falls and rises again if more wait
 */
uint8_t ps2_keyboard_read(struct ps2_keyboard *k)
{
	uint8_t value = queue_take(&k->s.queue);

	irq_set(&k->irq, false);
	keyboard_line(k);
	return value;
}

/* As the controller would translate what it gets, if it is told to. */
static size_t translate(struct ps2_keyboard_state *s, uint8_t *codes, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (codes[i] == BREAK) {
			s->high_bit = true;
			continue;
		}
		codes[n++] = ps2_translate(codes[i]) | (s->high_bit ? 0x80 : 0);
		s->high_bit = false;
	}
	return n;
}

/**
 * ps2_keyboard_key() - A key goes down or up
 * @k:		The keyboard; main thread
 * @key:	Which
 * @down:	It goes down
 *
 * What the queue has no room for is lost, as is what is typed while the guest doesn't listen.
 */
void ps2_keyboard_key(struct ps2_keyboard *k, const struct ps2_key *key, bool down)
{
	uint8_t codes[PS2_KEY_CODES];
	size_t n;

	pthread_mutex_lock(k->dev.lock);
	if (down)
		k->held |= ps2_key_modifier(key);
	else
		k->held &= ~ps2_key_modifier(key);
	if (k->s.scan_enabled) {
		n = ps2_key_codes(key, down, k->s.scancode_set, k->held, codes);
		if (k->s.translate)
			n = translate(&k->s, codes, n);
		queue_put(&k->s.queue, codes, (int)n);
		keyboard_line(k);
	}
	pthread_mutex_unlock(k->dev.lock);
}

static void keyboard_reset(struct device *dev)
{
	struct ps2_keyboard *k = (struct ps2_keyboard *)dev;

	keyboard_defaults(k);
	k->s.queue.write_cmd = -1;
	k->s.translate = 0;
	k->s.high_bit = false;
	keyboard_line(k);
}

static void keyboard_capture(const struct device *dev, void *state)
{
	*(struct ps2_keyboard_state *)state = ((const struct ps2_keyboard *)dev)->s;
}

static void keyboard_apply(struct device *dev, const void *state)
{
	struct ps2_keyboard *k = (struct ps2_keyboard *)dev;

	k->s = *(const struct ps2_keyboard_state *)state;
	queue_restore(&k->s.queue);
}

#define MOUSE_REMOTE  0x40
#define MOUSE_ENABLED 0x20
#define MOUSE_SCALE21 0x10

static void mouse_line(struct ps2_mouse *m)
{
	irq_set(&m->irq, m->s.queue.count > 0);
}

static int clamp(int value, int limit)
{
	return value > limit ? limit : value < -limit ? -limit : value;
}

/* The wheel, and on the five-button type the two more buttons. */
static uint8_t wheel_byte(struct ps2_mouse_state *s)
{
	int dz = clamp(s->dz, s->type == 3 ? 127 : 7);

	s->dz -= dz;
	return (uint8_t)(s->type == 3 ? dz : (dz & 0x0f) | (s->buttons & 0x18) << 1);
}

static bool packet_send(struct ps2_mouse *m)
{
	struct ps2_mouse_state *s = &m->s;
	int dx = clamp(s->dx, 127), dy = clamp(s->dy, 127), len = s->type ? 4 : 3;
	uint8_t packet[4];

	if (s->queue.count > PS2_QUEUE - len)
		return false;
	packet[0] = (uint8_t)(0x08 | (dx < 0) << 4 | (dy < 0) << 5 | (s->buttons & 7));
	packet[1] = (uint8_t)dx;
	packet[2] = (uint8_t)dy;
	if (s->type)
		packet[3] = wheel_byte(s);
	else
		s->dz = 0;
	queue_put(&s->queue, packet, len);
	s->dx -= dx;
	s->dy -= dy;
	return true;
}

static void answer(struct ps2_mouse *m, uint8_t byte)
{
	queue_put(&m->s.queue, &byte, 1);
}

static void mouse_defaults(struct ps2_mouse_state *s)
{
	s->sample_rate = 100;
	s->resolution = 2;
	s->status = 0;
}

static void mouse_powered(struct ps2_mouse *m)
{
	const uint8_t bytes[] = {ACK, PASSED, 0};

	mouse_defaults(&m->s);
	m->s.type = 0;
	queue_reset(&m->s.queue);
	queue_put(&m->s.queue, bytes, sizeof(bytes));
}

static void mouse_status(struct ps2_mouse *m)
{
	const uint8_t bytes[] = {ACK, m->s.status, m->s.resolution, m->s.sample_rate};

	queue_put(&m->s.queue, bytes, sizeof(bytes));
}

static void mouse_type(struct ps2_mouse *m)
{
	const uint8_t bytes[] = {ACK, m->s.type};

	queue_put(&m->s.queue, bytes, sizeof(bytes));
}

/* Commands that only change a bit of the status byte. */
static void mouse_bit(struct ps2_mouse *m, uint8_t bit, bool on)
{
	m->s.status = (uint8_t)(on ? m->s.status | bit : m->s.status & ~bit);
	answer(m, ACK);
}

static void mouse_command(struct ps2_mouse *m, uint8_t value)
{
	switch (value) {
	case 0xe6: mouse_bit(m, MOUSE_SCALE21, false); break;
	case 0xe7: mouse_bit(m, MOUSE_SCALE21, true); break;
	case 0xe8: /* set resolution */
	case 0xf3: /* set sample rate */
		m->s.queue.write_cmd = value;
		answer(m, ACK);
		break;
	case 0xe9: mouse_status(m); break;
	case 0xea: mouse_bit(m, MOUSE_REMOTE, false); break;
	case 0xeb:
		answer(m, ACK);
		packet_send(m);
		break;
	case 0xee:
		m->s.wrap = 1;
		answer(m, ACK);
		break;
	case 0xf0: mouse_bit(m, MOUSE_REMOTE, true); break;
	case 0xf2: mouse_type(m); break;
	case 0xf4: mouse_bit(m, MOUSE_ENABLED, true); break;
	case 0xf5: mouse_bit(m, MOUSE_ENABLED, false); break;
	case 0xf6:
		mouse_defaults(&m->s);
		answer(m, ACK);
		break;
	case 0xff: mouse_powered(m); break;
	default: break;
	}
}

/* The knock by which a driver asks for a wheel: rates 200, 100, 80; for five buttons 200, 200, 80.
 */
static void rate_set(struct ps2_mouse_state *s, uint8_t rate)
{
	s->sample_rate = rate;
	if (s->detect == 0)
		s->detect = rate == 200;
	else if (s->detect == 1)
		s->detect = rate == 100 ? 2 : rate == 200 ? 3 : 0;
	else {
		if (rate == 80)
			s->type = s->detect == 2 ? 3 : 4;
		s->detect = 0;
	}
}

/**
 * ps2_mouse_write() - The guest sends a byte to the mouse
 * @m:		The mouse; chipset lock held
 * @value:	Command, or the argument of the one before
 */
void ps2_mouse_write(struct ps2_mouse *m, uint8_t value)
{
	int command = m->s.queue.write_cmd;

	if (command != -1) {
		if (command == 0xf3)
			rate_set(&m->s, value);
		else
			m->s.resolution = value;
		m->s.queue.write_cmd = -1;
		answer(m, ACK);
	} else if (m->s.wrap && value != 0xff) {
		answer(m, value == 0xec ? ACK : value);
		m->s.wrap = value != 0xec;
	} else {
		mouse_command(m, value);
	}
	mouse_line(m);
}

/**
 * ps2_mouse_read() - The guest takes a byte
 * @m:		The mouse; chipset lock held
 *
 * Return: the byte; the wire falls and rises again if more wait
 */
uint8_t ps2_mouse_read(struct ps2_mouse *m)
{
	uint8_t value = queue_take(&m->s.queue);

	irq_set(&m->irq, false);
	mouse_line(m);
	return value;
}

/**
 * ps2_mouse_input() - Somebody moves the mouse
 * @m:		The mouse; main thread
 * @dx, @dy:	Right and up
 * @dz:		Wheel
 * @buttons:	Left 1, right 2, middle 4, side 8, extra 16
 *
 * What the queue can't take now is reported with the next movement.
 */
void ps2_mouse_input(struct ps2_mouse *m, int dx, int dy, int dz, uint8_t buttons)
{
	pthread_mutex_lock(m->dev.lock);
	if (m->s.status & MOUSE_ENABLED) {
		m->s.dx = clamp(m->s.dx + clamp(dx, 4096), 4096);
		m->s.dy = clamp(m->s.dy + clamp(dy, 4096), 4096);
		m->s.dz = clamp(m->s.dz + clamp(dz, 4096), 4096);
		m->s.buttons = buttons;
		while (!(m->s.status & MOUSE_REMOTE) && packet_send(m) &&
		       (m->s.dx || m->s.dy || m->s.dz))
			;
		mouse_line(m);
	}
	pthread_mutex_unlock(m->dev.lock);
}

static void mouse_reset(struct device *dev)
{
	struct ps2_mouse *m = (struct ps2_mouse *)dev;

	m->s = (struct ps2_mouse_state){.queue.write_cmd = -1};
	queue_reset(&m->s.queue);
	mouse_line(m);
}

static void mouse_capture(const struct device *dev, void *state)
{
	*(struct ps2_mouse_state *)state = ((const struct ps2_mouse *)dev)->s;
}

static void mouse_apply(struct device *dev, const void *state)
{
	struct ps2_mouse *m = (struct ps2_mouse *)dev;

	m->s = *(const struct ps2_mouse_state *)state;
	queue_restore(&m->s.queue);
}

#define K struct ps2_keyboard_state
#define M struct ps2_mouse_state

static const struct state_field queue_fields[] = {
	FIELD("write_cmd", struct ps2_queue, write_cmd),
	FIELD("queue.rptr", struct ps2_queue, rptr),
	FIELD("queue.wptr", struct ps2_queue, wptr),
	FIELD("queue.count", struct ps2_queue, count),
	FIELD("queue.data", struct ps2_queue, data),
	NOT_SENT(struct ps2_queue, cwptr, "in the keyboard's subsection; a mouse has none"),
	FIELDS_END,
};

static const struct state_table queue_table = {
	.name = "PS2 Common State",
	.version = 3,
	.min_version = 2,
	.size = sizeof(struct ps2_queue),
	.fields = queue_fields,
	.check = queue_check,
};

static bool leds_needed(const void *state)
{
	return ((const K *)state)->leds != 0;
}

static bool high_bit_needed(const void *state)
{
	return ((const K *)state)->high_bit;
}

static bool replies_needed(const void *state)
{
	return ((const K *)state)->queue.cwptr != -1;
}

#define SUBSECTION(var, wire, v, min, test, ...)                                    \
	static const struct state_field var##_fields[] = {__VA_ARGS__, FIELDS_END}; \
	static const struct state_table var = {                                     \
		.name = wire,                                                       \
		.version = v,                                                       \
		.min_version = min,                                                 \
		.size = sizeof(K),                                                  \
		.fields = var##_fields,                                             \
		.needed = test,                                                     \
	}

SUBSECTION(leds_sub, "ps2kbd/ledstate", 3, 2, leds_needed, FIELD("ledstate", K, leds));
SUBSECTION(high_bit_sub, "ps2kbd/need_high_bit", 1, 1, high_bit_needed,
	   FIELD("need_high_bit", K, high_bit));
SUBSECTION(replies_sub, "ps2kbd/command_reply_queue", 0, 0, replies_needed,
	   FIELD("parent_obj.queue.cwptr", K, queue.cwptr));

static const struct state_table *const keyboard_subs[] = {&leds_sub, &high_bit_sub, &replies_sub,
							  NULL};

static const struct state_field keyboard_fields[] = {
	FIELD_STRUCT("parent_obj", K, queue, &queue_table),
	FIELD("scan_enabled", K, scan_enabled),
	FIELD("translate", K, translate),
	FIELD_V("scancode_set", K, scancode_set, 3),
	NOT_SENT(K, reserved, "padding"),
	FIELDS_END,
};

static int keyboard_check(const void *state, unsigned int version, struct err *e)
{
	const K *s = state;

	if (s->scancode_set < 1 || s->scancode_set > 3)
		return err_set(e, EINVAL, "scancode_set: %d, 1 to 3 are possible", s->scancode_set);
	return 0;
}

static const K keyboard_fresh = {.queue.cwptr = -1, .scancode_set = 2};
static const M mouse_fresh = {.queue.cwptr = -1};

static const struct state_table keyboard_table = {
	.name = "ps2kbd",
	.version = 3,
	.min_version = 3,
	.size = sizeof(K),
	.fields = keyboard_fields,
	.subsections = keyboard_subs,
	.check = keyboard_check,
	.fresh = &keyboard_fresh,
};

static const struct state_field mouse_fields[] = {
	FIELD_STRUCT("parent_obj", M, queue, &queue_table),
	FIELD("mouse_status", M, status),
	FIELD("mouse_resolution", M, resolution),
	FIELD("mouse_sample_rate", M, sample_rate),
	FIELD("mouse_wrap", M, wrap),
	FIELD("mouse_type", M, type),
	FIELD("mouse_detect_state", M, detect),
	FIELD("mouse_dx", M, dx),
	FIELD("mouse_dy", M, dy),
	FIELD("mouse_dz", M, dz),
	FIELD("mouse_buttons", M, buttons),
	NOT_SENT(M, reserved, "padding"),
	FIELDS_END,
};

static const struct state_table mouse_table = {
	.name = "ps2mouse",
	.version = 2,
	.min_version = 2,
	.size = sizeof(M),
	.fields = mouse_fields,
	.fresh = &mouse_fresh,
};

const struct device_class ps2_keyboard_class = {
	.name = "ps2-kbd",
	.help = "PS/2 keyboard",
	.bus = "System",
	.size = sizeof(struct ps2_keyboard),
	.continuity = CONTINUITY_STATE,
	.state = &keyboard_table,
	.section = "ps2kbd",
	.reset = keyboard_reset,
	.capture = keyboard_capture,
	.apply = keyboard_apply,
};

const struct device_class ps2_mouse_class = {
	.name = "ps2-mouse",
	.help = "PS/2 mouse",
	.bus = "System",
	.size = sizeof(struct ps2_mouse),
	.continuity = CONTINUITY_STATE,
	.state = &mouse_table,
	.section = "ps2mouse",
	.reset = mouse_reset,
	.capture = mouse_capture,
	.apply = mouse_apply,
};
