/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: from parsed options to a VMM whose loop only has to run: descriptors taken,
 * character back ends open, monitors listening, machine built. In that order: a client that
 * connects early is answered once the loop runs, and the machine finds the back ends its devices
 * name.
 */
#include "base/fdstore.h"
#include "base/log.h"
#include "base/owned.h"
#include "char/char.h"
#include "vmm/served.h"
#include "vmm/vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#define for_each_item(item, v, g)                  \
	for (item = (v)->options->groups[g].items; \
	     item < (v)->options->groups[g].items + (v)->options->groups[g].len; item++)

static int fds_take(struct vmm *v, struct err *e)
{
	const struct vmm_item *item;

	for_each_item (item, v, VMM_ADD_FD) {
		int64_t set = option_int(item->values, "set", 0);
		int number;

		if (fdstore_set_add(&set, (int)option_int(item->values, "fd", -1),
				    option_str(item->values, "opaque", NULL), &number, e) < 0)
			return vmm_err_item(e, item);
	}
	return 0;
}

static int chardevs_open(struct vmm *v, struct err *e)
{
	const struct vmm_item *item;
	struct char_backend *c;

	for_each_item (item, v, VMM_CHARDEV)
		if (char_create(v->loop, item->values, &c, e) < 0)
			return vmm_err_item(e, item);
	return 0;
}

/* Makes the back end that a short form describes, unless it is "none" or names one. Sets @id to its
 * name. */
static int legacy_open(struct vmm *v, const char *text, char *id, size_t size, struct err *e)
{
	OWNED_JSON *options = NULL;
	struct char_backend *c;
	int r;

	if (!strncmp(text, "chardev:", 8)) {
		snprintf(id, size, "%s", text + 8);
		return char_find(id) ? 0 : err_set(e, ENOENT, "there is no chardev '%s'", id);
	}
	r = char_options_from_legacy(text, id, &options, e);
	return r < 0 ? r : char_create(v->loop, options, &c, e);
}

static bool has_default_serial(const struct vmm *v)
{
	return !v->options->groups[VMM_SERIAL].len && vmm_given(v->options, VMM_NOGRAPHIC) &&
	       !vmm_given(v->options, VMM_NODEFAULTS);
}

static int serials_open(struct vmm *v, struct err *e)
{
	const struct vmm_items *all = &v->options->groups[VMM_SERIAL];
	char id[64] = "serial0";

	if (has_default_serial(v))
		return legacy_open(v, "stdio", id, sizeof(id), e);
	for (size_t i = 0; i < all->len; i++) {
		snprintf(id, sizeof(id), "serial%zu", i);
		if (strcmp(all->items[i].argument, "none") &&
		    legacy_open(v, all->items[i].argument, id, sizeof(id), e) < 0)
			return vmm_err_item(e, &all->items[i]);
	}
	return 0;
}

/**
 * vmm_serial() - The back end of a serial port that -serial (or -nographic) asked for
 * @v:		Started
 * @index:	Which -serial
 *
 * Return: its id, borrowed; NULL: no such port
 */
const char *vmm_serial(const struct vmm *v, size_t index)
{
	static const char *const ids[] = {"serial0", "serial1", "serial2", "serial3"};
	const struct vmm_items *all = &v->options->groups[VMM_SERIAL];

	if (index == 0 && has_default_serial(v))
		return ids[0];
	if (index >= all->len || index >= ARRAY_SIZE(ids))
		return NULL; /* a chardev of that name may be for another device */
	if (!strncmp(all->items[index].argument, "chardev:", 8))
		return all->items[index].argument + 8;
	return strcmp(all->items[index].argument, "none") ? ids[index] : NULL;
}

static int monitors_open(struct vmm *v, struct err *e)
{
	const struct vmm_item *item;
	size_t n = 0;
	char id[64];

	for_each_item (item, v, VMM_MON)
		if (control_monitor_add(v->control, option_str(item->values, "chardev", ""),
					option_bool(item->values, "pretty", false), e) < 0)
			return vmm_err_item(e, item);
	for_each_item (item, v, VMM_QMP) {
		snprintf(id, sizeof(id), "compat_monitor%zu", n++);
		if (!strcmp(item->argument, "none"))
			continue;
		if (legacy_open(v, item->argument, id, sizeof(id), e) < 0 ||
		    control_monitor_add(v->control, id, false, e) < 0)
			return vmm_err_item(e, item);
	}
	return 0;
}

/* What is parsed, because managers send it, but isn't there. */
static int refusals(struct vmm *v, struct err *e)
{
	const struct vmm_item *item;

	for_each_item (item, v, VMM_VNC)
		if (strcmp(option_str(item->values, "vnc", ""), "none")) {
			err_set(e, ENOTSUP, "this build has no VNC server");
			return vmm_err_item(e, item);
		}
	for_each_item (item, v, VMM_AUDIODEV)
		if (strcmp(option_str(item->values, "driver", ""), "none")) {
			err_set(e, ENOTSUP, "there is no sound, only driver none");
			return vmm_err_item(e, item);
		}
	for_each_item (item, v, VMM_PARALLEL)
		if (strcmp(item->argument, "none")) {
			err_set(e, ENOTSUP, "there is no parallel port");
			return vmm_err_item(e, item);
		}
	return served_check(v->options, e);
}

/**
 * vmm_memory_lock() - Keep all memory from being swapped out, if -overcommit says so
 * @v:		With its options
 * @e:		Set on failure only
 *
 * Holds for what is mapped now and later; a process that follows this one asks for it anew.
 *
 * Errors: as mlockall(2)
 * Return: 0, or a negative errno
 */
int vmm_memory_lock(struct vmm *v, struct err *e)
{
	if (!option_bool(vmm_values(v->options, VMM_OVERCOMMIT), "mem-lock", false))
		return 0;
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0) {
		err_sys(e, "lock memory");
		return err_hint(e, "raise the limit: ulimit -l, or LimitMEMLOCK= of the unit");
	}
	return 0;
}

static int control_open(struct vmm *v, struct err *e)
{
	struct control_config config = {
		.name = v->options->name,
		.uuid = v->options->uuid,
		.options = vmm_options_describe(),
	};

	return control_create(&v->control, v->loop, &config, e);
}

/**
 * vmm_start() - Build everything that the options ask for
 * @v:		@options and @loop are set
 * @e:		Set on failure only: names the argument. Clean up with vmm_stop_all() in any case
 *
 * Return: 0, or a negative errno
 */
int vmm_start(struct vmm *v, struct err *e)
{
	static int (*const steps[])(struct vmm *, struct err *) = {
		refusals,     fds_take,      chardevs_open,   serials_open,
		control_open, monitors_open, vmm_memory_lock, machine_start,
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(steps) && r == 0; i++)
		r = steps[i](v, e);
	return r;
}

/**
 * vmm_stop_all() - End everything that vmm_start() made
 * @v:		May be half started
 */
void vmm_stop_all(struct vmm *v)
{
	if (v->machine)
		machine_stop(v);
	control_destroy(v->control);
	char_remove_all();
	fdstore_clear();
}
