/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: dump-guest-memory stops the guest, notes where its memory is and what its
 * vCPUs hold, and has a thread write the file in one go, so that it may be a pipe. Nothing may
 * change the guest until that is over: it can't be resumed, reset, moved, upgraded, or get other
 * devices. The last dump stays known for query-dump.
 */
#include "vmm/q35/migration/migration.h"
#include "vmm/q35/ops/ops.h"

#include "base/fdstore.h"
#include "base/owned.h"
#include "machine/x86/core.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_BYTES ((uint64_t)MiB)
#define LOOK_MS     200 /* how soon a dump to a stuck pipe ends with the process */

enum dump_status { DUMP_NONE, DUMP_ACTIVE, DUMP_COMPLETED, DUMP_FAILED };

/**
 * struct dump - A dump. Main thread, but for what the writer has while it runs
 * @g:		The guest
 * @rq:		To be answered at the end; NULL: was answered at the beginning
 * @thread:	The writer
 * @fd:		Where it goes; the writer's
 * @ranges, @len: Memory that is written; the writer's
 * @head, @head_len: What goes before it; the writer's
 * @piece:	PIECE_BYTES, the writer's
 * @resume:	The guest runs on afterwards
 * @status:	Where it is
 * @stop:	Atomic: the process ends
 * @total, @completed: Bytes of memory; @completed is atomic
 * @ret, @e:	How the writer fared
 */
struct dump {
	struct guest *g;
	struct control_request *rq;
	pthread_t thread;
	int fd;
	struct memory_range *ranges;
	size_t len;
	uint8_t *head;
	size_t head_len;
	uint8_t *piece;
	bool resume;
	enum dump_status status;
	bool stop;
	uint64_t total, completed;
	int ret;
	struct err e;
};

static int wait_writable(struct dump *d, struct err *e)
{
	struct pollfd p = {.fd = d->fd, .events = POLLOUT};

	while (poll(&p, 1, LOOK_MS) == 0)
		if (__atomic_load_n(&d->stop, __ATOMIC_ACQUIRE))
			return err_set(e, ECANCELED, "the VMM ends");
	return 0;
}

static int put(struct dump *d, const uint8_t *from, size_t len, struct err *e)
{
	while (len) {
		ssize_t n = write(d->fd, from, len);

		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return err_sys(e, "write");
		if (n < 0 && errno == EAGAIN && wait_writable(d, e) < 0)
			return -e->code;
		from += MAX(n, 0);
		len -= (size_t)MAX(n, 0);
	}
	return __atomic_load_n(&d->stop, __ATOMIC_ACQUIRE) ? err_set(e, ECANCELED, "the VMM ends")
							   : 0;
}

/* Through the mapping, memory that the guest never touched would be allocated; but what is no file
 * with content of its own (a DAX device) can't be read as one. */
static const uint8_t *piece(struct dump *d, const struct ram_block *b, uint64_t offset, uint64_t n)
{
	ssize_t got = pread(b->fd, d->piece, n, (off_t)(b->fd_offset + offset));

	return got == (ssize_t)n ? d->piece : b->hva + offset;
}

static int put_range(struct dump *d, const struct memory_range *range, struct err *e)
{
	int r = 0;

	for (uint64_t done = 0, n; done < range->size && r >= 0; done += n) {
		n = MIN(PIECE_BYTES, range->size - done);
		r = put(d, piece(d, range->block, range->offset + done, n), n, e);
		__atomic_add_fetch(&d->completed, n, __ATOMIC_RELAXED);
	}
	return r;
}

static const char *const status_names[] = {"none", "active", "completed", "failed"};

static json_t *describe(const struct dump *d)
{
	uint64_t completed = d ? __atomic_load_n(&d->completed, __ATOMIC_RELAXED) : 0;

	return json_pack("{s:s, s:I, s:I}", "status", status_names[d ? d->status : DUMP_NONE],
			 "completed", (json_int_t)completed, "total",
			 (json_int_t)(d ? d->total : 0));
}

static void release(struct dump *d)
{
	fd_close(&d->fd);
	mem_free(&d->ranges);
	mem_free(&d->head);
	mem_free(&d->piece);
}

static void finished(void *opaque)
{
	struct dump *d = opaque;
	struct control *c = d->g->v->control;
	bool failed;

	pthread_join(d->thread, NULL);
	release(d);
	failed = d->ret < 0;
	d->status = failed ? DUMP_FAILED : DUMP_COMPLETED;
	control_event(
		c, "DUMP_COMPLETED",
		json_pack("{s:o, s:s*}", "result", describe(d), "error", failed ? d->e.msg : NULL));
	if (d->resume)
		vm_start(&d->g->q->vm);
	if (d->rq)
		control_complete(d->rq, NULL, failed ? &d->e : NULL);
}

static void *writer(void *opaque)
{
	struct dump *d = opaque;

	d->ret = put(d, d->head, d->head_len, &d->e);
	for (size_t i = 0; i < d->len && d->ret >= 0; i++)
		d->ret = put_range(d, &d->ranges[i], &d->e);
	loop_post(d->g->v->loop, finished, d);
	return NULL;
}

static bool dumping(const struct guest *g)
{
	return g->dump && g->dump->status == DUMP_ACTIVE;
}

/**
 * guest_not_dumping() - May the guest change?
 * @g:		The guest
 * @e:		Set on failure only
 *
 * Errors: EBUSY its memory is being dumped
 * Return: 0, or a negative errno
 */
int guest_not_dumping(const struct guest *g, struct err *e)
{
	return dumping(g) ? err_set(e, EBUSY,
				    "the guest's memory is being dumped; query-dump shows "
				    "how far it is")
			  : 0;
}

/**
 * guest_dump_release() - Forget the last dump; one that is under way is ended
 * @g:		The guest, about to end; its machine is still there
 */
void guest_dump_release(struct guest *g)
{
	if (dumping(g)) {
		__atomic_store_n(&g->dump->stop, true, __ATOMIC_RELEASE);
		pthread_join(g->dump->thread, NULL);
		release(g->dump);
	}
	mem_free(&g->dump);
}

/* Cuts the ranges to what lies in [@begin, @begin + @length). */
static int ranges_cut(struct dump *d, uint64_t begin, uint64_t length, struct err *e)
{
	size_t n = 0;

	for (size_t i = 0; i < d->len; i++) {
		struct memory_range r = d->ranges[i];
		uint64_t first = MAX(r.gpa, begin), end = r.gpa + r.size;

		if (end > begin && end - begin > length)
			end = begin + length;
		if (first >= end)
			continue;
		r.offset += first - r.gpa;
		r.gpa = first;
		r.size = end - first;
		d->ranges[n++] = r;
	}
	d->len = n;
	return n ? 0
		 : err_set(e, EINVAL, "begin, length: there is no memory in %#jx and %#jx bytes",
			   (uintmax_t)begin, (uintmax_t)length);
}

static int range_wanted(struct dump *d, const json_t *args, struct err *e)
{
	bool begin = json_object_get(args, "begin"), length = json_object_get(args, "length");

	d->len = memory_ranges(&d->g->q->memory, &d->ranges);
	if (begin != length)
		return err_set(e, EINVAL, "begin and length belong together: %s is missing",
			       begin ? "length" : "begin");
	return begin ? ranges_cut(d, (uint64_t)option_int(args, "begin", 0),
				  (uint64_t)option_int(args, "length", 0), e)
		     : 0;
}

/* A pipe whose reader has stopped must not hold the process. */
static int unblock(int fd, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, "fstat");
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
		return 0;
	return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0 ? err_sys(e, "fcntl") : 0;
}

static int target_open(struct dump *d, const char *protocol, struct err *e)
{
	int r;

	if (!strncmp(protocol, "fd:", 3))
		r = fdstore_take(protocol + 3, &d->fd, e);
	else if (!strncmp(protocol, "file:", 5))
		r = fdstore_open(protocol + 5, O_WRONLY | O_CREAT | O_TRUNC, 0600, &d->fd, e);
	else
		r = err_set(e, EINVAL, "protocol: '%s' is neither file:PATH nor fd:NAME", protocol);
	return r < 0 ? r : unblock(d->fd, e);
}

static int may_begin(const struct guest *g, const json_t *args, struct err *e)
{
	int r = guest_stays(g, e);

	if (r < 0)
		return r;
	if (g->q->vm.state == RUN_INMIGRATE)
		return err_set(e, EBUSY, "Dump not allowed during incoming migration.");
	if (migration_lazy_info(g->migration))
		return err_set(e, EBUSY,
			       "the guest's memory is still being read from its snapshot; "
			       "query-migrate shows how far it is");
	if (option_bool(args, "paging", false))
		return err_set(e, ENOTSUP,
			       "paging: segments have physical addresses only; crash "
			       "finds the guest's page tables by the notes");
	return 0;
}

/* The guest is stopped: everything but the memory itself. */
static int prepare(struct dump *d, const json_t *args, struct err *e)
{
	int r = range_wanted(d, args, e);

	if (r >= 0)
		r = x86_core_head(d->g->q->vcpus, d->ranges, d->len, &d->head, &d->head_len, e);
	for (size_t i = 0; i < d->len; i++)
		d->total += d->ranges[i].size;
	return r;
}

static int begin(struct dump *d, const json_t *args, struct err *e)
{
	struct vm *vm = &d->g->q->vm;
	int r;

	d->resume = vm_active(vm);
	if (d->resume)
		vm_stop(vm, RUN_SAVE_VM);
	r = prepare(d, args, e);
	if (r >= 0) {
		d->status = DUMP_ACTIVE;
		r = -pthread_create(&d->thread, NULL, writer, d);
		if (r < 0)
			err_ret(e, r, "start a thread");
	}
	if (r < 0 && d->resume)
		vm_start(vm);
	return r;
}

/**
 * op_dump_guest_memory() - QMP dump-guest-memory: the guest as a core file
 * @opaque:	The guest
 * @rq:		The command; answered at the end, unless "detach" is set
 * @args:	See cmd_memory.c
 * @ret:	Stays NULL
 * @e:		Set on failure only
 *
 * Errors: EBUSY the guest is on its way, or being dumped; ENOTSUP "paging"; EINVAL "protocol",
 * "begin", "length"; else as opening the file
 * Return: 0, CONTROL_LATER, or a negative errno
 */
int op_dump_guest_memory(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
			 struct err *e)
{
	struct guest *g = opaque;
	bool detach = option_bool(args, "detach", false);
	struct dump *d;
	int r = may_begin(g, args, e);

	if (r < 0)
		return r;
	d = mem_zalloc(sizeof(*d));
	*d = (struct dump){.g = g, .fd = -1, .rq = detach ? NULL : rq};
	d->piece = mem_zalloc(PIECE_BYTES);
	r = target_open(d, option_str(args, "protocol", ""), e);
	if (r >= 0)
		r = begin(d, args, e);
	if (r < 0) {
		release(d);
		free(d);
		return r;
	}
	guest_dump_release(g);
	g->dump = d;
	return detach ? 0 : CONTROL_LATER;
}

/**
 * op_query_dump() - QMP query-dump: how far the dump is, or the last one was
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	Set
 * @e:		Not set
 *
 * Return: 0
 */
int op_query_dump(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		  struct err *e)
{
	*ret = describe(((struct guest *)opaque)->dump);
	return 0;
}
