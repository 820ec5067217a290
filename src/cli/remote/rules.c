/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what is called one thing on the source's host may be called another here.
 * Rules say so, one a line, "KIND OLD = NEW" with a '#' in front of comments: in a file of this
 * host (/etc/outlive/receive.conf), in one of the user (~/.config/outlive/receive.conf), and with
 * the command (--map KIND:OLD=NEW). The command's come first, then the user's, then the host's;
 * among those of one place the longest OLD that fits. A path fits if it is OLD or lies below it;
 * taps, bridges and hosts have to be equal.
 */
#include "cli/remote/remote.h"

#include "base/nearest.h"
#include "base/option.h"
#include "base/owned.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const kinds[] = {"path", "tap", "bridge", "host", NULL};
const char *const rules_file_all = "/etc/outlive/receive.conf";

static char *trimmed(const char *from, size_t len)
{
	char *text;

	for (; len && isspace((unsigned char)*from); len--)
		from++;
	while (len && isspace((unsigned char)from[len - 1]))
		len--;
	text = mem_zalloc(len + 1);
	memcpy(text, from, len);
	return text;
}

static bool is_kind(const char *word)
{
	for (size_t i = 0; kinds[i]; i++)
		if (!strcmp(word, kinds[i]))
			return true;
	return false;
}

/* "KIND OLD = NEW" or "KIND:OLD=NEW" onto @list. */
static int rule_parse(const char *text, json_t *list, struct err *e)
{
	size_t n = strcspn(text, " \t:");
	const char *equals = strchr(text, '=');
	OWNED(char) *kind = trimmed(text, n), *from = NULL, *to = NULL;

	if (!is_kind(kind)) {
		err_set(e, EINVAL, "'%s': '%s' is none of path, tap, bridge, host", text, kind);
		return err_nearest(e, nearest_string(kind, kinds));
	}
	if (!equals || strchr(equals + 1, '='))
		return err_set(e, EINVAL, "'%s' isn't %s OLD = NEW", text, kind);
	from = trimmed(text + n + 1, (size_t)(equals - text) - n - 1);
	to = trimmed(equals + 1, strlen(equals + 1));
	if (!*from || !*to || (!strcmp(kind, "path") && (*from != '/' || *to != '/')))
		return err_set(e, EINVAL, "'%s': %s", text,
			       !strcmp(kind, "path") ? "both paths begin with '/'"
						     : "a name is missing");
	json_array_append_new(list,
			      json_pack("{s:s, s:s, s:s}", "kind", kind, "from", from, "to", to));
	return 0;
}

/* A file that isn't there has no rules. */
static int file_load(const char *path, json_t *levels, struct err *e)
{
	FILE *f = fopen(path, "re");
	json_t *list = json_array();
	OWNED(char) *line = NULL;
	size_t size = 0;
	int r = 0;

	json_array_append_new(levels, list);
	if (!f)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(e, "%s", path);
	for (int number = 1; r >= 0 && getline(&line, &size, f) > 0; number++) {
		OWNED(char) *text = trimmed(line, strcspn(line, "#\n"));

		r = *text ? rule_parse(text, list, e) : 0;
		if (r < 0)
			err_in(e, "%s:%d", path, number);
	}
	fclose(f);
	return r;
}

static char *file_own(void)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

	if (config && *config == '/')
		return str_printf("%s/outlive/receive.conf", config);
	return str_printf("%s/.config/outlive/receive.conf", home && *home ? home : "");
}

/**
 * rules_load() - Read all rules
 * @given:	With the command: strings "KIND:OLD=NEW"; may be NULL
 * @ret:	Set on success only; new reference, for rules_map()
 * @e:		Set on failure only, with file and line
 *
 * Errors: EINVAL a rule can't be understood; else as open(2)
 * Return: 0, or a negative errno
 */
int rules_load(const json_t *given, json_t **ret, struct err *e)
{
	OWNED_JSON *levels = json_array();
	OWNED(char) *own = file_own();
	const char *all = getenv("OUTLIVE_RECEIVE_CONF");
	json_t *list = json_array(), *one;
	size_t i;
	int r = 0;

	json_array_append_new(levels, list);
	json_array_foreach (given, i, one) {
		r = rule_parse(json_string_value(one), list, e);
		if (r < 0)
			return err_in(e, "--map");
	}
	r = file_load(own, levels, e);
	if (r >= 0)
		r = file_load(all && *all ? all : rules_file_all, levels, e);
	if (r >= 0)
		*ret = json_take(&levels);
	return r;
}

static bool fits(const json_t *rule, const char *kind, const char *name)
{
	const char *from = option_str(rule, "from", "");
	size_t n = strlen(from);

	if (strcmp(option_str(rule, "kind", ""), kind) || strncmp(name, from, n))
		return false;
	return !name[n] || (!strcmp(kind, "path") && (name[n] == '/' || from[n - 1] == '/'));
}

static const json_t *best(const json_t *list, const char *kind, const char *name)
{
	const json_t *found = NULL;
	json_t *rule;
	size_t i;

	json_array_foreach (list, i, rule) {
		if (fits(rule, kind, name) &&
		    (!found ||
		     strlen(option_str(rule, "from", "")) > strlen(option_str(found, "from", ""))))
			found = rule;
	}
	return found;
}

/**
 * rules_map() - What a name of the source's host is called here
 * @rules:	From rules_load(); NULL: none
 * @kind:	"path", "tap", "bridge" or "host"
 * @name:	Over there
 *
 * Return: the caller frees it
 */
char *rules_map(const json_t *rules, const char *kind, const char *name)
{
	const json_t *rule = NULL;

	for (size_t i = 0; !rule && i < json_array_size(rules); i++)
		rule = best(json_array_get(rules, i), kind, name);
	if (!rule)
		return str_dup(name);
	return str_printf("%s%s", option_str(rule, "to", ""),
			  name + strlen(option_str(rule, "from", "")));
}
