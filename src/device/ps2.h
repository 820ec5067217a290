/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_PS2_H
#define DEVICE_PS2_H

#include "device/device.h"

#define PS2_RING  256
#define PS2_QUEUE 16 /* bytes of input waiting at most; command replies come on top */

/**
 * struct ps2_queue - Bytes on their way to the guest
 * @write_cmd:	Command whose argument is awaited, -1: none
 * @rptr, @wptr, @count: Ring
 * @cwptr:	End of the command replies at its front, -1: none
 * @data:	Ring's bytes
 */
struct ps2_queue {
	int32_t write_cmd, rptr, wptr, count, cwptr;
	uint8_t data[PS2_RING];
};

/**
 * struct ps2_keyboard_state - What the guest can see of the keyboard
 */
struct ps2_keyboard_state {
	struct ps2_queue queue;
	int32_t scan_enabled, translate, scancode_set, leds;
	bool high_bit;
	uint8_t reserved[3];
};

/**
 * struct ps2_mouse_state - What the guest can see of the mouse
 */
struct ps2_mouse_state {
	struct ps2_queue queue;
	int32_t dx, dy, dz;
	uint8_t status, resolution, sample_rate, wrap, type, detect, buttons;
	uint8_t reserved;
};

/**
 * struct ps2_keyboard - A keyboard
 * @irq:	High while bytes wait; the i8042 connects it
 * @held:	Modifiers that are down, of enum ps2_modifier; they never stay so over a hand-over
 */
struct ps2_keyboard {
	struct device dev;
	struct ps2_keyboard_state s;
	struct irq irq;
	unsigned int held;
};

/**
 * struct ps2_mouse - A mouse
 * @irq:	High while bytes wait; the i8042 connects it
 */
struct ps2_mouse {
	struct device dev;
	struct ps2_mouse_state s;
	struct irq irq;
};

/* From the i8042, chipset lock held. */
void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t value);
uint8_t ps2_keyboard_read(struct ps2_keyboard *k);
void ps2_mouse_write(struct ps2_mouse *m, uint8_t value);
uint8_t ps2_mouse_read(struct ps2_mouse *m);

/**
 * struct ps2_key - A key of a keyboard
 * @name:	As QMP's send-key has it
 * @number:	Code in set 1, with bit 7 set for the prefix 0xe0: what send-key takes as a number
 * @set2, @set3: Codes in the other sets, the upper byte being a prefix; 0: none
 */
struct ps2_key {
	const char *name;
	uint8_t number;
	uint16_t set2;
	uint8_t set3;
};

enum ps2_modifier {
	PS2_SHIFT = 1,
	PS2_SHIFT_R = 2,
	PS2_CTRL = 4,
	PS2_CTRL_R = 8,
	PS2_ALT = 16,
	PS2_ALT_R = 32
};

#define PS2_KEY_CODES 8 /* bytes that a key says at most */

/* ps2_keys.c */
const struct ps2_key *ps2_key_find(const char *name);
const struct ps2_key *ps2_key_numbered(int64_t number);
const struct ps2_key *ps2_key_at(size_t i);
unsigned int ps2_key_modifier(const struct ps2_key *key);
size_t ps2_key_codes(const struct ps2_key *key, bool down, int set, unsigned int held,
		     uint8_t codes[PS2_KEY_CODES]);
uint8_t ps2_translate(uint8_t code);

/* From the outside, main thread: a key goes down or up; movement and buttons (left 1, right 2,
 * middle 4). */
void ps2_keyboard_key(struct ps2_keyboard *k, const struct ps2_key *key, bool down);
void ps2_mouse_input(struct ps2_mouse *m, int dx, int dy, int dz, uint8_t buttons);

#endif
