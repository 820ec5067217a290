/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_RTC_H
#define DEVICE_RTC_H

#include "device/device.h"

/**
 * struct rtc_state - What the guest can see of the clock
 * @cmos:	Registers and battery RAM
 * @periodic:	Expiry of the periodic timer, host wall-clock ns
 * @next_periodic: When the next periodic interrupt is due
 * @base_rtc:	Seconds since the epoch at @last_update
 * @last_update: Host wall-clock ns
 * @offset:	ns into the second at @last_update
 * @update:	Expiry of the update timer
 * @next_alarm:	Host wall-clock ns
 * @irq_coalesced: Periodic interrupts that the guest was too slow for and gets later (RTC_SLEW)
 * @period:	Of the periodic interrupt in ticks of 32768 Hz
 * @reinjected:	How many it got right after the one before, since the last in its time
 * @index:	Selected register
 */
struct rtc_state {
	int64_t periodic, next_periodic;
	uint64_t base_rtc, last_update;
	int64_t offset, update;
	uint64_t next_alarm;
	uint32_t irq_coalesced, period;
	uint16_t reinjected;
	uint8_t index;
	uint8_t reserved[5];
	uint8_t cmos[128];
};

/**
 * enum rtc_lost_ticks - What becomes of periodic interrupts that find the one before unread
 */
enum rtc_lost_ticks { RTC_DISCARD, RTC_SLEW };

/**
 * struct rtc - The real-time clock and its CMOS RAM
 * @irq:	ISA line 8, or HPET's in between; the machine may set it before realize
 * @base_s:	Seconds ahead of the host's clock that it was first started with (-rtc base=)
 * @base_year:	Year that year 0 stands for: property
 * @lost_ticks:	Property; the machine sets what -rtc driftfix= says before
 * @catch_up:	Gives the ticks that are owed, between those that are due
 */
struct rtc {
	struct device dev;
	struct rtc_state s;
	struct irq irq;
	int64_t base_s;
	int32_t base_year;
	enum rtc_lost_ticks lost_ticks;
	struct timer *periodic, *update, *catch_up;
	struct io_region io;
};

/* Seconds since the epoch that the guest shall see now (-rtc base=). */
void rtc_set_time(struct rtc *d, int64_t seconds);
/* Battery RAM, filled by the machine. */
void rtc_set_cmos(struct rtc *d, unsigned int index, uint8_t value);
/* Ticks that are owed are owed no more (rtc-reset-reinjection). */
void rtc_forget_ticks(struct rtc *d);
/* Seconds that the guest's clock is ahead of where it began, going on: what RTC_CHANGE reports. */
int64_t rtc_change_s(struct rtc *d);

#endif
