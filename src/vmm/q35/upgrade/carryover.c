/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what was set at run time and is neither guest state nor in a back end's
 * options: descriptors that clients gave and nobody has used yet, what migration may do, how often
 * the balloon is asked. It is part of the description that is made once more before the pause, so
 * a change meanwhile isn't lost either.
 */
#include "vmm/q35/upgrade/upgrade.h"

#include "base/fdstore.h"
#include "base/owned.h"
#include "device/virtio/balloon.h"
#include "vmm/q35/migration/migration.h"
#include "vmm/q35/ops/ops.h"

/**
 * struct giving - fdstore_describe() into a bundle
 */
struct giving {
	struct bundle *b;
	struct err *e;
	int ret;
};

static void give_fd(void *opaque, const char *name, int fd)
{
	struct giving *g = opaque;

	if (g->ret >= 0)
		g->ret = bundle_add_fd(g->b, name, fd, g->e);
}

static int take_fd(void *opaque, const char *name)
{
	return bundle_take_fd(opaque, name);
}

/* The names of those that are on, in the form migrate-set-capabilities takes. */
static json_t *capabilities_on(struct guest *g)
{
	OWNED_JSON *all = NULL;
	json_t *on = json_array(), *one;
	size_t i;
	struct err e;

	if (guest_query_migrate_capabilities(g, NULL, NULL, &all, &e) < 0)
		return on;
	json_array_foreach (all, i, one)
		if (option_bool(one, "state", false))
			json_array_append(on, one);
	return on;
}

static json_t *settings_of(struct guest *g)
{
	struct device *balloon = guest_balloon(g);
	json_t *parameters = NULL;
	struct err e;

	if (guest_query_migrate_parameters(g, NULL, NULL, &parameters, &e) < 0)
		parameters = NULL;
	return json_pack("{s:o, s:o*, s:I}", "capabilities", capabilities_on(g), "parameters",
			 parameters, "balloon-interval",
			 (json_int_t)(balloon ? balloon_interval(balloon) : 0));
}

/**
 * carryover_describe() - Put what was set at run time into the bundle
 * @g:		The guest
 * @b:		Gets "fdstore" and "settings", and the store's descriptors
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int carryover_describe(struct guest *g, struct bundle *b, struct err *e)
{
	struct giving giving = {.b = b, .e = e};

	json_object_set_new(b->body, "fdstore", fdstore_describe(give_fd, &giving));
	json_object_set_new(b->body, "settings", settings_of(g));
	return giving.ret;
}

/**
 * carryover_adopt() - Take over what was set, before the guest comes
 * @g:		The guest, made
 * @b:		As carryover_describe() filled it in
 * @e:		Set on failure only
 *
 * Errors: ENOTSUP this build lacks what is switched on
 * Return: 0, or a negative errno
 */
int carryover_adopt(struct guest *g, struct bundle *b, struct err *e)
{
	const json_t *settings = json_object_get(b->body, "settings");
	json_t *parameters = json_object_get(settings, "parameters"), *nothing = NULL;
	int r;

	fdstore_adopt(json_object_get(b->body, "fdstore"), take_fd, b);
	r = settings ? guest_migrate_set_capabilities(g, NULL, settings, &nothing, e) : 0;
	if (r >= 0 && parameters)
		r = guest_migrate_set_parameters(g, NULL, parameters, &nothing, e);
	return r;
}

/**
 * carryover_resume() - Go on with what acts on the guest
 * @g:		The guest, ours
 * @b:		As carryover_describe() filled it in
 */
void carryover_resume(struct guest *g, const struct bundle *b)
{
	const json_t *settings = json_object_get(b->body, "settings");
	uint32_t seconds = (uint32_t)option_int(settings, "balloon-interval", 0);

	if (guest_balloon(g) && seconds)
		balloon_set_interval(guest_balloon(g), seconds);
}
