/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: send-key presses its keys one after the other and releases them in the
 * opposite order, with a moment in between that guests need to see each. What isn't typed yet waits
 * in a queue for a timer of the guest's clock. A guest that stops (for good, to another host or
 * process) gets the rest at once: no key stays down where nobody would release it.
 */
#include "vmm/q35/ops/ops.h"

#include "base/clock.h"
#include "base/nearest.h"
#include "base/owned.h"
#include "device/timer.h"

#include <errno.h>
#include <string.h>

#define WAITING_MAX 1024 /* moves of keys, as on QEMU */
#define HOLD_MS     10

/**
 * struct key_move - A key goes down or up
 * @hold_ns:	Until the next move
 */
struct key_move {
	const struct ps2_key *key;
	bool down;
	int64_t hold_ns;
};

/**
 * struct keystrokes - What send-key has to type yet. Main thread
 * @g:		The guest
 * @timer:	Pending: the next move isn't due yet
 * @listener:	Told when the guest stops
 * @waiting, @len: Moves, the oldest first
 */
struct keystrokes {
	struct guest *g;
	struct timer *timer;
	struct vm_listener listener;
	struct key_move waiting[WAITING_MAX];
	size_t len;
};

static struct key_move move_next(struct keystrokes *k)
{
	struct key_move m = k->waiting[0];

	k->len--;
	memmove(k->waiting, k->waiting + 1, k->len * sizeof(m));
	ps2_keyboard_key(k->g->q->keyboard, m.key, m.down);
	return m;
}

static void all_at_once(struct keystrokes *k)
{
	timer_cancel(k->timer);
	while (k->len)
		move_next(k);
}

static void go_on(void *opaque)
{
	struct keystrokes *k = opaque;
	struct key_move m;

	if (!k->len)
		return;
	m = move_next(k);
	timer_arm_ns(k->timer, guest_clock_now_ns(k->g->q->clock) + m.hold_ns);
}

static void on_event(struct vm_listener *l, enum vm_event event, int arg)
{
	if (event == VM_STOPPED)
		all_at_once(CONTAINER_OF(l, struct keystrokes, listener));
}

static struct keystrokes *keystrokes_of(struct guest *g)
{
	struct keystrokes *k = g->keystrokes;

	if (k)
		return k;
	k = mem_zalloc(sizeof(*k));
	k->g = g;
	k->timer = timer_create_guest(g->q->clock, go_on, k, NULL);
	k->listener.event = on_event;
	vm_listen(&g->q->vm, &k->listener);
	g->keystrokes = k;
	return k;
}

/**
 * guest_keystrokes_release() - Forget what send-key has to type yet
 * @g:		The guest, about to end; its machine is still there
 */
void guest_keystrokes_release(struct guest *g)
{
	if (!g->keystrokes)
		return;
	list_del(&g->keystrokes->listener.link);
	timer_destroy(g->keystrokes->timer);
	mem_free(&g->keystrokes);
}

static const char *key_name(const void *table, size_t i)
{
	const struct ps2_key *key = ps2_key_at(i);

	return key ? key->name : NULL;
}

static int named(const char *name, const struct ps2_key **ret, struct err *e)
{
	*ret = ps2_key_find(name);
	if (*ret)
		return 0;
	err_set(e, EINVAL, "there is no key '%s'", name);
	return err_nearest(e, nearest(name, NULL, key_name));
}

static int key_of(const json_t *value, const struct ps2_key **ret, struct err *e)
{
	const json_t *data = json_object_get(value, "data");
	bool number = !strcmp(option_str(value, "type", ""), "number");

	if (number ? !json_is_integer(data) : !json_is_string(data))
		return err_set(e, EINVAL, "data: a %s is expected",
			       number ? "number" : "key's name");
	if (!number)
		return named(json_string_value(data), ret, e);
	*ret = ps2_key_numbered(json_integer_value(data));
	return *ret ? 0
		    : err_set(e, EINVAL, "there is no key with number %jd",
			      (intmax_t)json_integer_value(data));
}

/**
 * op_send_key() - QMP send-key: press keys together
 * @opaque:	The guest
 * @rq:		The command
 * @args:	The keys, and for how long
 * @ret:	Stays NULL
 * @e:		Set on failure only
 *
 * Errors: EINVAL there is no such key; EBUSY too many wait already
 * Return: 0, or a negative errno
 */
int op_send_key(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		struct err *e)
{
	struct guest *g = opaque;
	struct keystrokes *k = keystrokes_of(g);
	const json_t *all = json_object_get(args, "keys");
	int64_t hold_ns = option_int(args, "hold-time", HOLD_MS) * NS_PER_MS;
	size_t n = json_array_size(all), i;
	const json_t *one;

	if (k->len + 2 * n > WAITING_MAX)
		return err_set(e, EBUSY, "%zu moves of keys wait already, %d can: send fewer",
			       k->len, WAITING_MAX);
	json_array_foreach (all, i, one) {
		struct key_move *down = &k->waiting[k->len + i];
		int r = key_of(one, &down->key, e);

		if (r < 0)
			return r;
		down->down = true;
		down->hold_ns = hold_ns;
		k->waiting[k->len + 2 * n - 1 - i] = (struct key_move){down->key, false, hold_ns};
	}
	k->len += 2 * n;
	vm_request(&g->q->vm, MACHINE_WAKEUP, WAKEUP_OTHER);
	if (!vm_active(&g->q->vm))
		all_at_once(k);
	else if (!timer_pending(k->timer))
		go_on(k);
	return 0;
}
