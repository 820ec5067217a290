/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: points are snapshots with what the disks were. They are made by the main
 * thread while the guest is stopped for the last bytes of its snapshot, so memory, devices and
 * disks are of one moment. Going back is done in place: the guest is stopped, its disks are made
 * what they were, the machine is reset, and the snapshot is loaded as any incoming guest. Which
 * files belong together, and which point is older, knows who asked (the command, or the jobs).
 */
#include "vmm/q35/migration/migration.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/owned.h"
#include "block/block.h"
#include "vmm/q35/ops/ops.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/**
 * struct finding - A walk that looks for the disk of an image
 * @filename:	Of the image
 * @found:	Its top node
 */
struct finding {
	const char *filename;
	struct block_node *found;
};

static void find_one(struct block_node *n, void *opaque)
{
	struct finding *f = opaque;

	if (block_written(n) && !strcmp(block_filename(n), f->filename))
		f->found = n;
}

static struct block_node *node_of(const json_t *disk, struct err *e)
{
	struct finding f = {.filename = option_str(disk, "filename", "")};

	block_each(find_one, &f);
	if (!f.found)
		err_set(e, ENOENT, "the guest has no writable disk on '%s'", f.filename);
	return f.found;
}

static void note_one(struct block_node *n, void *opaque)
{
	struct stat st;

	if (block_written(n) && block_fd(n) >= 0 && fstat(block_fd(n), &st) == 0)
		json_array_append_new(
			opaque,
			json_pack("{s:s, s:I, s:I}", "filename", block_filename(n), "bytes",
				  (json_int_t)st.st_size, "written-ns",
				  (json_int_t)st.st_mtim.tv_sec * NS_PER_SEC + st.st_mtim.tv_nsec));
}

/* What the images look like from outside, so that a change can be noticed. */
static void points_note(struct migration *m)
{
	json_decref(m->images);
	m->images = json_array();
	block_each(note_one, m->images);
}

/**
 * struct making - A walk over disks
 * @m:		Whose
 * @n:		Disks so far
 * @e, @ret:	First failure
 */
struct making {
	struct migration *m;
	unsigned int n;
	struct err *e;
	int ret;
};

/* Is the disk, or a node below it, one of those that are asked for? */
static bool wanted(const json_t *names, const struct block_node *n)
{
	json_t *one;
	size_t i;

	if (!names)
		return true;
	for (; n; n = block_child(n))
		json_array_foreach (names, i, one)
			if (!strcmp(json_string_value(one), block_name(n)))
				return true;
	return false;
}

static void make_one(struct block_node *n, void *opaque)
{
	struct making *w = opaque;
	const char *older = block_point_of(n);
	OWNED(char) *prefix = NULL, *file = NULL;
	json_t *was;

	if (!block_written(n) || w->ret < 0 || !wanted(w->m->points_devices, n))
		return;
	prefix = str_printf("%s.disk%u", w->m->points_prefix, w->n++);
	was = older ? json_string(older) : json_null();
	w->ret = block_point_make(n, prefix, &file, w->e);
	if (w->ret < 0) {
		json_decref(was);
		err_in(w->e, "%s", block_filename(n));
		return;
	}
	json_array_append_new(w->m->points,
			      json_pack("{s:s, s:s, s:o}", "filename", block_filename(n), "file",
					file, "older", was));
}

/**
 * points_make() - Keep what each disk is now that a device writes to
 * @m:	With a prefix for the files, or without: nothing is done
 * @e:	Names the disk
 *
 * Errors: as block_point_make()
 * Return: 0, or a negative errno: points_abort()
 */
int points_make(struct migration *m, struct err *e)
{
	struct making w = {.m = m, .e = e};

	points_note(m);
	if (!m->points_prefix)
		return 0;
	m->points = json_array();
	block_each(make_one, &w);
	return w.ret;
}

/**
 * points_abort() - The snapshot failed: the points made for it aren't worth anything
 * @m:	Main thread, guest stopped
 */
void points_abort(struct migration *m)
{
	struct block_node *n;
	const char *file;
	json_t *p;
	size_t i;
	struct err e;

	json_array_foreach (m->points, i, p) {
		n = node_of(p, NULL);
		file = option_str(p, "file", "");
		if (n && block_point_drop(n, file, option_str(p, "older", NULL), &e) < 0)
			log_warn("%s: %s", file, e.msg);
		unlink(file);
	}
	json_decref(m->points);
	m->points = NULL;
}

static void look_one(struct block_node *n, void *opaque)
{
	const char **found = opaque;

	if (!*found && block_written(n) && block_point_of(n))
		*found = block_filename(n);
}

/**
 * points_blocker() - A guest with points can't leave this host: nobody would keep them there
 * @e:	Names the disk
 *
 * Errors: EPERM
 * Return: 0, or a negative errno
 */
int points_blocker(struct err *e)
{
	const char *image = NULL;

	block_each(look_one, &image);
	if (!image)
		return 0;
	err_set(e, EPERM, "%s has a snapshot point, which can be kept on this host only", image);
	return err_hint(e, "delete the guest's points first: outlive snapshot delete NAME POINT");
}

static int check_one(const json_t *disk, struct block_node *n, struct err *e)
{
	const char *file = option_str(disk, "file", ""), *image = option_str(disk, "image", NULL);

	if (option_bool(disk, "unchecked", false))
		return 0;
	return image ? block_point_check_copy(file, image, e) : block_point_check(n, file, e);
}

static int restore_one(const json_t *disk, struct block_node *n, struct err *e)
{
	const char *file = option_str(disk, "file", "");

	return option_str(disk, "image", NULL) ? block_point_copy(n, file, e)
					       : block_point_restore(n, file, true, e);
}

static int check_all(const json_t *disks, struct err *e)
{
	struct block_node *n;
	json_t *d;
	size_t i;
	int r = 0;

	json_array_foreach (disks, i, d) {
		n = node_of(d, e);
		if (!n)
			return -ENOENT;
		r = check_one(d, n, e);
		if (r < 0)
			return err_in(e, "%s", block_filename(n));
	}
	return 0;
}

static int restore_all(const json_t *disks, struct err *e)
{
	struct block_node *n;
	json_t *d;
	size_t i;
	int r = 0;

	json_array_foreach (disks, i, d) {
		n = node_of(d, e);
		r = n ? restore_one(d, n, e) : -ENOENT;
		if (r < 0)
			return err_in(e, "%s", n ? block_filename(n) : "disk");
	}
	return 0;
}

/**
 * guest_empty() - The machine as at power-on, without a kernel being started: it can take a guest
 * @g:	Stopped. Main thread
 */
void guest_empty(struct guest *g)
{
	bool direct = g->q->direct;

	g->q->direct = false;
	vm_reset(&g->q->vm, false);
	g->q->direct = direct;
	g->incoming = true;
	vm_set_state(&g->q->vm, RUN_INMIGRATE);
}

/* The guest is stopped. On failure after a disk was touched it stays in @g's state inmigrate. */
static int go_back(struct guest *g, const json_t *args, struct err *e)
{
	const json_t *disks = json_object_get(args, "disks");
	int r = option_bool(args, "force", false) ? 0 : check_all(disks, e);

	if (r < 0)
		return r;
	guest_empty(g);
	g->stopped = false; /* -S was for the start */
	r = restore_all(disks, e);
	if (r == 0)
		r = incoming_begin(g->migration, option_str(args, "uri", ""), false, e);
	return r < 0 ? err_in(e, "the guest waits for another try") : 0;
}

/**
 * guest_rollback() - QMP outlive-rollback
 * @opaque:	The guest
 * @rq:		The command
 * @args:	See cmd_snapshot.c
 * @ret:	Not set
 * @e:		Set on failure only
 *
 * Errors: EBUSY a migration is under way; EBADMSG, ESTALE a point can't be trusted: nothing has
 * changed
 * Return: 0 when the snapshot is being loaded, or a negative errno
 */
int guest_rollback(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		   struct err *e)
{
	struct guest *g = opaque;
	int r;

	if (migration_busy(g->migration) || migration_lazy_info(g->migration))
		return err_set(e, EBUSY, "There's a migration process in progress");
	if (guest_not_dumping(g, e) < 0)
		return -e->code;
	if (vm_active(&g->q->vm))
		vm_stop(&g->q->vm, RUN_RESTORE_VM);
	r = go_back(g, args, e);
	if (r < 0 && g->q->vm.state == RUN_RESTORE_VM)
		vm_start(&g->q->vm);
	return r;
}

/* Is nobody using the disks' points but the guest? */
static int can_touch(struct guest *g, struct err *e)
{
	if (migration_busy(g->migration))
		return err_set(e, EBUSY, "There's a migration process in progress");
	return guest_not_dumping(g, e);
}

/* For a moment that no event tells of. Return: did it run? */
static bool stop_quietly(struct guest *g)
{
	bool runs = vm_active(&g->q->vm);

	g->quiet = true;
	if (runs)
		vm_stop(&g->q->vm, RUN_SAVE_VM);
	return runs;
}

static void go_on_quietly(struct guest *g, bool runs)
{
	if (runs)
		vm_start(&g->q->vm);
	g->quiet = false;
}

/**
 * guest_point_drop() - QMP outlive-point-drop
 * @opaque:	The guest
 * @rq:		The command
 * @args:	See cmd_snapshot.c
 * @ret:	Not set
 * @e:		Set on failure only
 *
 * Errors: EBUSY; as block_point_drop()
 * Return: 0, or a negative errno
 */
int guest_point_drop(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		     struct err *e)
{
	struct guest *g = opaque;
	const json_t *disks = json_object_get(args, "disks"), *d;
	struct block_node *n;
	bool runs;
	size_t i;
	int r = can_touch(g, e);

	if (r < 0)
		return r;
	runs = stop_quietly(g);
	json_array_foreach (disks, i, d) {
		n = node_of(d, NULL);
		if (n && r == 0)
			r = block_point_drop(n, option_str(d, "file", ""),
					     option_str(d, "older", NULL), e);
	}
	go_on_quietly(g, runs);
	return r;
}

/**
 * points_take_back() - Nobody can be told of the points: as if they hadn't been made
 * @m:	Main thread
 */
void points_take_back(struct migration *m)
{
	bool runs = stop_quietly(m->guest);

	points_abort(m);
	go_on_quietly(m->guest, runs);
}

/**
 * points_keep() - Somebody knows of a point: older ones needn't be fed any more
 * @g:		Running or stopped. Main thread
 * @disks:	Of the point: filename, file
 *
 * The guest waits for no disk: what is fed no more is closed when it runs again.
 */
void points_keep(struct guest *g, const json_t *disks)
{
	OWNED(struct undo *) *left = mem_calloc(json_array_size(disks), sizeof(*left));
	bool runs = stop_quietly(g);
	struct block_node *n;
	json_t *d;
	size_t i;

	json_array_foreach (disks, i, d) {
		n = node_of(d, NULL);
		left[i] = n ? block_point_keep(n, option_str(d, "file", "")) : NULL;
	}
	go_on_quietly(g, runs);
	json_array_foreach (disks, i, d)
		if (left[i])
			block_point_close(node_of(d, NULL), left[i]);
}

/**
 * guest_point_keep() - QMP outlive-point-keep
 * @opaque:	The guest
 * @rq:		The command
 * @args:	See cmd_snapshot.c
 * @ret:	Not set
 * @e:		Set on failure only
 *
 * Errors: EBUSY
 * Return: 0, or a negative errno
 */
int guest_point_keep(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		     struct err *e)
{
	int r = can_touch(opaque, e);

	if (r == 0)
		points_keep(opaque, json_object_get(args, "disks"));
	return r;
}
