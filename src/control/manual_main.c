/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: run at build time, with the name of a page and the file that has its head:
 * outlive-qmp(7) and outlive-devices(7) are that head, then the tables.
 */
#include "control/control.h"
#include "device/device.h"

#include <string.h>

static const struct page {
	const char *name;
	void (*write)(FILE *out);
} pages[] = {
	{"qmp", control_manual},
	{"devices", device_manual},
};

static void (*page_find(const char *name))(FILE *)
{
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		if (!strcmp(pages[i].name, name))
			return pages[i].write;
	return NULL;
}

int main(int argc, char **argv)
{
	FILE *head = argc == 3 ? fopen(argv[2], "r") : NULL;
	void (*write)(FILE * out) = head ? page_find(argv[1]) : NULL;
	int c;

	if (!write)
		return 1;
	while ((c = getc(head)) != EOF)
		putchar(c);
	fclose(head);
	write(stdout);
	return 0;
}
