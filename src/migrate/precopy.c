/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the RAM is sent in rounds while the guest runs; each round sends what was
 * written during the one before. After each round the pause is predicted that would follow if the
 * guest were stopped now:
 *
 *	pages left / measured rate + what is the same however much is left
 *
 * Pages left are those of the dirty log and those that the guest writes until it stands still. The
 * rate is that of the newest sending (speed.c), without what limits rounds only. The rest is
 * measured, too: how long the target takes to answer when it has read everything (PING, on the
 * return path), how long the dirty log took, and how long it takes to write all device states,
 * twice, since they must be read over there. After each round the target is asked whether it has
 * got that far: so the rate is the one at which it takes pages, not the one at which buffers fill,
 * and nothing is in the buffers when the guest is stopped.
 *
 * As long as that is above the limit there is no choice but another round. Below the limit it is a
 * matter of price: another round costs about as long as sending what is left takes, and what it
 * gains is the part of the pause that the guest doesn't dirty again meanwhile. So rounds go on
 * while the guest dirties clearly slower than we send, and RAM is still a good part of the pause.
 */
#include "migrate/precopy.h"
#include "base/clock.h"
#include "base/log.h"
#include "migrate/configuration.h"
#include "migrate/content/content.h"
#include "migrate/converge.h"
#include "migrate/devices.h"
#include "migrate/multifd/multifd.h"
#include "migrate/preflight.h"
#include "migrate/ram/ram.h"
#include "migrate/ram/xbzrle.h"
#include "migrate/return_path.h"
#include "migrate/snapshot/mapped.h"
#include "migrate/speed.h"
#include "migrate/wire.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum {
	PART_PAGES = 2048,           /* between two looks at the clock, and at whether to cancel */
	LIMIT_US = 300 * 1000,       /* QEMU's default of downtime-limit */
	PROGRESS_NS = 100 * 1000000, /* between two reports of progress */
	REHEARSALS = 3,
	FAIR_US = 250,    /* not worth a round */
	FAIR_ROUNDS = 32, /* below the limit, not more rounds than these */
	STOPS = 3,        /* a guest that doesn't stop in time has vCPUs that stood still for it */
};

/**
 * struct amount - What was sent by a certain moment
 * @ns:		The moment
 * @wire, @ram:	Bytes on all channels; bytes of pages with content
 */
struct amount {
	int64_t ns;
	uint64_t wire, ram;
};

/**
 * struct precopy - A running guest being sent
 * @job:	Whose
 * @ram:	Its RAM
 * @begin_ns:	When the job began
 * @reported_ns: When progress was reported
 * @stop_us, @write_us: What stopping will take, and writing the devices' states
 * @devices_bytes: Of these states in the stream
 * @sync_us:	What the dirty log cost in the last round
 * @link_us:	There and back, as the target answers: the shortest so far. The guest waits for the
 *		way there only
 * @sent_ns:	When the target had all of the last round
 * @speed:	At which RAM gets there
 * @stretch:	Of it that isn't over: when it began, and what had been sent by then
 * @fair_rounds: Rounds since the prediction first fitted the limit
 * @late:	How often the guest wasn't stopped in time
 * @logging:	The dirty log is on
 * @hints:	The guest would tell which pages are free: it is asked anew for each round
 * @hinting:	It does now
 * @stopped:	The guest is
 */
struct precopy {
	struct migrate_job *job;
	struct ram_source ram;
	struct speed speed;
	struct amount stretch;
	int64_t begin_ns, reported_ns, sent_ns;
	uint64_t stop_us, write_us, devices_bytes, sync_us, link_us;
	unsigned int fair_rounds, late;
	bool logging, hints, hinting, stopped;
};

static uint64_t sent_bytes(const struct precopy *p)
{
	return ram_sent_bytes(p->job) + multifd_source_written(p->ram.multifd);
}

static struct amount amount_now(const struct precopy *p)
{
	const struct migrate_progress *g = &p->job->progress;

	return (struct amount){.ns = time_ns(),
			       .wire = sent_bytes(p),
			       .ram = (g->normal_pages + g->content.pages) * WIRE_PAGE};
}

/* What counts of the bytes sent since. */
static uint64_t amount_since(const struct precopy *p, const struct amount *from)
{
	struct amount now = amount_now(p);

	return speed_amount(now.wire - from->wire, now.ram - from->ram);
}

static void report(struct precopy *p, bool now)
{
	const struct migrate_hooks *h = &p->job->hooks;
	int64_t ns = time_ns();

	p->job->progress.multifd_bytes = multifd_source_written(p->ram.multifd);
	p->job->progress.sent_bytes = sent_bytes(p);
	p->job->progress.total_us = (uint64_t)(ns - p->begin_ns) / 1000;
	if (!h->progress || (!now && ns - p->reported_ns < PROGRESS_NS))
		return;
	p->reported_ns = ns;
	h->progress(h->opaque, &p->job->progress);
}

static void enter(struct precopy *p, enum migrate_phase phase)
{
	p->job->progress.phase = phase;
	report(p, true);
}

static int look_up(struct precopy *p, struct err *e)
{
	const struct migrate_hooks *h = &p->job->hooks;

	report(p, false);
	if (h->cancelled && h->cancelled(h->opaque))
		return err_set(e, ECANCELED, "cancelled");
	return 0;
}

/* Waits until what was sent since @from fits the bandwidth; looks up every 100 ms. What is sent
 * afterwards begins with nothing on its way: the link has had time for it. */
static int throttle(struct precopy *p, const struct amount *from, struct err *e)
{
	uint64_t limit = p->job->options.max_bandwidth;
	int64_t due, left;
	int ret = 0;

	if (!limit)
		return 0;
	due = from->ns +
	      (int64_t)((double)(sent_bytes(p) - from->wire) / (double)limit * NS_PER_SEC);
	while (ret == 0 && (left = due - time_ns()) > 0) {
		struct timespec nap = {.tv_nsec = MIN(left, (int64_t)PROGRESS_NS)};

		nanosleep(&nap, NULL);
		ret = look_up(p, e);
		p->stretch = amount_now(p);
	}
	return ret;
}

static int send_round(struct precopy *p, const struct amount *begin, struct err *e)
{
	struct channel *c = p->job->channel;
	bool done = false;
	int ret = 0;

	section_begin(c, WIRE_PART, WIRE_RAM_NUMBER);
	while (!done && ret == 0) {
		ret = ram_put_pages(&p->ram, PART_PAGES, &done, e);
		if (ret == 0)
			ret = look_up(p, e);
		if (ret == 0 && !done)
			ret = throttle(p, begin, e);
	}
	ram_put_eos(&p->ram);
	section_end(c, WIRE_RAM_NUMBER);
	channel_flush(c);
	return ret < 0 ? ret : multifd_source_check(p->ram.multifd, e);
}

/* Bytes a second; a round too short to measure says nothing. */
static uint64_t rate_of(uint64_t bytes, int64_t ns)
{
	return ns > 0 ? (uint64_t)((double)bytes * NS_PER_SEC / (double)ns) : 0;
}

/* Without the way of the answer; one that was late isn't all of what was sent, though. */
static int64_t without_answer(int64_t took_ns, uint64_t link_us)
{
	return MAX(took_ns - (int64_t)link_us * 1000, took_ns / 4);
}

/**
 * precopy_rate() - How fast the target takes pages
 * @bytes:	Sent in a round
 * @took_ns:	Until it had answered that it has them
 * @link_us:	What an answer alone takes: the same however much was sent, and counted for itself
 *
 * Without this a round of a few pages would seem slow, and the pause, which is as short, long. An
 * answer that was late isn't all of the round, though.
 *
 * Return: bytes a second
 */
uint64_t precopy_rate(uint64_t bytes, int64_t took_ns, uint64_t link_us)
{
	return rate_of(bytes, without_answer(took_ns, link_us));
}

/**
 * precopy_left() - RAM that would be sent in the pause
 * @p:	Progress after a round
 *
 * A guest that writes goes on with it until it stands still. It can't write more pages than it has
 * in use: what it wrote in the round tells how many these are.
 *
 * Return: bytes
 */
uint64_t precopy_left(const struct migrate_progress *p)
{
	double meanwhile = (double)p->dirty_rate * (double)p->stop_us / 1e6;

	return p->remaining_bytes + MIN((uint64_t)meanwhile, p->dirty_bytes);
}

/**
 * precopy_predict() - Pause if the guest were stopped now
 * @p:	Progress with what remains and the measured rate
 *
 * Return: us; UINT64_MAX while nothing is known
 */
uint64_t precopy_predict(const struct migrate_progress *p)
{
	uint64_t left = precopy_left(p);

	if (!left)
		return p->fixed_us;
	if (!p->pause_rate)
		return UINT64_MAX;
	return p->fixed_us + (uint64_t)((double)left * 1e6 / (double)p->pause_rate);
}

/**
 * precopy_reachable() - The limit that rounds can bring the pause below
 * @p:		Progress after a round, with what doesn't depend on RAM
 * @limit_us:	As the operator has set it
 *
 * Rounds make less RAM of it, nothing else. So where the rest alone takes most of the limit, a
 * quarter of the limit is what RAM may take: to go on without end would help nobody.
 *
 * Return: us
 */
uint64_t precopy_reachable(const struct migrate_progress *p, uint64_t limit_us)
{
	return MAX(limit_us, p->fixed_us + limit_us / 4);
}

/**
 * precopy_again() - Is another round worth it?
 * @p:		Progress after a round, with the prediction
 * @limit_us:	Pause that may not be exceeded
 * @fair_rounds: Rounds so far that weren't needed for the limit
 */
bool precopy_again(const struct migrate_progress *p, uint64_t limit_us, unsigned int fair_rounds)
{
	uint64_t ram_us = p->predicted_us - p->fixed_us;

	if (p->predicted_us > limit_us)
		return true;
	if (fair_rounds >= FAIR_ROUNDS || ram_us <= MAX(p->fixed_us / 4, (uint64_t)FAIR_US))
		return false;
	return p->dirty_rate <
	       p->ram_rate / 4 * 3; /* a round takes at least a quarter off the pause */
}

static uint64_t since_us(int64_t begin_ns)
{
	return (uint64_t)(time_ns() - begin_ns) / 1000;
}

static struct migrate_round *round_slot(struct migrate_progress *g)
{
	return &g->rounds[(g->round - 1) % MIGRATE_ROUNDS_KEPT];
}

static void round_note(struct precopy *p, int64_t begin_ns, uint64_t sent)
{
	struct migrate_progress *g = &p->job->progress;

	*round_slot(g) =
		(struct migrate_round){.from_us = (uint64_t)(begin_ns - p->begin_ns) / 1000,
				       .to_us = since_us(p->begin_ns),
				       .sent_bytes = sent,
				       .dirty_bytes = g->dirty_bytes,
				       .predicted_us = g->predicted_us};
}

/* The answer's own way isn't the link's slowness, see precopy_rate(). */
static void stretch_end(struct precopy *p)
{
	speed_note(&p->speed, amount_since(p, &p->stretch),
		   without_answer(p->sent_ns - p->stretch.ns, p->link_us));
}

/* The target has read everything; and how long an answer takes then. */
static int ask_target(struct precopy *p, struct err *e)
{
	int64_t begin;
	int ret;

	p->sent_ns = time_ns();
	if (!p->job->options.return_path) {
		stretch_end(p);
		return 0;
	}
	ret = return_path_ping(p->job, e);
	p->sent_ns = begin = time_ns();
	if (ret == 0)
		ret = return_path_ping(p->job, e);
	if (ret == 0)
		p->link_us = p->link_us ? MIN(p->link_us, since_us(begin)) : since_us(begin);
	stretch_end(p);
	return ret;
}

static void hint_start(struct precopy *p)
{
	const struct migrate_hooks *h = &p->job->hooks;

	p->job->hinted = &p->ram;
	p->hints = p->hinting = h->hint_start && h->hint_start(h->opaque);
	if (p->job->mapped)
		p->job->mapped->copy = p->hinting;
}

static void hint_stop(struct precopy *p)
{
	if (p->hinting)
		p->job->hooks.hint_stop(p->job->hooks.opaque);
	p->hinting = false;
}

static int sync_timed(struct precopy *p, struct err *e)
{
	int64_t begin;
	int ret;

	hint_stop(p); /* what is hinted was forgotten before, what is written is found after this */
	begin = time_ns();
	ret = ram_sync(&p->ram, e);
	p->sync_us = since_us(begin);
	return ret;
}

/* The target has all of the round: how fast that was, with what limits rounds and without. */
static void measure(struct precopy *p, const struct amount *begin)
{
	struct migrate_progress *g = &p->job->progress;
	int64_t took = MAX(p->sent_ns, p->stretch.ns) - begin->ns;

	g->rate = precopy_rate(sent_bytes(p) - begin->wire, took, p->link_us);
	g->ram_rate = precopy_rate(amount_since(p, begin), took, p->link_us);
}

/* The pause if it were now, of what was measured: each part of this side's work has its like over
 * there, and what the devices have to say takes its time on the link. */
static void predict(struct precopy *p)
{
	struct migrate_progress *g = &p->job->progress;
	struct migrate_pause *x = &g->expected;

	g->stop_us = p->stop_us;
	g->pause_rate = speed_rate(&p->speed, precopy_left(g) + p->devices_bytes);
	g->fixed_us = 2 * (p->stop_us + p->write_us) + p->sync_us + p->link_us / 2;
	if (g->pause_rate)
		g->fixed_us += (uint64_t)((double)p->devices_bytes * 1e6 / (double)g->pause_rate);
	g->predicted_us = precopy_predict(g);
	if (g->predicted_us == UINT64_MAX)
		return;
	x->stopped_us = p->stop_us;
	x->ram_us = x->stopped_us + p->sync_us + g->predicted_us - g->fixed_us;
	x->devices_us = x->ram_us + p->write_us;
	x->confirmed_us = g->predicted_us;
}

static int one_round(struct precopy *p, bool *ret_again, struct err *e)
{
	struct migrate_progress *g = &p->job->progress;
	uint64_t limit = p->job->options.limit_us ? p->job->options.limit_us : LIMIT_US;
	struct amount begin = amount_now(p);
	int ret;

	g->round++;
	*round_slot(g) = (struct migrate_round){0};
	if (p->hints && !p->hinting) /* begin() has asked for the first */
		hint_start(p);
	p->stretch = begin;
	ret = send_round(p, &begin, e);
	if (ret == 0)
		ret = ask_target(p, e);
	if (ret == 0)
		ret = throttle(p, &begin, e);
	if (ret == 0)
		ret = sync_timed(p, e);
	if (ret < 0)
		return ret;
	measure(p, &begin);
	g->dirty_bytes = g->remaining_bytes;
	g->dirty_rate = rate_of(g->dirty_bytes, time_ns() - begin.ns);
	predict(p);
	limit = precopy_reachable(g, limit);
	g->converge_us = (int64_t)(converge_seconds(g, limit) * 1e6);
	round_note(p, begin.ns, sent_bytes(p) - begin.wire);
	*ret_again = precopy_again(g, limit, p->fair_rounds);
	p->fair_rounds += g->predicted_us <= limit;
	if (*ret_again && p->job->hooks.slow)
		p->job->hooks.slow(p->job->hooks.opaque, g, limit);
	return 0;
}

/* The last bytes, without which the target has no guest: once one of them is on its way there is no
 * way back of our own. */
static int hand_over(struct precopy *p, json_t *devices, struct err *e)
{
	struct channel *c = p->job->channel;
	uint64_t before = channel_handed(c);
	int ret;

	devices_finish(p->job, devices);
	ret = channel_finish(c, e);
	if (ret < 0)
		return channel_handed(c) > before ? return_path_cut(p->job, ret, e) : ret;
	if (!p->job->options.return_path)
		return 0;
	channel_patience(c, -1);
	enter(p, MIGRATE_CONFIRM);
	return return_path_wait(p->job, e);
}

static int send_devices(struct precopy *p, int64_t begin_ns, struct err *e)
{
	json_t *devices = devices_put(p->job);
	int ret;

	channel_flush(p->job->channel);
	ret = channel_check(p->job->channel, e);
	if (ret == 0)
		ret = return_path_last_look(p->job, e);
	p->job->progress.pause.devices_us = since_us(begin_ns);
	if (ret == 0) {
		enter(p, MIGRATE_HANDOVER); /* from now on nobody can call it off; has somebody? */
		ret = look_up(p, e);
	}
	if (ret == 0)
		return hand_over(p, devices, e);
	json_decref(devices);
	return ret;
}

/* While the guest stands still, a target that hangs isn't waited for: it has no guest yet. */
static void be_impatient(const struct migrate_job *job)
{
	unsigned int i;

	if (!job->options.return_path)
		return; /* a file, or who knows what: it may be slow */
	channel_patience(job->channel, RETURN_PATH_PATIENCE_MS);
	for (i = 0; i < job->multifd_len; i++)
		channel_patience(job->multifd[i], RETURN_PATH_PATIENCE_MS);
}

static int send_rest(struct precopy *p, int64_t begin_ns, struct err *e)
{
	struct channel *c = p->job->channel;
	bool done;
	int ret = ram_sync(&p->ram, e);

	if (ret < 0)
		return ret;
	if (p->job->options.switchover_start) {
		channel_put_u8(c, WIRE_COMMAND);
		channel_put_be16(c, WIRE_SWITCHOVER_START);
		channel_put_be16(c, 0);
	}
	p->ram.stopped = true;
	section_begin(c, WIRE_END, WIRE_RAM_NUMBER);
	ret = ram_put_pages(&p->ram, UINT64_MAX, &done, e);
	ram_put_eos(&p->ram);
	section_end(c, WIRE_RAM_NUMBER);
	if (ret == 0)
		ret = multifd_source_check(p->ram.multifd, e);
	if (ret < 0)
		return ret;
	p->job->progress.pause.ram_us = since_us(begin_ns);
	return send_devices(p, begin_ns, e);
}

static int switchover(struct precopy *p, struct err *e)
{
	const struct migrate_hooks *h = &p->job->hooks;
	struct migrate_progress *g = &p->job->progress;
	int64_t begin = time_ns();
	int ret = h->stop(h->opaque, e);

	if (ret < 0)
		return ret;
	p->stopped = true;
	g->pause.stopped_us = since_us(begin);
	be_impatient(p->job);
	enter(p, MIGRATE_SWITCHOVER);
	ret = send_rest(p, begin, e);
	g->pause_us = g->pause.confirmed_us = since_us(begin);
	return ret;
}

/* Writes the device sections to nowhere: what they say isn't the guest's, it runs. */
static uint64_t devices_dry_us(const struct migrate_job *job, uint64_t *ret_bytes)
{
	struct migrate_job dry = *job;
	int64_t begin = time_ns();

	dry.channel = channel_open_memory(NULL, 0);
	devices_save(&dry);
	*ret_bytes = channel_written(dry.channel);
	channel_destroy(dry.channel);
	return since_us(begin);
}

static uint64_t middle(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t low = MIN(a, b), high = MAX(a, b);

	return c < low ? low : MIN(c, high);
}

/* What stopping, writing here and reading there will take. The middle of three counts: the first
 * touches memory that then is there, any may be disturbed, and so may the pause. */
static void rehearse(struct precopy *p)
{
	const struct migrate_hooks *h = &p->job->hooks;
	uint64_t write[REHEARSALS], stop[REHEARSALS];
	int i;

	for (i = 0; i < REHEARSALS; i++) {
		write[i] = devices_dry_us(p->job, &p->devices_bytes);
		stop[i] = h->rehearse ? h->rehearse(h->opaque) : 0;
	}
	p->write_us = middle(write[0], write[1], write[2]);
	p->stop_us = middle(stop[0], stop[1], stop[2]);
}

/* Says who comes, and hears whether that is welcome. */
static int greet(struct precopy *p, struct err *e)
{
	const struct migrate_options *o = &p->job->options;

	configuration_save(p->job);
	if (o->return_path)
		return_path_request(p->job);
	return o->return_path && o->preflight ? preflight_ask(p->job, e) : 0;
}

static int begin(struct precopy *p, struct err *e)
{
	const struct migrate_hooks *h = &p->job->hooks;
	struct channel *c = p->job->channel;
	int ret = ram_source_begin(&p->ram, p->job, e);

	if (ret == 0 && p->job->options.xbzrle_bytes) {
		p->ram.xbzrle = xbzrle_cache_create(p->job->options.xbzrle_bytes,
						    &p->job->progress.xbzrle);
		if (!p->ram.xbzrle)
			ret = err_set(e, ENOMEM, "no room for xbzrle-cache-size");
	}
	if (ret == 0)
		ret = multifd_source_begin(&p->ram.multifd, p->job, e);
	if (ret == 0)
		ret = greet(p, e);
	if (ret == 0 && p->job->options.content_hashes)
		ret = content_source_create(&p->ram.content, &p->ram, p->job, e);
	if (ret == 0)
		ret = h->dirty_start(h->opaque, e);
	if (ret < 0)
		return ret;
	p->logging = true;
	rehearse(p);
	hint_start(p);
	section_begin(c, WIRE_START, WIRE_RAM_NUMBER);
	section_name(c, "ram", 0, WIRE_RAM_VERSION);
	ram_put_blocks(&p->ram);
	section_end(c, WIRE_RAM_NUMBER);
	channel_flush(c);
	p->job->progress.setup_us = (uint64_t)(time_ns() - p->begin_ns) / 1000;
	return channel_check(c, e);
}

static void end(struct precopy *p, int ret, struct err *e)
{
	const struct migrate_hooks *h = &p->job->hooks;

	hint_stop(p);
	if (ret < 0 && p->stopped && !p->job->unsure)
		h->resume(h->opaque);
	if (ret < 0 && !p->job->unsure)
		return_path_last_word(p->job, ret, e);
	enter(p, ret == 0 ? MIGRATE_DONE : ret == -ECANCELED ? MIGRATE_CANCELLED : MIGRATE_FAILED);
	if (p->logging)
		h->dirty_stop(h->opaque); /* may take a while: nobody waits for it */
	multifd_source_end(p->ram.multifd);
	xbzrle_cache_destroy(p->ram.xbzrle);
	content_source_destroy(p->ram.content);
	preflight_end(p->job);
	ram_source_end(&p->ram);
}

/* A guest that didn't stop in time runs, and writes: more rounds, then it is asked again. It and
 * the monitors have some time for themselves before that. */
static int rounds_and_stop(struct precopy *p, struct err *e)
{
	const struct timespec nap = {.tv_nsec = PROGRESS_NS};
	bool again = true;
	int ret = 0;

	while (ret == 0 && again)
		ret = one_round(p, &again, e);
	if (ret == 0)
		ret = look_up(p, e);
	if (ret == 0)
		ret = switchover(p, e);
	if (ret != -EAGAIN || p->stopped || ++p->late == STOPS)
		return ret;
	log_warn("migrate: %s; another round", e->msg);
	nanosleep(&nap, NULL);
	return 0;
}

/**
 * migrate_precopy() - Write a running guest
 * @job:	See there; all hooks but those that say they may be NULL
 * @e:		Set on failure only
 *
 * On success the guest is stopped and everything is in the channel's carrier. On failure it runs as
 * before.
 *
 * Errors: ECANCELED on request; else as the channel, the dirty log or the stop
 * Return: 0, or a negative errno
 */
int migrate_precopy(struct migrate_job *job, struct err *e)
{
	struct precopy p = {.job = job, .begin_ns = time_ns()};
	int ret;

	job->progress = (struct migrate_progress){.phase = MIGRATE_SETUP};
	ret = begin(&p, e);
	if (ret == 0)
		enter(&p, MIGRATE_PRECOPY);
	while (ret == 0 && !p.stopped)
		ret = rounds_and_stop(&p, e);
	end(&p, ret, e);
	return ret;
}
