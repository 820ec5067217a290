/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: run at build time: the head of outlive-qmp(7) from a file, then the tables.
 */
#include "control/control.h"

int main(int argc, char **argv)
{
	FILE *head = argc > 1 ? fopen(argv[1], "r") : NULL;
	int c;

	if (!head)
		return 1;
	while ((c = getc(head)) != EOF)
		putchar(c);
	fclose(head);
	control_manual(stdout);
	return 0;
}
