/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: see control.h for the room; this file makes and ends it, and lists the
 * groups of commands. */
#include "control/control.h"

#include "base/nearest.h"
#include "base/owned.h"
#include "control/command.h"

#include <string.h>

const struct command *const command_groups[] = {
	commands_protocol,
	commands_run,
	commands_machine,
	commands_device,
	commands_block,
	commands_char,
	commands_fd,
	commands_migrate,
	commands_upgrade,
	commands_memory,
	commands_job,
	commands_snapshot,
	NULL,
};

/**
 * command_find() - The row of a command
 * @name:	As on the wire
 *
 * Return: the row, or NULL
 */
const struct command *command_find(const char *name)
{
	for (const struct command *const *g = command_groups; *g; g++)
		for (const struct command *c = *g; c->name; c++)
			if (!strcmp(c->name, name))
				return c;
	return NULL;
}

static const char *name_at(const void *table, size_t index)
{
	for (const struct command *const *g = table; *g; g++)
		for (const struct command *c = *g; c->name; c++)
			if (!index--)
				return c->name;
	return NULL;
}

/**
 * command_nearest() - The command most like a name that isn't one
 * @name:	What was sent
 *
 * Return: a constant, or NULL if nothing is near
 */
const char *command_nearest(const char *name)
{
	return nearest(name, command_groups, name_at);
}

/**
 * control_create() - QMP without monitors and machine
 * @ret:	Set on success only
 * @loop:	Main loop
 * @config:	Copied; what it points to is kept
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int control_create(struct control **ret, struct loop *loop, const struct control_config *config,
		   struct err *e)
{
	struct control *c = mem_zalloc(sizeof(*c));

	c->loop = loop;
	c->config = *config;
	list_init(&c->monitors);
	list_init(&c->jobs);
	list_init(&c->orphans);
	list_init(&c->limited);
	*ret = c;
	return 0;
}

/**
 * control_destroy() - End all monitors
 * @c:		May be NULL
 */
void control_destroy(struct control *c)
{
	struct monitor *m, *tmp;
	struct control_request *rq, *next;

	if (!c)
		return;
	control_flush(c);
	list_for_each_safe (m, tmp, &c->monitors, link)
		monitor_destroy(m);
	list_for_each_safe (rq, next, &c->orphans, link)
		request_free(rq);
	jobs_release(c);
	json_decref(c->config.options);
	json_decref(c->capabilities);
	json_decref(c->parameters);
	free(c);
}

/**
 * control_set_ops() - Connect the machine
 * @c:		QMP
 * @ops:	Kept; NULL: it is gone
 */
void control_set_ops(struct control *c, const struct control_ops *ops)
{
	c->ops = ops;
}

/**
 * control_flush() - Send what is waiting, as far as the clients take it
 * @c:		QMP
 */
void control_flush(struct control *c)
{
	struct monitor *m;

	events_flush(c);
	list_for_each (m, &c->monitors, link)
		monitor_flush(m);
}
