/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a target in a control group whose memory is limited is killed by the kernel
 * when the guest's memory has come, and can't say why. So it looks before: what the group and those
 * above it allow is no less than what the guest may use. Huge pages and files on disks don't count
 * there.
 */
#include "vmm/q35/migration/room.h"

#include "base/owned.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

/* A file's first bytes; "" if there are none. */
static void read_some(const char *path, char *text, size_t size)
{
	OWNED_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, size - 1);

	text[n > 0 ? n : 0] = '\0';
}

/* The least that a group and those above it allow; UINT64_MAX: there is no limit. */
static uint64_t least(const char *mount, const char *group, const char *file)
{
	OWNED(char) *at = str_dup(group);
	uint64_t limit = UINT64_MAX;
	char text[32], *end;

	for (;;) {
		OWNED(char) *path = str_printf("%s%s/%s", mount, at, file);
		uint64_t one;

		read_some(path, text, sizeof(text));
		one = strtoull(text, &end, 10);
		if (end != text)
			limit = MIN(limit, one); /* "max" is none */
		end = strrchr(at, '/');
		if (!end)
			return limit;
		*end = '\0';
	}
}

/* A line of /proc/self/cgroup: NUMBER:CONTROLLERS:GROUP, without controllers for version 2. */
static uint64_t limit_of(const char *line)
{
	const char *controllers = strchr(line, ':');
	const char *group = controllers ? strchr(controllers + 1, ':') : NULL;

	if (!group)
		return UINT64_MAX;
	if (group == controllers + 1)
		return least("/sys/fs/cgroup", group + 1, "memory.max");
	return strncmp(controllers, ":memory:", 8) != 0
		       ? UINT64_MAX
		       : least("/sys/fs/cgroup/memory", group + 1, "memory.limit_in_bytes");
}

static uint64_t limit_here(void)
{
	char text[4096], *rest = NULL;
	uint64_t limit = UINT64_MAX;

	read_some("/proc/self/cgroup", text, sizeof(text));
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		limit = MIN(limit, limit_of(line));
	return limit;
}

static uint64_t counted(const struct memory *memory)
{
	struct ram_block *b;
	uint64_t bytes = 0;
	struct statfs fs;

	list_for_each (b, &memory->blocks, link)
		if (!b->readonly && fstatfs(b->fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC)
			bytes += b->size;
	return bytes;
}

/**
 * room_check() - Would the kernel let this process have all of the guest's memory?
 * @memory:	The guest's
 * @found:	Gets a sentence if it wouldn't
 */
void room_check(const struct memory *memory, json_t *found)
{
	uint64_t limit = limit_here(), need = counted(memory);

	if (limit >= need)
		return;
	json_array_append_new(
		found,
		json_sprintf("memory: the target's control group may have %llu MiB, the guest has "
			     "%llu: raise its limit (memory.max, systemd's MemoryMax=, libvirt's "
			     "<hard_limit>)",
			     (unsigned long long)(limit >> 20), (unsigned long long)(need >> 20)));
}
