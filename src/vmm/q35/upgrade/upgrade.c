/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what the upgrade room asks of this program's guest (struct upgrade_guest).
 * The description is made from what is there now, not from the command line: chardevs with their
 * connections, disks, networks and devices with the options they have at this moment, so that what
 * was plugged, resized or throttled at run time is there afterwards. From the command line comes
 * only what can't change (machine, CPU, memory). Clients and devices may come and go until the
 * pause, so the description is made once more there; if it isn't the same any more the upgrade
 * begins anew. The command is answered by the new process; only a failure or a dry run is answered
 * here.
 */
#include "vmm/q35/upgrade/upgrade.h"

#include "base/clock.h"
#include "base/log.h"
#include "block/block.h"
#include "char/char.h"
#include "host/launcher.h"
#include "machine/gap.h"
#include "net/net.h"
#include "vmm/image.h"
#include "vmm/q35/migration/migration.h"
#include "vmm/q35/ops/ops.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PREPARE_MS 60000
#define PAUSE_MS   1000

/**
 * struct departure - One upgrade of the guest, from the command to its end
 * @guest:	The guest
 * @rq:		The command, answered here if the guest stays
 * @image:	Its sections
 * @hooks:	For the upgrade room
 * @schema:	Of @image
 * @described:	What the other process was told
 * @monitors:	With their clients, as of the pause
 * @status:	Before the pause
 * @was_running: The guest is to run over there
 * @successor:	Process that has the guest
 * @urgency:	Of the pause
 */
struct departure {
	struct guest *g;
	struct control_request *rq;
	struct image image;
	struct upgrade_guest hooks;
	json_t *schema;
	struct bundle described;
	json_t *monitors;
	enum run_state status;
	bool was_running;
	pid_t successor;
	struct urgency urgency;
};

static struct departure current; /* one at a time: upgrade_start() sees to it */

/* Blockers. */

static void char_blocker(const struct char_backend *c, void *opaque)
{
	struct char_handover h;
	struct err e;

	if (char_handover((struct char_backend *)(uintptr_t)c, &h, &e) < 0)
		json_array_append_new(opaque, json_sprintf("chardev %s: %s", char_id(c), e.msg));
	else
		json_decref(h.state);
}

static void list_blockers(struct guest *g, json_t *sentences)
{
	const char *job = control_job_running(g->v->control);
	struct device *dev;
	struct err e;

	if (job)
		json_array_append_new(sentences, json_sprintf("job %s runs", job));
	surroundings_blockers(sentences);
	list_for_each (dev, &g->q->devices, link)
		if (dev->class->continuity == CONTINUITY_BLOCKS)
			json_array_append_new(sentences, json_sprintf("%s %s: %s", dev->class->name,
								      dev->id ? dev->id : dev->path,
								      dev->class->why));
	char_for_each(char_blocker, sentences);
	if (vmm_sandboxed(g->v->options) && !launcher_there())
		json_array_append_new(
			sentences, json_string("-sandbox: the process that starts the new program "
					       "outside of the filter has gone"));
	if (g->q->vm.state == RUN_INMIGRATE)
		json_array_append_new(sentences,
				      json_string("the guest waits for its state (-incoming)"));
	if (migration_lazy_info(g->migration))
		json_array_append_new(sentences,
				      json_string("the guest's memory is still being read from its "
						  "snapshot; query-migrate shows how far it is"));
	if (migration_busy(g->migration))
		json_array_append_new(sentences, json_string("the guest is being migrated"));
	if (guest_not_dumping(g, &e) < 0)
		json_array_append_new(sentences, json_string(e.msg));
}

static void blockers(void *opaque, json_t *sentences)
{
	list_blockers(((struct departure *)opaque)->g, sentences);
}

/**
 * guest_query_blockers() - QMP query-upgrade-blockers
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	List of sentences
 * @e:		Not set
 *
 * Return: 0
 */
int guest_query_blockers(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
			 struct err *e)
{
	*ret = json_array();
	list_blockers(opaque, *ret);
	return 0;
}

/* The sections of what is there now; what the guest has let go meanwhile is taken away first. */
static int sections_look(struct departure *d, struct err *e)
{
	struct migrate_sections sections;
	int r = guest_sections(d->g, &sections, e);

	if (r < 0)
		return r;
	json_decref(d->schema);
	d->schema = schema_of_machine(&sections);
	d->hooks.schema = d->schema;
	image_close(&d->image);
	image_open(&d->image, &sections);
	return 0;
}

static int begin(void *opaque, struct err *e)
{
	return sections_look(opaque, e);
}

/* Description. */

/**
 * struct describing - A walk over back ends
 * @bundle:	Filled in
 * @list:	Their descriptions
 * @e, @ret:	First failure
 */
struct describing {
	struct bundle *bundle;
	json_t *list;
	struct err *e;
	int ret;
};

static void add_fd(struct describing *d, const char *kind, const char *id, size_t index, int fd)
{
	char name[512];

	snprintf(name, sizeof(name), "%s/%s/%zu", kind, id, index);
	if (d->ret >= 0)
		d->ret = bundle_add_fd(d->bundle, name, fd, d->e);
}

static void describe_char(const struct char_backend *c, void *opaque)
{
	struct describing *d = opaque;
	struct char_handover h;

	if (d->ret >= 0)
		d->ret = char_handover((struct char_backend *)(uintptr_t)c, &h, d->e);
	if (d->ret < 0)
		return;
	json_object_set_new(h.state, "fds", json_integer((json_int_t)h.fds_len));
	for (size_t i = 0; i < h.fds_len; i++)
		add_fd(d, "char", char_id(c), i, h.fds[i]);
	if (h.log_fd >= 0)
		add_fd(d, "charlog", char_id(c), 0, h.log_fd);
	json_array_append_new(d->list, h.state);
}

/* A node made inside another one comes with it; only its file goes along. */
static void describe_block(struct block_node *n, void *opaque)
{
	struct describing *d = opaque;
	json_t *options = block_describe(n);

	if (!block_child(n) && block_fd(n) >= 0)
		add_fd(d, "block", block_filename(n), 0, block_fd(n));
	if (options)
		json_array_append_new(d->list, options);
}

static void describe_net(struct net_backend *b, void *opaque)
{
	struct describing *d = opaque;
	int fds[130];
	size_t len = net_fds(b, fds, ARRAY_SIZE(fds));
	json_t *order = json_array();

	for (size_t i = 0; i < len; i++) {
		json_array_append_new(order, json_boolean(fds[i] >= 0));
		if (fds[i] >= 0)
			add_fd(d, "net", net_id(b), i, fds[i]);
	}
	json_array_append_new(d->list, json_pack("{s:O, s:o, s:b}", "options", net_options(b),
						 "fds", order, "up", net_link_up(b)));
}

static int describe_ram(struct guest *g, struct bundle *b, struct err *e)
{
	struct ram_block *block;
	char name[300];
	int r = 0;

	list_for_each (block, &g->q->memory.blocks, link) {
		snprintf(name, sizeof(name), "ram/%s", block->name);
		if (r >= 0)
			r = bundle_add_fd(b, name, block->fd, e);
	}
	return r;
}

static int describe_list(struct bundle *b, const char *name, void (*walk)(struct describing *d),
			 struct err *e)
{
	struct describing d = {.bundle = b, .list = json_array(), .e = e};

	walk(&d);
	json_object_set_new(b->body, name, d.list);
	return d.ret;
}

static void walk_chars(struct describing *d)
{
	char_for_each(describe_char, d);
}

static void walk_blocks(struct describing *d)
{
	block_each(describe_block, d);
}

static void walk_nets(struct describing *d)
{
	net_each(describe_net, d);
}

static int describe_guest(struct departure *d, struct bundle *b, struct err *e)
{
	int r = describe_ram(d->g, b, e);

	json_object_set_new(b->body, "version", json_string(OUTLIVE_VERSION));
	if (r >= 0 && pidfile_handover() >= 0)
		r = bundle_add_fd(b, "pidfile", pidfile_handover(), e);
	json_object_set(b->body, "argv", d->g->v->argv);
	json_object_set_new(b->body, "devices", guest_devices_carried(d->g));
	json_object_set_new(b->body, "placement", placement_describe(d->g));
	json_object_set_new(b->body, "smm", json_boolean(d->g->q->smm));
	json_object_set_new(b->body, "vmport", json_boolean(d->g->q->vmport));
	json_object_set(b->body, "objects", d->g->objects);
	json_object_set_new(b->body, "rtc-base", json_integer(d->g->q->rtc->base_s));
	json_object_set_new(b->body, "policy", policy_describe(&d->g->q->vm.c.policy));
	if (r >= 0)
		r = guest_files_describe(d->g, b, e);
	if (r >= 0)
		r = carryover_describe(d->g, b, e);
	if (r >= 0)
		r = describe_list(b, "chardevs", walk_chars, e);
	if (r >= 0)
		r = describe_list(b, "blockdevs", walk_blocks, e);
	return r < 0 ? r : describe_list(b, "netdevs", walk_nets, e);
}

static int describe(void *opaque, struct bundle *b, struct err *e)
{
	struct departure *d = opaque;
	int r = describe_guest(d, b, e);

	bundle_release(&d->described);
	bundle_init(&d->described);
	return r < 0 ? r : describe_guest(d, &d->described, e);
}

/* The switch. */

static int recheck(void *opaque, struct err *e)
{
	struct departure *d = opaque;
	OWNED_JSON *found = json_array();
	struct bundle now;
	int r;

	if (loop_exiting(d->g->v->loop))
		return err_set(e, ECANCELED, "the guest ends");
	list_blockers(d->g, found);
	if (json_array_size(found))
		return err_set(e, EPERM, "%s", json_string_value(json_array_get(found, 0)));
	if (guest_ejected(d->g))
		return err_set(e, EAGAIN, "the guest let go of a device meanwhile");
	bundle_init(&now);
	r = describe_guest(d, &now, e);
	if (r >= 0 && !bundle_equal(&now, &d->described))
		r = err_set(e, EAGAIN, "a client or a device came or went meanwhile");
	bundle_release(&now);
	return r;
}

static size_t rehearse(void *opaque, struct state_writer *w)
{
	struct departure *d = opaque;

	return image_rehearse(&d->image, w);
}

static void resume(void *opaque)
{
	struct departure *d = opaque;

	if (d->was_running)
		vm_go_on(&d->g->q->vm);
	urgency_end(&d->urgency);
	d->g->quiet = false;
}

/* What the main thread has to do for the guest, or was told to, would be lost with this process. */
static int nothing_waits(const struct departure *d, struct err *e)
{
	if (loop_pending(d->g->v->loop) || vmm_signal_waits())
		return err_set(e, EINTR, "the machine asked for something in that moment");
	return 0;
}

static int pause_guest(void *opaque, int64_t until_ns, struct err *e)
{
	struct departure *d = opaque;
	int r = 0;

	json_decref(d->monitors);
	d->monitors = NULL;
	d->status = d->g->q->vm.state;
	d->was_running = vm_active(&d->g->q->vm);
	d->g->quiet = true;
	urgency_begin(&d->urgency, &d->g->q->vm);
	if (d->was_running)
		r = vm_stop_within(&d->g->q->vm, RUN_FINISH_MIGRATE, until_ns, e);
	if (r < 0) {
		urgency_end(&d->urgency);
		d->g->quiet = false;
		return r;
	}
	r = nothing_waits(d, e);
	if (r >= 0)
		r = control_handover(d->g->v->control, &d->monitors, e);
	if (r < 0)
		resume(d);
	return r;
}

static int capture(void *opaque, struct state_writer *w, struct err *e)
{
	struct departure *d = opaque;

	image_write(&d->image, w);
	return x86_cpus_captured(d->g->q->vcpus, e);
}

static void add_pending(const struct char_backend *c, void *opaque)
{
	json_t *pending = char_pending((struct char_backend *)(uintptr_t)c);

	if (pending)
		json_object_set_new(opaque, char_id(c), pending);
}

static json_t *pending_output(void)
{
	json_t *all = json_object();

	char_for_each(add_pending, all);
	return all;
}

static json_t *late(void *opaque)
{
	struct departure *d = opaque;
	json_int_t stopped_ns = d->was_running ? d->g->q->vm.stopped_ns : 0;

	/* Versions that don't know "asleep" keep a sleeping guest stopped. */
	return json_pack("{s:I, s:O, s:b, s:b, s:s, s:o}", "clock-stopped", stopped_ns, "monitors",
			 d->monitors, "running", d->status == RUN_RUNNING, "asleep",
			 d->g->q->vm.asleep, "status", run_state_name(d->status), "pending",
			 pending_output());
}

static void succeeded(void *opaque, pid_t pid)
{
	struct departure *d = opaque;

	urgency_end(&d->urgency); /* ending takes its time */
	d->successor = pid;
	surroundings_succeeded(pid);
}

static void leave(void *opaque)
{
	struct departure *d = opaque;
	int signal = vmm_signal_waits();

	if (signal) /* meant for whoever has the guest */
		kill(d->successor, signal);
	_exit(0); /* nothing is closed, removed or restored: it is the other process's now */
}

static void done(void *opaque, int ret, const struct upgrade_report *report, const struct err *e)
{
	struct departure *d = opaque;

	image_close(&d->image);
	json_decref(d->schema);
	json_decref(d->monitors);
	bundle_release(&d->described);
	guest_ejected_remove(d->g);
	control_complete(d->rq, ret < 0 ? NULL : upgrade_report_json(report), ret < 0 ? e : NULL);
}

/* Outside of this process's system call filter, which can't be taken off. */
static int spawn(void *opaque, const char *binary, int sock, pid_t *ret_pid, int *ret_pidfd,
		 struct err *e)
{
	return launcher_spawn(binary, sock, ret_pid, ret_pidfd, e);
}

static int depart(struct guest *g, struct control_request *rq,
		  const struct upgrade_options *options, struct err *e)
{
	struct upgrade *ignored;
	static const char *const needs[] = {UPGRADE_SANDBOX, NULL};
	struct departure next = {.g = g, .rq = rq};
	int r;

	next.hooks = (struct upgrade_guest){.version = OUTLIVE_VERSION,
					    .blockers = blockers,
					    .begin = begin,
					    .describe = describe,
					    .rehearse = rehearse,
					    .recheck = recheck,
					    .pause = pause_guest,
					    .capture = capture,
					    .late = late,
					    .resume = resume,
					    .succeeded = succeeded,
					    .leave = leave,
					    .opaque = &current};
	if (vmm_sandboxed(g->v->options)) {
		next.hooks.needs = needs;
		next.hooks.spawn = spawn;
	}
	r = upgrade_busy() ? err_set(e, EBUSY, "an upgrade is under way") : 0;
	if (r >= 0) {
		current = next;
		r = upgrade_start(&ignored, g->v->loop, &current.hooks, options, NULL, done,
				  &current, e);
	}
	return r;
}

/**
 * guest_upgrade() - QMP outlive-upgrade
 * @opaque:	The guest
 * @rq:		The command; answered by the new process, or here if the guest stays
 * @args:	See cmd_upgrade.c
 * @ret:	Not set
 * @e:		Set on failure only
 *
 * Errors: EBUSY; EOPNOTSUPP a device can't follow
 * Return: CONTROL_LATER, or a negative errno
 */
int guest_upgrade(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		  struct err *e)
{
	const struct upgrade_options options = {
		.binary = option_str(args, "binary", NULL),
		.prepare_ms = (int)option_int(args, "prepare-timeout", PREPARE_MS),
		.pause_ms = (int)option_int(args, "pause-timeout", PAUSE_MS),
		.dry_run = option_bool(args, "dry-run", false),
	};
	int r = depart(opaque, rq, &options, e);

	return r < 0 ? r : CONTROL_LATER;
}
