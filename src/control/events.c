/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: events go to all clients. What a guest can make happen as often as it likes
 * is told once in a second at most, as QEMU does: of those that come sooner the last is told when
 * the second is over. Which they are, and what tells two of a name apart, is in limits[].
 */
#include "base/log.h"
#include "base/owned.h"
#include "control/command.h"

#include <string.h>
#include <systemd/sd-event.h>
#include <time.h>

#define LIMIT_US 1000000

static const struct {
	const char *name, *key; /* in its data; NULL: all are the same */
} limits[] = {
	{"RTC_CHANGE", NULL},
	{"WATCHDOG", NULL},
	{"BALLOON_CHANGE", NULL},
	{"VSERPORT_CHANGE", "id"},
};

/**
 * struct limited_event - An event that was told less than a second ago
 * @link:	In struct control
 * @control:	QMP
 * @name, @value: Which: its name and, of limits[].key, the value ("": none)
 * @next:	The last that came since, as it will be told; NULL: none
 * @timer:	When that is
 */
struct limited_event {
	struct list link;
	struct control *control;
	const char *name;
	char *value;
	json_t *next;
	sd_event_source *timer;
};

static void tell(struct control *c, const json_t *event)
{
	struct monitor *m;

	TRACE(qmp_event, "%s", option_str(event, "event", ""));
	list_for_each (m, &c->monitors, link)
		monitor_event(m, event);
}

static void limited_free(struct limited_event *l)
{
	list_del(&l->link);
	sd_event_source_disable_unref(l->timer);
	json_decref(l->next);
	free(l->value);
	free(l);
}

static void tell_next(struct limited_event *l)
{
	OWNED_JSON *event = l->next;

	l->next = NULL;
	if (event)
		tell(l->control, event);
}

/* If nothing came within the second, the next may be told at once. */
static int on_timer(sd_event_source *s, uint64_t usec, void *opaque)
{
	struct limited_event *l = opaque;
	bool again = l->next && sd_event_source_set_time_relative(s, LIMIT_US) >= 0 &&
		     sd_event_source_set_enabled(s, SD_EVENT_ONESHOT) >= 0;

	tell_next(l);
	if (!again)
		limited_free(l);
	return 0;
}

static struct limited_event *limited_find(struct control *c, const char *name, const char *value)
{
	struct limited_event *l;

	list_for_each (l, &c->limited, link)
		if (!strcmp(l->name, name) && !strcmp(l->value, value))
			return l;
	return NULL;
}

/* Where there is no timer, there is no limit. */
static void limited_add(struct control *c, const char *name, const char *value)
{
	struct limited_event *l = mem_zalloc(sizeof(*l));

	l->control = c;
	l->name = name;
	l->value = str_dup(value);
	list_add_tail(&c->limited, &l->link);
	if (sd_event_add_time_relative(loop_event(c->loop), &l->timer, CLOCK_MONOTONIC, LIMIT_US, 0,
				       on_timer, l) < 0)
		limited_free(l);
}

/* Whether the event waits for its second. */
static bool limit(struct control *c, const char *name, json_t *event)
{
	const json_t *data = json_object_get(event, "data");
	struct limited_event *l;
	const char *value;
	size_t i = 0;

	while (i < ARRAY_SIZE(limits) && strcmp(limits[i].name, name) != 0)
		i++;
	if (i == ARRAY_SIZE(limits))
		return false;
	value = limits[i].key ? option_str(data, limits[i].key, "") : "";
	l = limited_find(c, name, value);
	if (!l) {
		limited_add(c, limits[i].name, value);
		return false;
	}
	json_decref(l->next);
	l->next = json_incref(event);
	return true;
}

/**
 * control_event() - Tell all clients
 * @c:		QMP
 * @name:	Of a row in types.c
 * @data:	Taken; NULL: none
 */
void control_event(struct control *c, const char *name, json_t *data)
{
	OWNED_JSON *owned = data;
	OWNED_JSON *event = NULL;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	event = json_pack("{s:{s:I, s:I}, s:s}", "timestamp", "seconds", (json_int_t)now.tv_sec,
			  "microseconds", (json_int_t)now.tv_nsec / 1000, "event", name);
	if (owned)
		json_object_set(event, "data", owned);
	if (!limit(c, name, event))
		tell(c, event);
}

/**
 * events_flush() - Tell what waits for its second
 * @c:		QMP, which ends or is handed over; if not, it goes on without anything waiting
 */
void events_flush(struct control *c)
{
	struct limited_event *l, *tmp;

	list_for_each_safe (l, tmp, &c->limited, link) {
		tell_next(l);
		limited_free(l);
	}
}
