/* SPDX-License-Identifier: Apache-2.0 */
/* The section that says what the guest was doing: QEMU's run state by name. */
#include "migrate/configuration.h"
#include "migrate/devices.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/**
 * struct globalstate - Section "globalstate"
 * @size:	Bytes of @runstate in use, with the final 0
 * @runstate:	Name of the run state
 */
struct globalstate {
	uint32_t size;
	char runstate[100];
};

static int globalstate_check(const void *state, unsigned int version, struct err *e)
{
	const struct globalstate *g = state;

	if (!memchr(g->runstate, '\0', sizeof(g->runstate)))
		return err_set(e, EINVAL, "runstate: not terminated");
	return 0;
}

static const struct state_field globalstate_fields[] = {
	FIELD("size", struct globalstate, size), FIELD("runstate", struct globalstate, runstate),
	FIELDS_END};

static const struct state_table globalstate_table = {.name = "globalstate",
						     .version = 1,
						     .min_version = 1,
						     .size = sizeof(struct globalstate),
						     .fields = globalstate_fields,
						     .check = globalstate_check};

/**
 * globalstate_save() - Write the section's payload
 * @job:	Its options name the run state
 * @w:		Gets the bytes
 * @desc:	Gets the description
 */
void globalstate_save(struct migrate_job *job, struct state_writer *w, json_t *desc)
{
	struct globalstate g = {0};

	snprintf(g.runstate, sizeof(g.runstate), "%s",
		 job->options.runstate ? job->options.runstate : "running");
	g.size = (uint32_t)strlen(g.runstate) + 1;
	state_save_described(&globalstate_table, &g, w, desc);
}

/**
 * globalstate_load() - Read the section's payload
 * @job:	Gets the run state
 * @version:	As the stream says
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int globalstate_load(struct migrate_job *job, uint32_t version, struct err *e)
{
	struct state_reader r = reader_on(job->channel);
	struct globalstate g = {0};
	int ret = state_load(&globalstate_table, &g, version, &r, e);

	reader_done(&r);
	if (ret == 0)
		memcpy(job->runstate, g.runstate, sizeof(job->runstate));
	return ret;
}
