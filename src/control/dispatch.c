/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: from a JSON message to a call. The message must be {"execute": NAME,
 * "arguments": {...}, "id": ANY} ("exec-oob" in place of "execute" for commands that may). The
 * arguments are checked against the command's row, so a command's function finds every required
 * argument, of the right type, and nothing else.
 */
#include "base/log.h"
#include "base/nearest.h"
#include "base/owned.h"
#include "control/command.h"

#include <errno.h>
#include <string.h>

static const struct option message_fields[] = {
	{"execute", OPTION_STRING, "command"},
	{"exec-oob", OPTION_STRING, "command, out of band"},
	{"arguments", OPTION_OBJECT, "its arguments"},
	{"id", OPTION_ANY, "repeated in the answer"},
	OPTIONS_END,
};

/**
 * error_class() - QMP's class of an error
 * @e:		The error
 *
 * Source: QEMU's qapi/error.json
 * Return: a constant
 */
const char *error_class(const struct err *e)
{
	switch (e->code) {
	case ENOSYS: return "CommandNotFound";
	case ENXIO: return "DeviceNotFound";
	case ENODEV: return "DeviceNotActive";
	default: return "GenericError";
	}
}

/* Is this command allowed now? */
static int admit(const struct monitor *m, const struct command *cmd, bool oob, struct err *e)
{
	bool negotiates = cmd->flags & COMMAND_NEGOTIATE;

	if (!m->negotiated && !negotiates)
		return err_set(e, ENOSYS,
			       "Expecting capabilities negotiation with 'qmp_capabilities'");
	if (m->negotiated && negotiates)
		return err_set(e, ENOSYS,
			       "Capabilities negotiation is already complete, command ignored");
	if (oob && !m->oob)
		return err_set(e, EINVAL, "exec-oob needs the capability 'oob'");
	if (oob && !(cmd->flags & COMMAND_OOB))
		return err_set(e, EINVAL, "The command %s does not support OOB", cmd->name);
	return 0;
}

static int find(const struct monitor *m, const char *name, const struct command **ret,
		struct err *e)
{
	*ret = command_find(name);
	if (*ret)
		return 0;
	if (!m->negotiated)
		return err_set(e, ENOSYS,
			       "Expecting capabilities negotiation with 'qmp_capabilities'");
	if (command_absence(name))
		return err_set(e, ENOSYS, "The command %s has not been found: %s", name,
			       command_absence(name));
	err_set(e, ENOSYS, "The command %s has not been found", name);
	return err_nearest(e, command_nearest(name));
}

static int args_check(const struct command *cmd, const json_t *args, json_t **ret, struct err *e)
{
	OWNED_JSON *known = json_object();
	const char *key;
	json_t *v;
	int r;

	if (!(cmd->flags & COMMAND_OPEN))
		return option_check(cmd->args, args, OPTION_STRICT, ret, e);
	json_object_foreach ((json_t *)(uintptr_t)args, key, v)
		if (option_find(cmd->args, key))
			json_object_set(known, key, v);
	r = option_check(cmd->args, known, OPTION_STRICT, ret, e);
	if (r == 0)
		json_object_update_missing(*ret, (json_t *)(uintptr_t)args);
	return r;
}

/**
 * request_create() - Check a message
 * @m:		Where it came from
 * @message:	Borrowed
 * @e:		Set on failure only
 *
 * Return: the request, or NULL
 */
struct control_request *request_create(struct monitor *m, json_t *message, struct err *e)
{
	bool oob = json_object_get(message, "exec-oob");
	const char *name = option_str(message, oob ? "exec-oob" : "execute", NULL);
	OWNED_JSON *checked = NULL;
	OWNED_JSON *none = json_object();
	OWNED_JSON *args = NULL;
	json_t *given = json_object_get(message, "arguments");
	const struct command *cmd;
	struct control_request *rq;

	if (option_check(message_fields, message, OPTION_STRICT, &checked, e) < 0)
		return NULL;
	if (!name || (oob && json_object_get(message, "execute"))) {
		err_set(e, EINVAL, "QMP input lacks member 'execute'");
		return NULL;
	}
	if (find(m, name, &cmd, e) < 0 || admit(m, cmd, oob, e) < 0)
		return NULL;
	if (args_check(cmd, given ? given : none, &args, e) < 0) {
		err_in(e, "%s", name);
		e->code = EINVAL;
		return NULL;
	}
	rq = mem_zalloc(sizeof(*rq));
	*rq = (struct control_request){.control = m->control,
				       .monitor = m,
				       .command = cmd,
				       .args = json_take(&args),
				       .id = json_incref(json_object_get(message, "id")),
				       .oob = oob};
	list_init(&rq->link);
	return rq;
}

/**
 * request_free() - Release a request that needs no answer
 * @rq:		Gone afterwards
 */
void request_free(struct control_request *rq)
{
	list_del(&rq->link);
	json_decref(rq->args);
	json_decref(rq->id);
	free(rq);
}

static int call(struct control_request *rq, json_t **ret, struct err *e)
{
	const struct control_ops *ops = rq->control->ops;
	const struct command *cmd = rq->command;
	OWNED_JSON *rewritten = NULL;
	control_op *op = NULL;

	if (cmd->fn)
		return cmd->fn(rq->control, rq, rq->args, ret, e);
	if (ops)
		op = *(control_op *const *)((const char *)ops + cmd->op);
	if (!op)
		return err_set(e, ENOTSUP, "%s: this machine doesn't have it", cmd->name);
	if (cmd->rewrite && cmd->rewrite(rq->args, &rewritten, e) < 0)
		return -e->code;
	return op(ops->opaque, rq, rewritten ? rewritten : rq->args, ret, e);
}

/**
 * request_run() - Run a command; the answer goes out now or later
 * @rq:		May be gone afterwards
 */
void request_run(struct control_request *rq)
{
	struct err e = {0};
	json_t *ret = NULL;
	int r;

	TRACE(qmp_command, "%s", rq->command->name);
	if (!rq->oob)
		rq->monitor->running = rq;
	r = call(rq, &ret, &e);
	if (r == CONTROL_LATER) {
		list_add_tail(&rq->control->orphans, &rq->link);
		return;
	}
	monitor_answer(rq, ret, r < 0 ? &e : NULL);
}

/**
 * control_complete() - Answer a command that returned CONTROL_LATER
 * @rq:		Gone afterwards
 * @ret:	Taken; NULL: {}
 * @e:		If it failed, else NULL
 */
void control_complete(struct control_request *rq, json_t *ret, const struct err *e)
{
	monitor_answer(rq, ret, e);
}

/**
 * control_take_fd() - A descriptor that came with a request
 * @rq:		The request
 *
 * Return: the oldest one not taken yet, owned by the caller; -1: none
 */
int control_take_fd(struct control_request *rq)
{
	struct monitor *m = rq->monitor;
	int fd;

	if (!m || !m->fds_len)
		return -1;
	fd = m->fds[0];
	memmove(m->fds, m->fds + 1, --m->fds_len * sizeof(m->fds[0]));
	return fd;
}
