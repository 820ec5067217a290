/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_RTC_TIME_H
#define DEVICE_RTC_TIME_H

#include "device/rtc.h"

/* Registers. Source: Motorola MC146818 data sheet; 0x32 is the century by custom, 0x37 IBM's place
 * for it. */
enum rtc_register {
	RTC_SECONDS = 0,
	RTC_SECONDS_ALARM = 1,
	RTC_MINUTES = 2,
	RTC_MINUTES_ALARM = 3,
	RTC_HOURS = 4,
	RTC_HOURS_ALARM = 5,
	RTC_DAY_OF_WEEK = 6,
	RTC_DAY_OF_MONTH = 7,
	RTC_MONTH = 8,
	RTC_YEAR = 9,
	RTC_A = 10,
	RTC_B = 11,
	RTC_C = 12,
	RTC_D = 13,
	RTC_CENTURY = 0x32,
	RTC_IBM_CENTURY = 0x37,
};

#define A_UIP  0x80
#define B_SET  0x80
#define B_PIE  0x40
#define B_AIE  0x20
#define B_UIE  0x10
#define B_SQWE 0x08
#define B_DM   0x04
#define B_24H  0x02
#define C_IRQF 0x80
#define C_PF   0x40
#define C_AF   0x20
#define C_UF   0x10

bool rtc_running(const struct rtc_state *s);
int64_t rtc_guest_ns(const struct rtc_state *s, int64_t now_ns);
int64_t rtc_second_ns(const struct rtc_state *s, int64_t now_ns);
void rtc_to_registers(struct rtc *d, int64_t now_ns);
void rtc_from_registers(struct rtc *d, int64_t now_ns);
int rtc_alarm_seconds(const struct rtc_state *s);

#endif
