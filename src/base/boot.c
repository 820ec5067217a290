/* SPDX-License-Identifier: Apache-2.0 */
#include "base/boot.h"

#include "base/owned.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define ID_CHARS 36

/**
 * boot_id() - Which boot of which host this is
 * @ret:	Filled in
 *
 * Source: Linux, Documentation/admin-guide/sysctl/kernel.rst, random/boot_id
 */
void boot_id(char ret[BOOT_ID_BYTES])
{
	OWNED_FD fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	memset(ret, 0, BOOT_ID_BYTES);
	if (fd < 0 || read(fd, ret, ID_CHARS) < 0)
		memset(ret, 0, BOOT_ID_BYTES);
}
