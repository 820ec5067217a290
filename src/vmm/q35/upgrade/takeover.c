/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the new process. It builds the same guest as any other start does, but takes
 * each back end's descriptors and each RAM block's file from the old process, resets nothing and
 * reads nothing: its event loop doesn't run yet. Then it sleeps until the guest's state begins to
 * come, loads and applies it as it comes, wins the word and runs the vCPUs; what isn't the guest
 * (monitors, pid file, service manager) comes after that.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/owned.h"
#include "block/block.h"
#include "char/char.h"
#include "machine/gap.h"
#include "net/net.h"
#include "vmm/image.h"
#include "vmm/q35/ops/ops.h"
#include "vmm/q35/upgrade/upgrade.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <systemd/sd-daemon.h>

#define PREFAULT_NS (10 * NS_PER_MS) /* the guest runs meanwhile, but who upgrades it waits */

/**
 * struct arrival - A guest being taken over
 * @t:		Our side of the hand-over
 * @v:		The process
 * @options:	Of the original command line
 * @argv:	Its words; borrowed from the bundle
 * @g:		The guest
 * @image:	Its sections
 * @urgency:	Of the pause
 */
struct arrival {
	struct upgrade_target t;
	struct vmm v;
	struct vmm_options options;
	char **argv;
	struct guest *g;
	struct image image;
	struct urgency urgency;
};

static int take_fd(struct arrival *a, const char *kind, const char *id, size_t index)
{
	char name[512];

	snprintf(name, sizeof(name), "%s/%s/%zu", kind, id, index);
	return bundle_take_fd(&a->t.bundle, name);
}

static int adopt_ram(void *opaque, const char *name)
{
	struct arrival *a = opaque;
	char full[300];

	snprintf(full, sizeof(full), "ram/%s", name);
	return bundle_take_fd(&a->t.bundle, full);
}

static const json_t *body(const struct arrival *a, const char *name)
{
	return json_object_get(a->t.bundle.body, name);
}

static int options_take(struct arrival *a, struct err *e)
{
	const json_t *words = body(a, "argv");
	size_t i, n = json_array_size(words);
	json_t *word;
	int r;

	a->argv = mem_calloc(n + 1, sizeof(*a->argv));
	json_array_foreach ((json_t *)(uintptr_t)words, i, word)
		a->argv[i] = (char *)(uintptr_t)json_string_value(word);
	if (!n)
		return err_set(e, EPROTO, "no command line came");
	a->v.argv = json_incref((json_t *)(uintptr_t)words);
	r = vmm_options_parse(&a->options, (int)n, (const char *const *)a->argv, e);
	if (r >= 0)
		r = vmm_options_finish(&a->options, e);
	if (r >= 0)
		vmm_present(&a->options); /* the log file is stderr already */
	if (r >= 0)
		r = vmm_sandbox_enter(&a->options, NULL, e);
	return r;
}

static int chars_take(struct arrival *a, struct err *e)
{
	size_t i;
	json_t *state;

	json_array_foreach ((json_t *)(uintptr_t)body(a, "chardevs"), i, state) {
		size_t len = MIN((size_t)option_int(state, "fds", 0), (size_t)4);
		struct char_backend *c;
		const char *id = option_str(state, "id", "");
		int fds[4], r;

		for (size_t k = 0; k < len; k++)
			fds[k] = take_fd(a, "char", id, k);
		r = char_adopt(a->v.loop, state, fds, len, take_fd(a, "charlog", id, 0), &c, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Names each disk's open file and each tap, for when the guest makes its back ends. */
static void block_files_offer(struct arrival *a, const json_t *options)
{
	const json_t *file = json_object_get(options, "file");
	const char *filename = option_str(options, "filename", NULL);
	int fd = filename ? take_fd(a, "block", filename, 0) : -1;

	if (fd >= 0)
		block_adopt_fd(filename, fd);
	if (json_is_object(file))
		block_files_offer(a, file);
}

static int blocks_take(struct arrival *a, struct err *e)
{
	struct block_node *n;
	size_t i;
	json_t *options;
	int r = 0;

	json_array_foreach ((json_t *)(uintptr_t)body(a, "blockdevs"), i, options) {
		block_files_offer(a, options);
		if (r >= 0)
			r = block_open(options, &n, e);
	}
	return r;
}

static int nets_take(struct arrival *a, struct err *e)
{
	size_t i, k;
	json_t *net, *there;
	int r = 0;

	json_array_foreach ((json_t *)(uintptr_t)body(a, "netdevs"), i, net) {
		const json_t *options = json_object_get(net, "options");
		const char *id = option_str(options, "id", "");
		int fds[130];
		size_t n = 0;

		json_array_foreach (json_object_get(net, "fds"), k, there)
			if (n < ARRAY_SIZE(fds))
				fds[n++] = json_is_true(there) ? take_fd(a, "net", id, k) : -1;
		net_adopt_fds(id, fds, n);
		if (r >= 0)
			r = net_add(options, NULL, NULL, e);
		if (r >= 0)
			net_set_link(net_find(id), option_bool(net, "up", true));
	}
	return r;
}

static int control_make(struct arrival *a, struct err *e)
{
	struct control_config config = {.name = a->options.name,
					.uuid = a->options.uuid,
					.options = vmm_options_describe()};

	return control_create(&a->v.control, a->v.loop, &config, e);
}

static int guest_make(struct arrival *a, struct err *e)
{
	struct guest_parts parts = {.devices = body(a, "devices"),
				    .objects = body(a, "objects"),
				    .smm = option_bool(a->t.bundle.body, "smm", false),
				    .vmport = option_bool(a->t.bundle.body, "vmport", true),
				    .adopt_ram = adopt_ram,
				    .opaque = a};
	struct migrate_sections sections;
	int r = guest_create(&a->g, &a->v, &parts, e);

	if (r < 0)
		return r;
	a->v.machine = a->g;
	policy_set(&a->g->q->vm.c.policy, body(a, "policy"));
	if (json_is_integer(body(a, "rtc-base"))) /* a date was one when the guest was started */
		a->g->q->rtc->base_s = json_integer_value(body(a, "rtc-base"));
	r = carryover_adopt(a->g, &a->t.bundle, e);
	if (r >= 0)
		r = placement_adopt(a->g, body(a, "placement"), e);
	if (r >= 0)
		r = guest_begin(a->g, e);
	if (r >= 0)
		r = x86_cpus_captured(a->g->q->vcpus, e);
	if (r >= 0)
		r = guest_sections(a->g, &sections, e);
	if (r < 0)
		return r;
	image_open(&a->image, &sections);
	memory_prefault(&a->g->q->memory, PREFAULT_NS);
	r = image_prefill(&a->image, e);
	x86_cpus_warm(a->g->q->vcpus);
	x86_cpus_load_begin(a->g->q->vcpus);
	return r;
}

static int memory_lock(struct arrival *a, struct err *e)
{
	return vmm_memory_lock(&a->v, e);
}

static int build(struct arrival *a, struct err *e)
{
	static int (*const steps[])(struct arrival *, struct err *) = {
		options_take, chars_take,  blocks_take, nets_take,
		control_make, memory_lock, guest_make,
	};
	int r = loop_create(&a->v.loop, e);

	a->v.options = &a->options;
	if (r >= 0)
		r = vmm_signals_watch(&a->v, e);
	for (size_t i = 0; i < ARRAY_SIZE(steps) && r >= 0; i++)
		r = steps[i](a, e);
	return r;
}

/* The pause: from the first of the state to running vCPUs. */
static int take_guest(struct arrival *a, struct err *e)
{
	struct state_reader r;
	int ret;

	target_reader(&a->t, &r);
	ret = image_receive(&a->image, &r, e);
	if (ret < 0)
		return ret;
	area_mark(&a->t.area, MARK_LOADED);
	vm_catch_up(&a->g->q->vm, area_mark_ns(&a->t.area, MARK_STOPPED));
	ret = x86_cpus_commit(a->g->q->vcpus, e);
	if (ret < 0)
		return ret;
	area_mark(&a->t.area, MARK_APPLIED);
	ret = image_ended(&r, e);
	return ret < 0 ? ret : target_take(&a->t, e);
}

/* What the guest wrote there leaves before what it writes here. */
static void pending_take(const struct char_backend *c, void *opaque)
{
	char_adopt_pending((struct char_backend *)(uintptr_t)c,
			   json_object_get((json_t *)opaque, char_id(c)));
}

static void output_take(const json_t *pending)
{
	char_for_each(pending_take, (void *)(uintptr_t)pending);
}

static void run_guest(struct arrival *a, const json_t *late)
{
	enum run_state state;

	net_take_all();
	output_take(json_object_get(late, "pending"));
	vm_catch_up(&a->g->q->vm, option_int(late, "clock-stopped", 0));
	a->g->quiet = true;
	if (!run_state_parse(option_str(late, "status", "paused"), &state))
		state = RUN_PAUSED;
	if (option_bool(late, "asleep", false) || state == RUN_SUSPENDED)
		vm_set_asleep(&a->g->q->vm);
	if (option_bool(late, "running", false) || state == RUN_SUSPENDED)
		vm_start(&a->g->q->vm);
	else
		vm_set_state(&a->g->q->vm, state);
	area_mark(&a->t.area, MARK_RUNNING);
	a->g->quiet = false;
}

/* The report: what the source had of it, with the pause's last moments. */
static json_t *final_report(struct arrival *a, const json_t *late)
{
	struct upgrade_report mine;
	json_t *report;

	target_report(&a->t, OUTLIVE_VERSION, &mine);
	report = upgrade_report_json(&mine);
	json_object_set(report, "stages-us",
			json_object_get(json_object_get(late, "report"), "stages-us"));
	return report;
}

static void char_settle(const struct char_backend *c, void *opaque)
{
	char_owned((struct char_backend *)(uintptr_t)c);
}

static void settle(struct arrival *a, const json_t *late)
{
	int pidfile = bundle_take_fd(&a->t.bundle, "pidfile");
	OWNED_JSON *report = final_report(a, late);
	struct control_request *rq;
	struct err e;

	char_for_each(char_settle, NULL);
	guest_ports_tell(a->g); /* to nobody: clients know it already */
	if (control_adopt(a->v.control, json_object_get(late, "monitors"), &e) < 0)
		log_warn("upgrade: monitors: %s", e.msg);
	if (pidfile >= 0 && pidfile_adopt(pidfile, &e) < 0)
		log_warn("upgrade: %s", e.msg);
	sd_notifyf(0, "MAINPID=%lu\nREADY=1", (unsigned long)getpid());
	carryover_resume(a->g, &a->t.bundle);
	control_event(a->v.control, "OUTLIVE_UPGRADED", json_incref(report));
	while ((rq = control_adopted_request(a->v.control, "outlive-upgrade")))
		control_complete(rq, json_incref(report), NULL);
	control_adopted(a->v.control);
}

/* The vCPUs were just woken, perhaps on this CPU, where they would wait until this thread has used
 * up its slice (4 ms). What is left to do here isn't urgent. */
static void stand_aside(void)
{
	const struct timespec ms = {.tv_nsec = NS_PER_MS};

	nanosleep(&ms, NULL);
}

/* This thread came back from waking the vCPUs when a CPU was free for it again; the guest's pause
 * ended before that. */
static void mark_running(struct arrival *a)
{
	int64_t began_ns = vm_began_ns(&a->g->q->vm);

	if (began_ns)
		area_mark_at(&a->t.area, MARK_RUNNING, began_ns);
}

static int live(struct arrival *a, struct err *e)
{
	json_t *late;
	int r;

	urgency_begin(&a->urgency, &a->g->q->vm);
	r = target_wait(&a->t, e);
	if (r >= 0)
		r = take_guest(a, e);
	if (r < 0)
		urgency_end(&a->urgency);
	if (r < 0 && target_abandoned(&a->t))
		return -ECANCELED;
	if (r < 0) {
		target_refuse(&a->t, e);
		return r;
	}
	late = target_late(&a->t);
	urgency_start(&a->urgency);
	run_guest(a, late);
	urgency_settle(&a->urgency);
	stand_aside();
	mark_running(a);
	settle(a, late);
	json_decref(late);
	target_close(&a->t);
	image_close(&a->image);
	return loop_run(a->v.loop, e);
}

/**
 * takeover_main() - The whole life of a process that takes a guest over
 * @sock:	Socket to the process that has it
 *
 * Return: exit code
 */
int takeover_main(int sock)
{
	static const char *const features[] = {UPGRADE_SANDBOX, NULL};
	static struct arrival a;
	struct err e = {0};
	OWNED_JSON *schema = schema_of_build();
	int r;

	prctl(PR_SET_NAME, "outlive-vmm"); /* started through a descriptor, it has that's number */
	r = target_open(&a.t, sock, OUTLIVE_VERSION, schema, features, &e);

	if (r < 0) {
		target_refuse(&a.t, &e);
		log_error("take-over: %s", e.msg);
		return 1;
	}
	r = build(&a, &e);
	if (r < 0)
		target_refuse(&a.t, &e);
	else
		r = live(&a, &e);
	if (r == -ECANCELED)
		return 0;
	if (r < 0) {
		log_error("take-over: %s", e.msg);
		_exit(1); /* what was adopted belongs to the other process */
	}
	vmm_end(&a.v);
	return a.v.exit_code;
}
