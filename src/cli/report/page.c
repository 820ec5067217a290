/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: see report.h. Here: the page, one file that needs no other. Style and
 * drawing are files of the tree (report/), compiled in; the pictures are JSON in a script element,
 * where nothing may look like its end.
 */
#include "cli/report/report.h"

#include "base/owned.h"
#include "cli/report_style.h"
#include "cli/report_timeline.h"

#include <errno.h>
#include <string.h>

static const char head[] = "<!DOCTYPE html>\n<html lang=en><meta charset=utf-8>\n"
			   "<meta name=viewport content='width=device-width'>\n"
			   "<title>Time line</title>\n<style>\n";

static void write_pictures(FILE *out, const json_t *pictures)
{
	OWNED(char *) text = json_dumps(pictures, JSON_COMPACT);

	for (const char *c = text; *c; c++) {
		if (*c == '<')
			fputs("\\u003c", out);
		else
			fputc(*c, out);
	}
}

static void write_page(FILE *out, const json_t *pictures)
{
	fputs(head, out);
	fwrite(report_style, 1, sizeof(report_style), out);
	fputs("</style>\n<main id=timelines></main>\n<script>\n", out);
	fwrite(report_timeline, 1, sizeof(report_timeline), out);
	fputs("timelines(document.getElementById('timelines'), ", out);
	write_pictures(out, pictures);
	fputs(");\n</script>\n</html>\n", out);
}

/**
 * report_page() - Write the page
 * @path:	File, replaced; "-": standard output
 * @pictures:	Array
 * @e:		Set on failure only
 *
 * Errors: as fopen(3), fclose(3)
 * Return: 0, or a negative errno
 */
int report_page(const char *path, const json_t *pictures, struct err *e)
{
	FILE *out = strcmp(path, "-") ? fopen(path, "we") : stdout;
	int failed;

	if (!out)
		return err_sys(e, "%s", path);
	write_page(out, pictures);
	failed = fflush(out) != 0 || ferror(out);
	if (failed)
		err_sys(e, "%s", path);
	if (out != stdout && fclose(out) != 0 && !failed)
		return err_sys(e, "%s", path);
	return failed ? -EIO : 0;
}
