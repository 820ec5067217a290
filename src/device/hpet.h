/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_HPET_H
#define DEVICE_HPET_H

#include "device/device.h"

#define HPET_TIMERS_MAX 32

/**
 * struct hpet_timer_state - A comparator
 * @config:	Configuration and capability register
 * @cmp:	Comparator
 * @fsb:	Message address and data, where messages are offered
 * @period:	Last value written to the comparator of a periodic timer
 * @expires:	Expiry, guest time
 * @tn:		Its number
 * @wrap:	The next expiry is the 32-bit counter's wrap, not the comparator
 */
struct hpet_timer_state {
	uint64_t config, cmp, fsb, period;
	int64_t expires;
	uint8_t tn, wrap;
	uint8_t reserved[6];
};

/**
 * struct hpet_state - What the guest can see
 * @config:	General configuration
 * @isr:	Interrupt status
 * @counter:	Main counter when it stands still (and when captured)
 * @offset_ns:	Counter's time minus guest time while it runs
 * @num_timers:	Comparators
 * @rtc_level:	The RTC's output, which legacy mode holds back
 * @timer:	Comparators
 */
struct hpet_state {
	uint64_t config, isr, counter, offset_ns;
	uint8_t num_timers, rtc_level;
	uint8_t reserved[6];
	struct hpet_timer_state timer[HPET_TIMERS_MAX];
};

struct hpet;

/**
 * struct hpet_timer - Host side of a comparator
 */
struct hpet_timer {
	struct hpet *hpet;
	unsigned int n;
	struct timer *timer;
};

/**
 * struct hpet - High precision event timer at 0xfed00000
 * @num_timers, @msi, @intcap: Properties
 * @pit_enabled: Low while legacy mode replaces the PIT's interrupt; the machine may connect it
 */
struct hpet {
	struct device dev;
	struct hpet_state s;
	uint8_t num_timers;
	bool msi;
	uint32_t intcap;
	struct irq pit_enabled;
	struct hpet_timer timers[HPET_TIMERS_MAX];
	struct io_region io;
};

/* The wire that the RTC's interrupt goes through. */
struct irq hpet_rtc_input(struct hpet *h);

#endif
