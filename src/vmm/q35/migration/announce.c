/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a guest that has come from elsewhere is announced in rounds, since the first
 * frames may get lost while bridges are still learning. In each round the VMM sends a reverse ARP
 * for each interface, and asks the driver, where it knows how, to announce its addresses itself
 * (gratuitous ARP). A later call takes the place of one that is still at it.
 */
#include "vmm/q35/migration/announce.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/owned.h"
#include "device/virtio/net.h"
#include "vmm/q35/ops/ops.h"

#include <stdio.h>
#include <string.h>

/**
 * struct announcer - Rounds under way
 * @g:		The guest
 * @rules:	How often
 * @round:	Rounds done
 * @names:	Ids of devices, NULL: all
 * @timer:	To the next round
 */
struct announcer {
	struct guest *g;
	struct announce_rules rules;
	int64_t round;
	json_t *names;
	sd_event_source *timer;
};

static int64_t number(const json_t *values, const char *prefix, const char *name, int64_t def)
{
	char full[64];

	snprintf(full, sizeof(full), "%s%s", prefix, name);
	return option_int(values, full, def);
}

/**
 * announce_rules_read() - Rules from parameters or arguments
 * @values:	Checked object
 * @prefix:	Of the names
 * @def:	Of what isn't given
 *
 * Return: them
 */
struct announce_rules announce_rules_read(const json_t *values, const char *prefix,
					  const struct announce_rules *def)
{
	return (struct announce_rules){
		.initial = number(values, prefix, "initial", def->initial),
		.max = number(values, prefix, "max", def->max),
		.step = number(values, prefix, "step", def->step),
		.rounds = number(values, prefix, "rounds", def->rounds),
	};
}

static bool is_wanted(const struct announcer *a, const struct device *dev)
{
	size_t i;
	json_t *name;

	if (!device_is_nic(dev))
		return false;
	json_array_foreach (a->names, i, name) {
		if (dev->id && json_is_string(name) && !strcmp(json_string_value(name), dev->id))
			return true;
	}
	return !a->names;
}

static void one_round(struct announcer *a)
{
	struct device *dev;

	list_for_each (dev, &a->g->q->devices, link) {
		if (!is_wanted(a, dev))
			continue;
		net_rarp(net_of(virtio_of(dev)));
		net_announce(net_of(virtio_of(dev)));
	}
	a->round++;
}

static int on_time(sd_event_source *source, uint64_t usec, void *opaque);

static void next(struct announcer *a)
{
	struct announce_rules *r = &a->rules;
	int64_t ms = MIN(r->initial + (a->round - 1) * r->step, r->max);
	uint64_t at_us = (uint64_t)(time_ns() / 1000 + ms * 1000);

	a->timer = sd_event_source_disable_unref(a->timer);
	if (a->round >= r->rounds ||
	    sd_event_add_time(loop_event(a->g->v->loop), &a->timer, CLOCK_MONOTONIC, at_us, 1000,
			      on_time, a) < 0)
		announce_end(a->g);
}

static int on_time(sd_event_source *source, uint64_t usec, void *opaque)
{
	one_round(opaque);
	next(opaque);
	return 0;
}

/**
 * announce_begin() - Announce the guest's interfaces
 * @g:		The guest
 * @rules:	How often; no rounds: not at all
 * @names:	Ids of devices; NULL: all
 */
void announce_begin(struct guest *g, const struct announce_rules *rules, const json_t *names)
{
	struct announcer *a;

	announce_end(g);
	if (rules->rounds <= 0)
		return;
	a = mem_zalloc(sizeof(*a));
	a->g = g;
	a->rules = *rules;
	a->names = json_incref((json_t *)(uintptr_t)names);
	g->announcer = a;
	one_round(a);
	next(a);
}

/**
 * announce_end() - No more rounds
 * @g:		The guest
 */
void announce_end(struct guest *g)
{
	struct announcer *a = g->announcer;

	if (!a)
		return;
	sd_event_source_disable_unref(a->timer);
	json_decref(a->names);
	free(a);
	g->announcer = NULL;
}
