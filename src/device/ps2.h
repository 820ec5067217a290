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
 */
struct ps2_keyboard {
	struct device dev;
	struct ps2_keyboard_state s;
	struct irq irq;
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
/* From the outside, main thread: scan codes as the guest shall read them; movement and buttons
 * (left 1, right 2, middle 4). */
void ps2_keyboard_input(struct ps2_keyboard *k, const uint8_t *codes, size_t len);
void ps2_mouse_input(struct ps2_mouse *m, int dx, int dy, int dz, uint8_t buttons);

#endif
