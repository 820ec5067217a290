/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: going back to a point, and points forgotten; the machine does it. */
#include "control/command.h"

static const struct option disk_fields[] = {
	{"filename", OPTION_STRING, "the disk's image", .required = true},
	{"file", OPTION_STRING, "the point's file for it", .required = true},
	{"older", OPTION_STRING, "dropping: the file of the point before, which goes on"},
	{"image", OPTION_STRING,
	 "going back: the image that the file is of, while filename is a copy of it"},
	{"unchecked", OPTION_BOOL, "going back: not the first file for this disk"},
	OPTIONS_END,
};

static const struct option rollback_args[] = {
	{"uri", OPTION_STRING, "the snapshot: file:PATH or lazy:PATH", .required = true},
	{"disks", OPTION_OBJECT, "points of disks, the newest first", .required = true,
	 .list = true, .fields = disk_fields, .type = "OutlivePoint"},
	{"force", OPTION_BOOL, "also if a point can't be trusted"},
	OPTIONS_END,
};

static const struct option drop_args[] = {
	{"disks", OPTION_OBJECT, "points of disks", .required = true, .list = true,
	 .fields = disk_fields, .type = "OutlivePoint"},
	OPTIONS_END,
};

static const struct option job_args[] = {
	{"job-id", OPTION_STRING, "name of the job", .required = true},
	{"tag", OPTION_STRING, "name of the snapshot", .required = true},
	{"vmstate", OPTION_STRING, "node beside whose image the files are", .required = true},
	{"devices", OPTION_STRING, "nodes of the disks that belong to it", .required = true,
	 .list = true},
	OPTIONS_END,
};

static const struct option delete_args[] = {
	{"job-id", OPTION_STRING, "name of the job", .required = true},
	{"tag", OPTION_STRING, "name of the snapshot", .required = true},
	{"devices", OPTION_STRING, "nodes of disks; the files are beside the first one's image",
	 .required = true, .list = true},
	OPTIONS_END,
};

const struct command commands_snapshot[] = {
	{"snapshot-save", job_args, .op = COMMAND_OP(snapshot_save),
	 .help = "keep memory, devices and disks of this moment"},
	{"snapshot-load", job_args, .op = COMMAND_OP(snapshot_load), .help = "go back to it"},
	{"snapshot-delete", delete_args, .op = COMMAND_OP(snapshot_delete), .help = "forget it"},
	{"outlive-rollback", rollback_args, .op = COMMAND_OP(rollback),
	 .help = "make the disks what they were, and load the snapshot in place"},
	{"outlive-point-keep", drop_args, .op = COMMAND_OP(point_keep),
	 .help = "a point is known: the one before needn't be whole without it any more"},
	{"outlive-point-drop", drop_args, .op = COMMAND_OP(point_drop),
	 .help = "keep no more what disks were"},
	{0},
};
