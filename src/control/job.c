/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a job is work that goes on after the command that began it was answered. It
 *is listed with its progress, every change of its status is an event, and it stays listed when
 *concluded until somebody has read its result and says job-dismiss.
 *
 *	CREATED -> RUNNING -> [ABORTING if it failed | WAITING -> PENDING] -> CONCLUDED -> NULL
 */
#include "base/owned.h"
#include "control/command.h"

#include <errno.h>
#include <string.h>

/**
 * struct control_job - One job
 */
struct control_job {
	struct list link;
	struct control *control;
	char *id, *type;
	enum control_job_status status;
	uint64_t current, total;
	struct err e;
	void (*cancel)(void *opaque);
	void *opaque;
};

static const char *status_name(enum control_job_status s)
{
	static const char *const names[] = {
		[JOB_CREATED] = "created",     [JOB_RUNNING] = "running",
		[JOB_WAITING] = "waiting",     [JOB_PENDING] = "pending",
		[JOB_CONCLUDED] = "concluded", [JOB_ABORTING] = "aborting",
		[JOB_NULL] = "null",
	};

	return names[s];
}

static void enter(struct control_job *j, enum control_job_status s)
{
	j->status = s;
	control_event(j->control, "JOB_STATUS_CHANGE",
		      json_pack("{s:s, s:s}", "status", status_name(s), "id", j->id));
}

static struct control_job *job_find(struct control *c, const char *id)
{
	struct control_job *j;

	list_for_each (j, &c->jobs, link)
		if (!strcmp(j->id, id))
			return j;
	return NULL;
}

/**
 * control_job_create() - A job that runs from now on
 * @c:		QMP
 * @id:		Copied
 * @type:	Copied ("snapshot-save", "upgrade")
 * @cancel:	Called by job-cancel; NULL: it can't be
 * @opaque:	Its argument
 * @ret:	Set on success only; ends by control_job_conclude()
 * @e:		Set on failure only
 *
 * Errors: EEXIST the id is taken
 * Return: 0, or a negative errno
 */
int control_job_create(struct control *c, const char *id, const char *type,
		       void (*cancel)(void *opaque), void *opaque, struct control_job **ret,
		       struct err *e)
{
	struct control_job *j;

	if (job_find(c, id))
		return err_set(e, EEXIST, "Job ID '%s' already in use", id);
	j = mem_zalloc(sizeof(*j));
	*j = (struct control_job){.control = c,
				  .id = str_dup(id),
				  .type = str_dup(type),
				  .cancel = cancel,
				  .opaque = opaque};
	list_add_tail(&c->jobs, &j->link);
	enter(j, JOB_CREATED);
	enter(j, JOB_RUNNING);
	*ret = j;
	return 0;
}

/**
 * control_job_running() - Is some job under way?
 * @c:		QMP
 *
 * Return: the id of the first that isn't concluded, or NULL
 */
const char *control_job_running(const struct control *c)
{
	const struct control_job *j;

	list_for_each (j, &c->jobs, link)
		if (j->status < JOB_CONCLUDED)
			return j->id;
	return NULL;
}

/**
 * control_job_conclude() - It is done
 * @j:		The job; stays listed until job-dismiss, the caller forgets it
 * @e:		If it failed, else NULL
 */
void control_job_conclude(struct control_job *j, const struct err *e)
{
	j->cancel = NULL;
	if (e) {
		j->e = *e;
		enter(j, JOB_ABORTING);
	} else {
		enter(j, JOB_WAITING);
		enter(j, JOB_PENDING);
	}
	enter(j, JOB_CONCLUDED);
}

static void job_free(struct control_job *j)
{
	list_del(&j->link);
	free(j->id);
	free(j->type);
	free(j);
}

/**
 * jobs_release() - Forget all jobs, at exit
 * @c:		QMP
 */
void jobs_release(struct control *c)
{
	struct control_job *j, *tmp;

	list_for_each_safe (j, tmp, &c->jobs, link)
		job_free(j);
}

static int query_jobs(struct control *c, struct control_request *rq, const json_t *args,
		      json_t **ret, struct err *e)
{
	struct control_job *j;

	*ret = json_array();
	list_for_each (j, &c->jobs, link) {
		json_t *one = json_pack("{s:s, s:s, s:s, s:I, s:I}", "id", j->id, "type", j->type,
					"status", status_name(j->status), "current-progress",
					(json_int_t)j->current, "total-progress",
					(json_int_t)j->total);

		if (j->e.code)
			json_object_set_new(one, "error", json_string(j->e.msg));
		json_array_append_new(*ret, one);
	}
	return 0;
}

static struct control_job *job_of(struct control *c, const json_t *args, struct err *e)
{
	struct control_job *j = job_find(c, option_str(args, "id", ""));

	if (!j)
		err_set(e, ENOENT, "Job not found");
	return j;
}

static int job_dismiss(struct control *c, struct control_request *rq, const json_t *args,
		       json_t **ret, struct err *e)
{
	struct control_job *j = job_of(c, args, e);

	if (!j)
		return -ENOENT;
	if (j->status != JOB_CONCLUDED)
		return err_set(e, EBUSY,
			       "Job '%s' in state '%s' cannot accept command verb 'dismiss'", j->id,
			       status_name(j->status));
	enter(j, JOB_NULL);
	job_free(j);
	return 0;
}

static int job_cancel(struct control *c, struct control_request *rq, const json_t *args,
		      json_t **ret, struct err *e)
{
	struct control_job *j = job_of(c, args, e);

	if (!j)
		return -ENOENT;
	if (!j->cancel)
		return err_set(e, EBUSY,
			       "Job '%s' in state '%s' cannot accept command verb 'cancel'", j->id,
			       status_name(j->status));
	j->cancel(j->opaque);
	return 0;
}

static const struct option id_args[] = {
	{"id", OPTION_STRING, "the job", .required = true},
	OPTIONS_END,
};

const struct command commands_job[] = {
	{"query-jobs", NULL, "[JobInfo]", query_jobs, .help = "jobs and their progress"},
	{"job-dismiss", id_args, NULL, job_dismiss, .help = "forget a concluded job"},
	{"job-cancel", id_args, NULL, job_cancel, .help = "ask a job to give up"},
	{0},
};
