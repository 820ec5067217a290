/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: disk images in other formats than raw begin with a signature. A guest that
 * was given such a file as a raw disk would see the format's tables where its own data should be,
 * and write over them.
 */
#include "base/image.h"

#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const struct {
	const char *format, *bytes;
	size_t at, len;
} signatures[] = {
	{"qcow2", "QFI\xfb", 0, 4}, {"qed", "QED", 0, 4},       {"vmdk", "KDMV", 0, 4},
	{"vpc", "conectix", 0, 8},  {"vhdx", "vhdxfile", 0, 8}, {"vdi", "\x7f\x10\xda\xbe", 64, 4},
};

/**
 * image_check_raw() - Refuse an image that says it isn't raw
 * @path:	The file; one that can't be read is for who opens it to complain about
 * @e:		Set on failure only: the format, and how to make a raw image of it
 *
 * Errors: ENOTSUP
 * Return: 0, or -ENOTSUP
 */
int image_check_raw(const char *path, struct err *e)
{
	OWNED_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char head[68] = "";

	if (fd < 0 || read(fd, head, sizeof(head)) < (ssize_t)sizeof(head))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(signatures); i++)
		if (!memcmp(head + signatures[i].at, signatures[i].bytes, signatures[i].len))
			return err_set(e, ENOTSUP,
				       "%s is a %s image, only raw ones are served: qemu-img "
				       "convert -O raw makes one",
				       path, signatures[i].format);
	return 0;
}
