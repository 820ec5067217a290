/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: the report is data; its words for people are made by the command, from this
 * JSON. */
#include "base/clock.h"
#include "upgrade/upgrade.h"

static const char *const mark_names[HANDOVER_MARKS] = {
	"pause", "stopped", "captured", "offered", "seen", "loaded", "applied", "taken", "running",
};

static json_t *marks_json(const struct upgrade_report *r)
{
	json_t *marks = json_object();

	for (int m = 0; m < HANDOVER_MARKS; m++)
		if (r->marks_ns[m] && r->marks_ns[MARK_PAUSE])
			json_object_set_new(
				marks, mark_names[m],
				json_integer((r->marks_ns[m] - r->marks_ns[MARK_PAUSE]) /
					     NS_PER_US));
	return marks;
}

static json_t *stages_json(const struct upgrade_report *r)
{
	json_t *stages = json_object();

	for (int i = 0; upgrade_stage_names[i]; i++)
		if (r->stage_us[i])
			json_object_set_new(stages, upgrade_stage_names[i],
					    json_integer(r->stage_us[i]));
	return stages;
}

/**
 * upgrade_report_json() - The report as data
 * @r:		The report
 *
 * Members: from, to: versions; stage: the last one reached; done; stages-us: how long each stage
 * took; pause-us: moments after the guest was asked to stop ("running" is the whole pause as the
 * host sees it).
 *
 * Return: new reference
 */
json_t *upgrade_report_json(const struct upgrade_report *r)
{
	return json_pack("{s:s, s:s, s:s, s:b, s:o, s:o}", "from", r->from, "to", r->to, "stage",
			 r->stage, "done", r->done, "stages-us", stages_json(r), "pause-us",
			 marks_json(r));
}
