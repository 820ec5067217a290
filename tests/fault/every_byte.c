/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: every_byte STREAM SECTIONS STRIDE OPTION... The machine that the options
 * make is here, in this process, and waits as for -incoming. STREAM is a guest's, without most
 * pages of its memory; SECTIONS lists its device sections, a line each: offset and length of the
 * payload, instance, version, id.
 *
 * Each byte of a payload (of a long one's first 8 KiB, and then every STRIDE-th) is tried at the
 * loader of that section: the payload cut off before it, and
 * with the byte's bits turned over. What that loader takes where a payload may end is tried at the
 * loader of streams as well. Each byte between two payloads is tried at the loader of streams.
 * A cut must be refused with a reason; a turned byte must be refused with a reason or taken, and
 * then the device, or KVM, gets what came. After each section the machine that has seen all that is
 * reset and takes the whole stream. What crashes, hangs or gives no reason fails.
 *
 * The answer, on standard output, is one line of JSON.
 */
#include "base/log.h"
#include "base/owned.h"
#include "migrate/devices.h"
#include "vmm/q35/migration/migration.h"
#include "vmm/vmm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVERY_BYTES \
	8192 /* of a payload; behind it virtio has a thousand times the same 44 bytes, */

/**
 * struct payload - A device's section in the stream
 * @at, @len:	Its payload
 * @instance, @version: As its header says
 * @id:		Likewise
 */
struct payload {
	size_t at, len;
	unsigned int instance, version;
	char id[256];
};

/**
 * struct tries - What has been done
 * @g:		The machine
 * @job:	What each load begins with
 * @bytes, @len: The stream
 * @stride:	Of the bytes that are tried behind EVERY_BYTES of a payload
 * @at:		Byte whose turn it is
 * @taken, @refused, @good: Turned bytes taken and refused, good loads
 */
struct tries {
	struct guest *g;
	struct migrate_job job;
	uint8_t *bytes;
	size_t len, at, stride;
	unsigned int taken, refused, good;
};

static void __attribute__((noreturn)) fail(const struct tries *t, const char *what, const char *why)
{
	fprintf(stderr, "every_byte: byte %zu: %s: %s\n", t->at, what, why);
	_exit(1);
}

static int judged(const struct tries *t, int r, const struct err *e)
{
	if (r < 0 && !e->msg[0])
		fail(t, "refused", "without a reason");
	return r;
}

/* Devices and vCPUs get what came, as in a VMM; the kernel may refuse a vCPU's state. */
static int adopt(void *opaque, void (*apply)(void *arg), void *arg, struct err *e)
{
	apply(arg);
	return x86_cpus_commit(((struct tries *)opaque)->g->q->vcpus, e);
}

/* At the loader of streams. */
static int load(struct tries *t, size_t len, struct err *e)
{
	struct channel *c = channel_open_memory(t->bytes, len);
	struct migrate_job job = t->job;
	int r;

	*e = (struct err){0};
	job.channel = c;
	r = migrate_load(&job, e);
	channel_destroy(c);
	return judged(t, r, e);
}

static void good(struct tries *t)
{
	struct err e;

	vm_reset(&t->g->q->vm, false);
	if (load(t, t->len, &e) < 0)
		fail(t, "the whole stream is refused afterwards", e.msg);
	t->good++;
}

static void count(struct tries *t, bool taken)
{
	if (taken)
		t->taken++;
	else
		t->refused++;
}

static void one_between(struct tries *t, size_t at)
{
	struct err e;

	t->at = at;
	if (load(t, at, &e) == 0)
		fail(t, "cut off here", "taken");
	t->bytes[at] ^= 0xff;
	count(t, load(t, t->len, &e) == 0);
	t->bytes[at] ^= 0xff;
}

static void give(struct tries *t, struct devices_scratch *d)
{
	struct err e = {0};

	devices_apply(d);
	judged(t, x86_cpus_commit(t->g->q->vcpus, &e), &e);
}

/* At the loader of its section: true if it took exactly @len bytes; devices get them if @apply. */
static bool load_payload(struct tries *t, const struct payload *p, size_t len, bool apply)
{
	struct channel *c = channel_open_memory(t->bytes + p->at, len);
	struct devices_scratch d;
	struct err e = {0};
	bool taken;

	devices_scratch_begin(&d, t->job.sections);
	taken = judged(t, devices_load_one(&d, c, p->id, p->instance, p->version, &e), &e) == 0 &&
		channel_taken(c) == p->len;
	if (taken && apply)
		give(t, &d);
	devices_scratch_end(&d);
	channel_destroy(c);
	return taken;
}

static void one_inside(struct tries *t, const struct payload *p, size_t at)
{
	struct err e;

	t->at = p->at + at;
	if (load_payload(t, p, at, false) || (at == 0 && load(t, t->at, &e) == 0))
		fail(t, "cut off here", "taken");
	t->bytes[t->at] ^= 0xff;
	count(t, load_payload(t, p, p->len + 5, true)); /* with its footer */
	t->bytes[t->at] ^= 0xff;
}

static void section(struct tries *t, const struct payload *p, size_t from)
{
	while (from < p->at)
		one_between(t, from++);
	for (size_t i = 0; i < p->len; i += i < EVERY_BYTES ? 1 : t->stride)
		one_inside(t, p, i);
	good(t);
}

static size_t sections(struct tries *t, const char *path)
{
	FILE *f = fopen(path, "re");
	struct payload p;
	size_t from = 0;

	if (!f)
		fail(t, path, "not there");
	while (fscanf(f, "%zu %zu %u %u %255s", &p.at, &p.len, &p.instance, &p.version, p.id) ==
	       5) {
		section(t, &p, from ? from : p.at);
		from = p.at + p.len;
	}
	fclose(f);
	return from;
}

static void stream_read(struct tries *t, const char *path)
{
	OWNED_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		fail(t, path, "not there");
	t->len = (size_t)st.st_size;
	t->bytes = mem_zalloc(t->len);
	if (read(fd, t->bytes, t->len) != st.st_size)
		fail(t, path, "can't be read");
}

static void machine_make(struct tries *t, struct vmm *v, struct vmm_options *o, int argc,
			 char **argv)
{
	struct err e = {0};
	int r = vmm_options_parse(o, argc, (const char *const *)argv, &e);

	if (r == 0)
		r = vmm_options_finish(o, &e);
	if (r == 0)
		r = loop_create(&v->loop, &e);
	if (r == 0)
		r = vmm_start(v, &e);
	t->g = v->machine;
	if (r == 0)
		r = migration_prepare(t->g->migration, &e);
	if (r < 0)
		fail(t, "the machine", e.msg);
	image_capture(&t->g->migration->image);
	t->job = t->g->migration->job;
	t->job.hooks.adopt = adopt;
	t->job.hooks.opaque = t;
}

int main(int argc, char **argv)
{
	struct vmm_options options;
	struct vmm v = {.options = &options};
	struct tries t = {0};
	size_t end;

	t.stride = argc < 5 ? 0 : strtoul(argv[3], NULL, 10);
	if (!t.stride)
		fail(&t, "usage", "every_byte STREAM SECTIONS STRIDE OPTION...");
	log_set_level(LOG_LEVEL_ERROR);
	machine_classes_add();
	stream_read(&t, argv[1]);
	machine_make(&t, &v, &options, argc - 3, argv + 3);
	good(&t);
	end = sections(&t, argv[2]);
	for (size_t i = 0; i < 6; i++) /* the last footer, and the end mark */
		one_between(&t, end + i);
	good(&t);
	printf("{\"taken\": %u, \"refused\": %u, \"good\": %u}\n", t.taken, t.refused, t.good);
	fflush(stdout);
	_exit(0); /* the machine's threads are still there */
}
