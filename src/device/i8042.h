/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_I8042_H
#define DEVICE_I8042_H

#include "device/ps2.h"

/**
 * struct i8042_state - What the guest can see of the controller
 * @flags:	1: the keyboard's throttle timer ran when captured
 * @source:	Who filled the output buffer: 1 keyboard, 2 mouse, 4 the controller itself
 * @write_cmd:	Command whose argument is awaited, 0: none
 * @pending:	Who has a byte to give, in the controller's mode bits
 * @outport:	Output port P2
 * @obdata:	Last byte given, @cbdata: the controller's own next one
 */
struct i8042_state {
	uint32_t flags, source;
	uint8_t write_cmd, status, mode, pending;
	uint8_t obdata, cbdata, outport;
	uint8_t reserved;
};

/**
 * struct i8042 - Keyboard controller, ports 0x60 and 0x64
 * @keyboard, @mouse: Set before realize
 */
struct i8042 {
	struct device dev;
	struct i8042_state s;
	struct ps2_keyboard *keyboard;
	struct ps2_mouse *mouse;
	struct irq keyboard_irq, mouse_irq;
	struct timer *throttle;
	struct io_region data_io, command_io;
};

#endif
