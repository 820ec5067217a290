/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the clock's time is kept as seconds since the epoch at a moment of the
 * host's wall clock; the registers are filled from it when somebody looks (BCD or binary, 12 or 24
 * hours, as register B says), and it is computed from the registers when the guest sets them. A
 * guest can write any bytes there: dates that don't exist are carried over, as timegm(3) does.
 */
#include "device/rtc_time.h"

#include <time.h>

/**
 * rtc_running() - Does time go on?
 * @s:		State
 *
 * Return: false while the guest sets it (SET) or the divider is held in reset
 */
bool rtc_running(const struct rtc_state *s)
{
	return !(s->cmos[RTC_B] & B_SET) && (s->cmos[RTC_A] & 0x70) <= 0x20;
}

/**
 * rtc_guest_ns() - Guest's wall clock
 * @s:		State
 * @now_ns:	Host's wall clock
 *
 * Return: ns since the epoch, below 0 before it. Times that 64 bits can't hold (a guest may set the
 * year 9999) wrap around, as QEMU's do
 */
int64_t rtc_guest_ns(const struct rtc_state *s, int64_t now_ns)
{
	return (int64_t)(s->base_rtc * (uint64_t)NS_PER_SEC + (uint64_t)now_ns - s->last_update +
			 (uint64_t)s->offset);
}

/**
 * rtc_second_ns() - How far the guest's second has come
 * @s:		State
 * @now_ns:	Host's wall clock
 *
 * Return: 0 to 999999999
 */
int64_t rtc_second_ns(const struct rtc_state *s, int64_t now_ns)
{
	int64_t ns = rtc_guest_ns(s, now_ns) % NS_PER_SEC;

	return ns < 0 ? ns + NS_PER_SEC : ns;
}

static uint8_t encode(const struct rtc_state *s, int value)
{
	return (uint8_t)(s->cmos[RTC_B] & B_DM ? value : value / 10 << 4 | value % 10);
}

/* -1: "don't care" in an alarm register. */
static int decode(const struct rtc_state *s, uint8_t value)
{
	if ((value & 0xc0) == 0xc0)
		return -1;
	return s->cmos[RTC_B] & B_DM ? value : (value >> 4) * 10 + (value & 0x0f);
}

static uint8_t encode_hour(const struct rtc_state *s, int hour)
{
	if (s->cmos[RTC_B] & B_24H)
		return encode(s, hour);
	return (uint8_t)(encode(s, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80 : 0));
}

/* An hour as it was decoded, in 24-hour form; @pm: bit 7 of the hours register. */
static int full_hour(const struct rtc_state *s, int hour, bool pm)
{
	return s->cmos[RTC_B] & B_24H ? hour : hour % 12 + (pm ? 12 : 0);
}

/**
 * rtc_to_registers() - Show the time in the registers, unless the guest is setting them
 * @d:		The clock
 * @now_ns:	Host's wall clock
 */
void rtc_to_registers(struct rtc *d, int64_t now_ns)
{
	struct rtc_state *s = &d->s;
	int64_t ns = rtc_guest_ns(s, now_ns);
	time_t seconds = (time_t)(ns / NS_PER_SEC - (ns % NS_PER_SEC < 0));
	struct tm tm;
	int year;

	if (s->cmos[RTC_B] & B_SET || !gmtime_r(&seconds, &tm))
		return;
	year = tm.tm_year + 1900 - d->base_year;
	s->cmos[RTC_SECONDS] = encode(s, tm.tm_sec);
	s->cmos[RTC_MINUTES] = encode(s, tm.tm_min);
	s->cmos[RTC_HOURS] = encode_hour(s, tm.tm_hour);
	s->cmos[RTC_DAY_OF_WEEK] = encode(s, tm.tm_wday + 1);
	s->cmos[RTC_DAY_OF_MONTH] = encode(s, tm.tm_mday);
	s->cmos[RTC_MONTH] = encode(s, tm.tm_mon + 1);
	s->cmos[RTC_YEAR] = encode(s, year % 100);
	s->cmos[RTC_CENTURY] = encode(s, year / 100);
}

/**
 * rtc_from_registers() - The guest set the registers: take the time from there
 * @d:		The clock
 * @now_ns:	Host's wall clock
 */
void rtc_from_registers(struct rtc *d, int64_t now_ns)
{
	struct rtc_state *s = &d->s;
	struct tm tm = {
		.tm_sec = decode(s, s->cmos[RTC_SECONDS]),
		.tm_min = decode(s, s->cmos[RTC_MINUTES]),
		.tm_hour = full_hour(s, decode(s, s->cmos[RTC_HOURS] & 0x7f),
				     s->cmos[RTC_HOURS] & 0x80),
		.tm_mday = decode(s, s->cmos[RTC_DAY_OF_MONTH]),
		.tm_mon = decode(s, s->cmos[RTC_MONTH]) - 1,
		.tm_year = decode(s, s->cmos[RTC_YEAR]) + d->base_year +
			   decode(s, s->cmos[RTC_CENTURY]) * 100 - 1900,
	};

	s->base_rtc = (uint64_t)timegm(&tm);
	s->last_update = (uint64_t)now_ns;
}

/**
 * rtc_alarm_seconds() - How long until the alarm?
 * @s:		State, registers up to date
 *
 * An alarm register of 0xc0 or more matches anything. At most a day has to be looked at, and the
 * hour, minute and second each match on their own, so the first match is found field by field.
 *
 * Return: 1 to 86400; 86400 also for an alarm that never matches (the guest wrote 99)
 */
int rtc_alarm_seconds(const struct rtc_state *s)
{
	int sec = decode(s, s->cmos[RTC_SECONDS_ALARM]),
	    min = decode(s, s->cmos[RTC_MINUTES_ALARM]);
	int raw_hour = decode(s, s->cmos[RTC_HOURS_ALARM] & (s->cmos[RTC_B] & B_24H ? 0xff : 0x7f));
	bool any_hour = (s->cmos[RTC_HOURS_ALARM] & 0xc0) == 0xc0;
	int hour = any_hour ? -1 : full_hour(s, raw_hour, s->cmos[RTC_HOURS_ALARM] & 0x80);
	int now = full_hour(s, decode(s, s->cmos[RTC_HOURS] & 0x7f), s->cmos[RTC_HOURS] & 0x80) *
			  3600 +
		  decode(s, s->cmos[RTC_MINUTES]) * 60 + decode(s, s->cmos[RTC_SECONDS]);

	if (hour > 23 || min > 59 || sec > 59)
		return 86400;
	now = (now % 86400 + 86400) % 86400;
	for (int wait = 1; wait <= 86400;) {
		int at = (now + wait) % 86400;

		if (hour >= 0 && at / 3600 != hour)
			wait += 3600 - at % 3600;
		else if (min >= 0 && at / 60 % 60 != min)
			wait += 60 - at % 60;
		else if (sec >= 0 && at % 60 != sec)
			wait++;
		else
			return wait;
	}
	return 86400;
}
