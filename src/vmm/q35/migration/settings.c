/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: what migration may use and its limits, in QEMU's words, and
 * query-migrate. */
#include "vmm/q35/migration/migration.h"

#include "base/owned.h"

#include <errno.h>
#include <string.h>

/**
 * struct capability - One by its name
 * @bit:	Of enum migration_capability; 0: not here
 */
struct capability {
	const char *name;
	unsigned int bit;
};

static const struct capability capabilities[] = {
	{"xbzrle", CAPABILITY_XBZRLE},
	{"auto-converge", CAPABILITY_AUTO_CONVERGE},
	{"events", CAPABILITY_EVENTS},
	{"postcopy-ram", 0},
	{"release-ram", 0},
	{"return-path", CAPABILITY_RETURN_PATH},
	{"pause-before-switchover", CAPABILITY_PAUSE},
	{"multifd", CAPABILITY_MULTIFD},
	{"late-block-activate", CAPABILITY_LATE_ACTIVATE},
	{"validate-uuid", CAPABILITY_UUID},
	{"x-ignore-shared", CAPABILITY_IGNORE_SHARED},
	{"zero-copy-send", 0},
	{"mapped-ram", CAPABILITY_MAPPED},
	{"dirty-limit", CAPABILITY_DIRTY_LIMIT},
	{"outlive-content-hashes", CAPABILITY_CONTENT},
};

static unsigned int bit_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++)
		if (!strcmp(capabilities[i].name, name))
			return capabilities[i].bit;
	return 0;
}

static int slowing_ways(const struct migration *m, unsigned int now, struct err *e)
{
	if (!(now & CAPABILITY_DIRTY_LIMIT))
		return 0;
	if (now & CAPABILITY_AUTO_CONVERGE)
		return err_set(e, EINVAL, "dirty-limit and auto-converge exclude each other");
	if (!kvm_vm_has_ring(m->guest->q->kvm))
		return err_set(e, ENOTSUP,
			       "dirty-limit needs the dirty ring: start the guest with -accel "
			       "kvm,dirty-ring-size=4096, or use auto-converge");
	return 0;
}

/* A build that let both be on did without xbzrle: what comes from it in an upgrade goes on so. */
static int ways_of_pages(bool adopting, unsigned int *now, struct err *e)
{
	const unsigned int both = CAPABILITY_MULTIFD | CAPABILITY_XBZRLE;

	if ((*now & both) != both)
		return 0;
	if (!adopting)
		return err_set(e, EINVAL,
			       "multifd and xbzrle exclude each other, since pages on channels go "
			       "whole: switch one of them off");
	*now &= ~(unsigned int)CAPABILITY_XBZRLE;
	return 0;
}

/**
 * guest_migrate_set_capabilities() - QMP migrate-set-capabilities
 * @opaque:	The guest
 * @rq:		The command; NULL: they come from another process with the guest
 * @args:	@capabilities: names and states
 * @ret:	Not set
 * @e:		Set on failure only
 *
 * Errors: EBUSY a migration is under way; ENOTSUP a capability isn't here, EINVAL two exclude each
 * other: nothing is changed
 * Return: 0, or a negative errno
 */
int guest_migrate_set_capabilities(void *opaque, struct control_request *rq, const json_t *args,
				   json_t **ret, struct err *e)
{
	struct migration *m = ((struct guest *)opaque)->migration;
	unsigned int now = m->capabilities;
	size_t i;
	json_t *one;

	if (migration_busy(m))
		return err_set(e, EBUSY, "There's a migration process in progress");
	json_array_foreach (json_object_get(args, "capabilities"), i, one) {
		const char *name = option_str(one, "capability", "");
		bool on = option_bool(one, "state", false);
		unsigned int bit = bit_of(name);

		if (on && !bit)
			return err_set(e, ENOTSUP, "capability '%s' isn't supported here", name);
		now = on ? now | bit : now & ~bit;
	}
	if (slowing_ways(m, now, e) < 0 || ways_of_pages(!rq, &now, e) < 0)
		return -e->code;
	m->capabilities = now;
	return 0;
}

/**
 * guest_query_migrate_capabilities() - QMP query-migrate-capabilities
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	All with their states
 * @e:		Not set
 *
 * Return: 0
 */
int guest_query_migrate_capabilities(void *opaque, struct control_request *rq, const json_t *args,
				     json_t **ret, struct err *e)
{
	const struct migration *m = ((struct guest *)opaque)->migration;

	*ret = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++)
		json_array_append_new(*ret, json_pack("{s:b, s:s}", "state",
						      (m->capabilities & capabilities[i].bit) != 0,
						      "capability", capabilities[i].name));
	return 0;
}

/* QEMU 7.2's. */
static json_t *defaults(void)
{
	return json_pack(
		"{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:i, s:s, s:s, s:s, s:i, s:i, s:i, "
		"s:s, s:i, s:i, s:i, s:i, s:s, s:i, s:i, s:i, s:s}",
		"announce-initial", 50, "announce-max", 550, "announce-rounds", 5, "announce-step",
		100, "throttle-trigger-threshold", 50, "cpu-throttle-initial", 20,
		"cpu-throttle-increment", 10, "cpu-throttle-tailslow", 0, "max-cpu-throttle", 99,
		"tls-creds", "", "tls-hostname", "", "tls-authz", "", "max-bandwidth", 134217728,
		"downtime-limit", 300, "multifd-channels", 2, "multifd-compression", "none",
		"multifd-zlib-level", 1, "multifd-zstd-level", 1, "xbzrle-cache-size", 67108864,
		"max-postcopy-bandwidth", 0, "zero-page-detection", "legacy", "vcpu-dirty-limit", 1,
		"x-vcpu-dirty-limit-period", 1000, "outlive-confirm-timeout", 60000,
		"outlive-content-file", "");
}

static json_t *parameters_of(struct migration *m)
{
	if (!m->parameters)
		m->parameters = defaults();
	return m->parameters;
}

/* Those that a table of bounds can't say, in QEMU's words. */
static int parameters_fit(const json_t *now, const json_t *args, struct err *e)
{
	int64_t cache = option_int(args, "xbzrle-cache-size", 4096);
	int64_t initial = option_int(args, "cpu-throttle-initial",
				     option_int(now, "cpu-throttle-initial", 0));
	int64_t max = option_int(args, "max-cpu-throttle", option_int(now, "max-cpu-throttle", 99));

	if (cache < 4096 || cache & (cache - 1))
		return err_set(e, EINVAL,
			       "Parameter 'xbzrle_cache_size' expects a power of two no less than "
			       "the target page size");
	if (max < initial)
		return err_set(e, EINVAL,
			       "Parameter 'max_cpu_throttle' expects an integer in the range of "
			       "cpu_throttle_initial to 99");
	return 0;
}

/**
 * guest_migrate_set_parameters() - QMP migrate-set-parameters
 * @opaque:	The guest
 * @rq:		The command
 * @args:	See cmd_migrate.c
 * @ret:	Not set
 * @e:		Set on failure only
 *
 * The bandwidth and the limit of the pause also change for a migration that is under way. Whether
 * there is an object tls-creds is looked at when a migration begins.
 *
 * Errors: ENOTSUP tls-authz; EINVAL two don't fit together, and nothing is changed
 * Return: 0, or a negative errno
 */
int guest_migrate_set_parameters(void *opaque, struct control_request *rq, const json_t *args,
				 json_t **ret, struct err *e)
{
	struct migration *m = ((struct guest *)opaque)->migration;

	if (option_str(args, "tls-authz", "")[0])
		return err_set(
			e, ENOTSUP,
			"tls-authz: lists of names aren't supported here; give migration a CA "
			"of its own, then whoever has a certificate may come, and leave "
			"tls-authz empty");
	if (parameters_fit(parameters_of(m), args, e) < 0)
		return -e->code;
	json_object_update(parameters_of(m), (json_t *)(uintptr_t)args);
	migration_limits(m);
	return 0;
}

/**
 * migration_parameter() - A parameter that is a text
 * @m:		Main thread
 * @name:	Its name
 *
 * Return: until it is set the next time
 */
const char *migration_parameter(struct migration *m, const char *name)
{
	return option_str(parameters_of(m), name, "");
}

/**
 * migration_globals() - Set the parameters that -global migration.NAME=VALUE gives
 * @m:		New
 * @e:		Set on failure only: names the argument
 *
 * Errors: EINVAL no such parameter, bad value; as guest_migrate_set_parameters()
 * Return: 0, or a negative errno
 */
int migration_globals(struct migration *m, struct err *e)
{
	const struct vmm_items *all = &m->guest->v->options->groups[VMM_GLOBAL];
	int r = 0;

	for (size_t i = 0; i < all->len; i++) {
		const json_t *v = all->items[i].values;
		OWNED_JSON *one = NULL, *checked = NULL;
		json_t *nothing = NULL;

		if (strcmp(option_str(v, "driver", ""), "migration"))
			continue;
		one = json_pack("{s:O}", option_str(v, "property", ""),
				json_object_get(v, "value"));
		r = migrate_parameters_check(one, OPTION_TEXT, &checked, e);
		if (r >= 0)
			r = guest_migrate_set_parameters(m->guest, NULL, checked, &nothing, e);
		if (r < 0)
			return vmm_err_item(e, &all->items[i]);
	}
	return 0;
}

static unsigned int percent_of(const json_t *p, const char *name)
{
	return (unsigned int)option_int(p, name, 0);
}

static void slowing_rules(const json_t *p, struct slowdown *s)
{
	s->rules = (struct converge_rules){
		.threshold = percent_of(p, "throttle-trigger-threshold"),
		.initial = percent_of(p, "cpu-throttle-initial"),
		.increment = percent_of(p, "cpu-throttle-increment"),
		.max = percent_of(p, "max-cpu-throttle"),
		.tailslow = option_bool(p, "cpu-throttle-tailslow", false),
	};
	s->dirty_limit = (uint64_t)option_int(p, "vcpu-dirty-limit", 1) * MiB;
}

/**
 * migration_limits() - Give a job the limits of the parameters; also while it runs
 * @m:	Main thread
 */
void migration_limits(struct migration *m)
{
	const json_t *p = parameters_of(m);
	uint64_t limit_us = (uint64_t)option_int(p, "downtime-limit", 0) * 1000;
	uint64_t bandwidth = (uint64_t)option_int(p, "max-bandwidth", 0);

	__atomic_store_n(&m->job.options.limit_us, MAX(limit_us, (uint64_t)1), __ATOMIC_RELAXED);
	__atomic_store_n(&m->job.options.max_bandwidth, bandwidth, __ATOMIC_RELAXED);
	pthread_mutex_lock(&m->lock);
	slowing_rules(p, &m->slowdown);
	pthread_mutex_unlock(&m->lock);
}

/**
 * migration_confirm_us() - How long the target's word is waited for
 * @m:	Main thread
 *
 * Return: us; 0: without end
 */
uint64_t migration_confirm_us(struct migration *m)
{
	return (uint64_t)option_int(parameters_of(m), "outlive-confirm-timeout", 0) * 1000;
}

/**
 * migration_content() - Give a job what is said of pages that the target has
 * @m:	Main thread; the parameters aren't changed while the job runs
 */
void migration_content(struct migration *m)
{
	const char *path = option_str(parameters_of(m), "outlive-content-file", "");

	m->job.options.content_hashes = m->capabilities & CAPABILITY_CONTENT;
	free(m->content_file);
	m->content_file = path[0] ? str_dup(path) : NULL;
	m->job.options.content_file = m->content_file;
}

/**
 * migration_content_fits() - Can pages be named instead of sent?
 * @m:		With the URI
 * @asks:	The target will be asked whether the guest fits, and can answer
 * @e:		Says what stands in the way
 *
 * Errors: EINVAL
 * Return: 0, also without the capability; or a negative errno
 */
int migration_content_fits(const struct migration *m, bool asks, struct err *e)
{
	if (!(m->capabilities & CAPABILITY_CONTENT))
		return 0;
	if (!asks || !(m->capabilities & CAPABILITY_RETURN_PATH))
		return err_set(e, EINVAL,
			       "outlive-content-hashes: the target must say first that it knows "
			       "them: tcp: or unix:, capability return-path, without "
			       "outlive-no-check");
	if (m->capabilities & (CAPABILITY_MULTIFD | CAPABILITY_XBZRLE))
		return err_set(e, EINVAL,
			       "outlive-content-hashes: not with multifd or xbzrle, whose pages "
			       "aren't hashed; switch one of them off");
	return 0;
}

/**
 * migration_announce_rules() - How often the guest is announced after it has come
 * @m:	Main thread
 *
 * Return: what the parameters say
 */
struct announce_rules migration_announce_rules(struct migration *m)
{
	static const struct announce_rules none;

	return announce_rules_read(parameters_of(m), "announce-", &none);
}

static enum multifd_compression compression_of(const json_t *p)
{
	const char *name = option_str(p, "multifd-compression", "none");

	return !strcmp(name, "zlib")   ? MULTIFD_ZLIB
	       : !strcmp(name, "zstd") ? MULTIFD_ZSTD
				       : MULTIFD_NONE;
}

/**
 * migration_multifd() - Give a job what the parameters say of channels beside the stream
 * @m:	Main thread; the job hasn't begun
 */
void migration_multifd(struct migration *m)
{
	struct multifd_options *o = &m->job.options.multifd;
	const uint8_t *uuid = m->guest->v->options->uuid;
	const json_t *p = parameters_of(m);
	const char *level;

	*o = (struct multifd_options){.compression = compression_of(p)};
	level = o->compression == MULTIFD_ZSTD ? "multifd-zstd-level" : "multifd-zlib-level";
	o->level = (int)option_int(p, level, 1);
	if (m->capabilities & CAPABILITY_XBZRLE)
		m->job.options.xbzrle_bytes = (uint64_t)option_int(p, "xbzrle-cache-size", 0);
	memcpy(o->uuid, uuid, sizeof(o->uuid));
	if (!(m->capabilities & CAPABILITY_MULTIFD))
		return;
	o->channels = (unsigned int)option_int(p, "multifd-channels", 2);
	o->find_zeros = !strcmp(option_str(p, "zero-page-detection", ""), "multifd");
}

/**
 * guest_query_migrate_parameters() - QMP query-migrate-parameters
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	All
 * @e:		Not set
 *
 * Return: 0
 */
int guest_query_migrate_parameters(void *opaque, struct control_request *rq, const json_t *args,
				   json_t **ret, struct err *e)
{
	*ret = json_copy(parameters_of(((struct guest *)opaque)->migration));
	return 0;
}

/* Bytes a second; in the first round, which may take long, what it has been so far. */
static double rate_now(const struct migrate_progress *p)
{
	uint64_t us = p->total_us - MIN(p->setup_us, p->total_us);

	return p->rate || !p->round || !us ? (double)p->rate
					   : (double)p->sent_bytes * 1e6 / (double)us;
}

static json_t *ram_info(const struct migrate_progress *p, uint64_t running_bytes)
{
	double rate = rate_now(p), mbps = rate * 8 / 1e6;
	json_int_t normal = (json_int_t)p->normal_pages;
	json_int_t running = (json_int_t)(running_bytes ? running_bytes : p->sent_bytes);

	return json_pack("{s:I, s:I, s:I, s:I, s:i, s:I, s:I, s:f, s:I, s:i, s:i, s:I, s:I, s:I, "
			 "s:I, s:I, s:i, s:i}",
			 "transferred", (json_int_t)p->sent_bytes, "remaining",
			 (json_int_t)p->remaining_bytes, "total", (json_int_t)p->ram_bytes,
			 "duplicate", (json_int_t)p->zero_pages, "skipped", 0, "normal", normal,
			 "normal-bytes", normal * 4096, "mbps", mbps, "dirty-sync-count",
			 (json_int_t)p->round, "postcopy-requests", 0, "page-size", 4096,
			 "multifd-bytes", (json_int_t)p->multifd_bytes, "pages-per-second",
			 (json_int_t)((p->ram_rate ? (double)p->ram_rate : rate) / 4096),
			 "dirty-pages-rate", (json_int_t)(p->dirty_rate / 4096), "precopy-bytes",
			 running, "downtime-bytes", (json_int_t)p->sent_bytes - running,
			 "postcopy-bytes", 0, "dirty-sync-missed-zero-copy", 0);
}

static void add_ms(json_t *info, const char *name, uint64_t us)
{
	json_object_set_new(info, name, json_integer((json_int_t)((us + 500) / 1000)));
}

static const char *phase_name(enum migrate_phase phase)
{
	static const char *const names[] = {
		[MIGRATE_SETUP] = "setup",           [MIGRATE_PRECOPY] = "precopy",
		[MIGRATE_SWITCHOVER] = "switchover", [MIGRATE_HANDOVER] = "handover",
		[MIGRATE_CONFIRM] = "confirm",       [MIGRATE_DONE] = "done",
		[MIGRATE_FAILED] = "failed",         [MIGRATE_CANCELLED] = "cancelled",
	};

	return phase < ARRAY_SIZE(names) && names[phase] ? names[phase] : "none";
}

/* The rounds that are over and still known, the oldest first. */
static json_t *rounds_info(const struct migrate_progress *p)
{
	unsigned int first = p->round > MIGRATE_ROUNDS_KEPT ? p->round - MIGRATE_ROUNDS_KEPT + 1
							    : 1;
	json_t *all = json_array();

	for (unsigned int n = first; n <= p->round; n++) {
		const struct migrate_round *r = &p->rounds[(n - 1) % MIGRATE_ROUNDS_KEPT];

		if (r->to_us) /* else it is the one under way */
			json_array_append_new(
				all,
				json_pack("{s:i, s:I, s:I, s:I, s:I, s:I}", "round", (int)n,
					  "from-us", (json_int_t)r->from_us, "to-us",
					  (json_int_t)r->to_us, "sent", (json_int_t)r->sent_bytes,
					  "dirty", (json_int_t)r->dirty_bytes,
					  "expected-downtime-us",
					  (json_int_t)MIN(r->predicted_us, (uint64_t)INT64_MAX)));
	}
	return all;
}

static json_t *xbzrle_info(const struct migrate_xbzrle *x)
{
	double pages = (double)x->pages, misses = (double)x->misses;

	return json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:I}", "cache-size",
			 (json_int_t)x->cache_bytes, "bytes", (json_int_t)x->bytes, "pages",
			 (json_int_t)x->pages, "cache-miss", (json_int_t)x->misses,
			 "cache-miss-rate", misses > 0 ? misses / (misses + pages) : 0,
			 "encoding-rate", x->bytes ? pages * 4096 / (double)x->bytes : 0,
			 "overflow", (json_int_t)x->overflows);
}

static json_t *content_info(const struct migrate_content *c)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "pages", (json_int_t)c->pages, "bytes",
			 (json_int_t)c->pages * 4096, "file-pages", (json_int_t)c->file_pages,
			 "listed-pages", (json_int_t)c->listed_pages);
}

static json_t *pause_info(const struct migrate_pause *p)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "stopped", (json_int_t)p->stopped_us, "ram",
			 (json_int_t)p->ram_us, "devices", (json_int_t)p->devices_us, "confirmed",
			 (json_int_t)p->confirmed_us);
}

/* Will it end by itself, and when? */
static void add_convergence(json_t *info, const struct migrate_progress *p)
{
	int64_t left_us = converge_left_us(p);

	json_object_set_new(info, "outlive-converges", json_boolean(left_us >= 0));
	if (left_us >= 0)
		add_ms(info, "outlive-converge-ms", (uint64_t)left_us);
}

static void add_progress(json_t *info, const struct migrate_progress *p, uint64_t running_bytes,
			 enum migration_status status)
{
	json_object_set_new(info, "ram", ram_info(p, running_bytes));
	if (p->xbzrle.cache_bytes)
		json_object_set_new(info, "xbzrle-cache", xbzrle_info(&p->xbzrle));
	if (status == MIGRATION_ACTIVE && p->round > 1)
		add_convergence(info, p);
	if (p->hinted_pages)
		json_object_set_new(info, "outlive-hinted-pages",
				    json_integer((json_int_t)p->hinted_pages));
	if (p->content.on)
		json_object_set_new(info, "outlive-content-hashes", content_info(&p->content));
	json_object_set_new(info, "outlive-phase", json_string(phase_name(p->phase)));
	json_object_set_new(info, "outlive-rounds", rounds_info(p));
	add_ms(info, "setup-time", p->setup_us);
	if (status == MIGRATION_COMPLETED) {
		add_ms(info, "downtime", p->pause_us);
		json_object_set_new(info, "outlive-downtime-us",
				    json_integer((json_int_t)p->pause_us));
		json_object_set_new(info, "outlive-pause-us", pause_info(&p->pause));
	}
	if (p->predicted_us && p->predicted_us != UINT64_MAX) {
		add_ms(info, "expected-downtime", p->predicted_us);
		json_object_set_new(info, "outlive-expected-downtime-us",
				    json_integer((json_int_t)p->predicted_us));
		json_object_set_new(info, "outlive-expected-us", pause_info(&p->expected));
	}
}

/**
 * guest_query_migrate() - QMP query-migrate
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	{} before the first migration
 * @e:		Not set
 *
 * Return: 0
 */
int guest_query_migrate(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
			struct err *e)
{
	struct migration *m = ((struct guest *)opaque)->migration;
	struct migrate_progress p;
	uint64_t running_bytes;
	enum migration_status s;

	pthread_mutex_lock(&m->lock);
	p = m->progress;
	running_bytes = m->running_bytes;
	s = m->status;
	pthread_mutex_unlock(&m->lock);
	*ret = json_object();
	check_describe(m, *ret);
	if (m->listens)
		json_object_set_new(*ret, "socket-address", json_pack("[O]", m->listens));
	if (s == MIGRATION_NONE)
		return 0;
	json_object_set_new(*ret, "status", json_string(migration_status_name(s)));
	if (!m->incoming) {
		add_ms(*ret, "total-time", p.total_us);
		if (s == MIGRATION_CANCELLING ||
		    (s >= MIGRATION_ACTIVE && s <= MIGRATION_COMPLETED))
			add_progress(*ret, &p, running_bytes, s);
		if (s >= MIGRATION_ACTIVE)
			slowdown_describe(m, *ret);
	}
	if (s == MIGRATION_COMPLETED && m->images)
		json_object_set(*ret, "outlive-images", m->images);
	if (s == MIGRATION_COMPLETED && m->points)
		json_object_set(*ret, "outlive-disks", m->points);
	if (migration_lazy_info(m))
		json_object_set_new(*ret, "outlive-lazy", migration_lazy_info(m));
	if (s == MIGRATION_FAILED)
		json_object_set_new(*ret, "error-desc", json_string(m->e.msg));
	return 0;
}
