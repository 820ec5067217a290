/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the clone's command line is the guest's, word by word, but for what makes
 * one guest another: name, UUID, the paths in its folder, its disks' files, its networks, the
 * addresses of its interfaces, its generation id. Values in both of QEMU's spellings are parsed,
 * changed and written again. What else it names (sockets, ports given behind "--") must be free for
 * a second process; its VMM says so if it isn't.
 */
#include "cli/snapshot/clone.h"

#include "base/option.h"
#include "base/owned.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

/**
 * struct words - The command line on its way
 * @c:		The clone
 * @netdev:	Networks so far
 */
struct words {
	struct clone *c;
	size_t netdev;
};

/* @values as they were given. The caller frees it. */
static char *to_text(const json_t *values, bool as_json)
{
	char *text = str_dup("");
	const char *key;
	json_t *v;

	if (as_json) {
		free(text);
		return json_dumps(values, JSON_COMPACT);
	}
	json_object_foreach ((json_t *)(uintptr_t)values, key, v) {
		size_t n = json_is_array(v) ? json_array_size(v) : 1;

		for (size_t i = 0; i < n; i++) {
			const json_t *one = json_is_array(v) ? json_array_get(v, i) : v;
			OWNED(char *) value = cli_escaped(json_string_value(one));
			char *longer = str_printf("%s%s%s=%s", text, *text ? "," : "", key, value);

			free(text);
			text = longer;
		}
	}
	return text;
}

/* Every string in @v that names an image becomes that of its copy. */
static void images_replace(const struct clone *c, json_t *v)
{
	const char *key;
	json_t *one, *d;
	void *next;
	size_t i;

	json_object_foreach_safe (v, next, key, one) {
		if (json_is_object(one))
			images_replace(c, one);
		json_array_foreach (c->disks, i, d)
			if (json_equal(one, json_object_get(d, "image")))
				json_object_set(v, key, json_object_get(d, "copy"));
	}
}

static int mac_draw(char ret[18], struct err *e)
{
	uint8_t b[3];

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		return err_sys(e, "getrandom");
	snprintf(ret, 18, "52:54:00:%02x:%02x:%02x", b[0], b[1], b[2]);
	return 0;
}

static int device_change(struct words *w, json_t *values, struct err *e)
{
	const char *driver = option_str(values, "driver", "");
	char mac[18];
	int r;

	if (!strcmp(driver, "vmgenid"))
		json_object_del(values, "guid");
	if (strncmp(driver, "virtio-net", 10) != 0)
		return 0;
	r = mac_draw(mac, e);
	if (r < 0)
		return r;
	json_object_set_new(values, "mac", json_string(mac));
	json_array_append_new(w->c->macs, json_string(mac));
	return 0;
}

/* The next --net takes the place of this network; its id stays. */
static int netdev_change(struct words *w, const json_t *values, char **ret, struct err *e)
{
	const json_t *nets = json_object_get(w->c->args->values, "net");
	const char *id = option_str(values, "id", "");
	const char *net = json_string_value(json_array_get(nets, w->netdev++));

	if (!net) {
		err_set(e, EINVAL, "the guest has more networks than --net gives, '%s' among them",
			id);
		return err_hint(e, "two guests can't have one: --net tap=NAME, stream=SOCKET or "
				   "none for each");
	}
	return cli_netdev(net, id, ret, e);
}

/* Is there a network of this id on the new command line? */
static bool has_netdev(const json_t *argv, const char *id)
{
	OWNED(char *) with = str_printf(",id=%s,", id);
	json_t *word;
	size_t i;

	json_array_foreach (argv, i, word)
		if (!strcmp(json_string_value(word), "-netdev") &&
		    strstr(json_string_value(json_array_get(argv, i + 1)), with))
			return true;
	return false;
}

/* The paths in the guest's folder become those in the clone's. */
static char *moved(const struct clone *c, const char *text)
{
	OWNED(char *) old = str_printf("%s/", c->from->dir);
	const char *at = strstr(text, old);
	char *rest, *all;

	if (!at)
		return str_dup(text);
	rest = moved(c, at + strlen(old));
	all = str_printf("%.*s%s/%s", (int)(at - text), text, c->to.dir, rest);
	free(rest);
	return all;
}

/* Memory in a file of a name would be that of both guests. */
static int object_check(const json_t *values, struct err *e)
{
	const char *path = option_str(values, "mem-path", "");
	struct stat st;

	if (strcmp(option_str(values, "qom-type", ""), "memory-backend-file") != 0 ||
	    (stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
		return 0;
	return err_set(e, ENOTSUP, "memory-backend-file: two guests can't have their memory in %s",
		       path);
}

static int values_change(struct words *w, const char *option, json_t *values, struct err *e)
{
	if (!strcmp(option, "-device"))
		return device_change(w, values, e);
	if (!strcmp(option, "-object"))
		return object_check(values, e);
	if (!strcmp(option, "-smbios") && json_object_get(values, "uuid"))
		json_object_set_new(values, "uuid", json_string(w->c->uuid));
	if (!strcmp(option, "-blockdev") || !strcmp(option, "-drive"))
		images_replace(w->c, values);
	return 0;
}

static int rewrite(struct words *w, const char *option, const char *implied, const char *text,
		   struct err *e)
{
	OWNED_JSON *values = NULL;
	OWNED(char *) changed = NULL;
	bool as_json;
	int r = keyval_or_json(text, implied, &values, &as_json, e);

	if (r == 0 && !strcmp(option, "-netdev"))
		r = netdev_change(w, values, &changed, e);
	else if (r == 0)
		r = values_change(w, option, values, e);
	if (r < 0)
		return err_in(e, "%s %s", option, text);
	if (!strcmp(option, "-netdev") && !changed)
		return 0;
	if (!changed)
		changed = to_text(values, as_json);
	json_array_append_new(w->c->argv, json_string(option));
	json_array_append_new(w->c->argv, json_string(changed));
	return 0;
}

/**
 * struct word_rule - An option whose value may change
 * @option:	With its dash
 * @implied:	Key of the first value
 */
static const struct word_rule {
	const char *option, *implied;
} rules[] = {{"-device", "driver"}, {"-netdev", "type"}, {"-drive", "file"},
	     {"-blockdev", NULL},   {"-smbios", NULL},   {"-object", "qom-type"}};

static int word_take(struct words *w, const char *word, const char *next, bool *ret_both,
		     struct err *e)
{
	const char *fixed = !strcmp(word, "-name") || !strcmp(word, "-uuid") ? word : NULL;

	*ret_both = fixed != NULL;
	for (size_t i = 0; next && i < ARRAY_SIZE(rules); i++) {
		*ret_both |= !strcmp(word, rules[i].option);
		if (!strcmp(word, rules[i].option))
			return rewrite(w, word, rules[i].implied, next, e);
	}
	if (!fixed) {
		OWNED(char *) text = moved(w->c, word);

		json_array_append_new(w->c->argv, json_string(text));
	}
	return 0;
}

/* An interface whose network is gone has none. */
static int unplug(json_t *argv, struct err *e)
{
	json_t *word;
	size_t i;

	json_array_foreach (argv, i, word) {
		OWNED_JSON *values = NULL;
		OWNED(char *) text = NULL;
		const char *id;
		bool as_json;
		int r;

		if (i == 0 ||
		    strcmp(json_string_value(json_array_get(argv, i - 1)), "-device") != 0)
			continue;
		r = keyval_or_json(json_string_value(word), "driver", &values, &as_json, e);
		if (r < 0)
			return r;
		id = option_str(values, "netdev", NULL);
		if (!id || has_netdev(argv, id))
			continue;
		json_object_del(values, "netdev");
		text = to_text(values, as_json);
		json_array_set_new(argv, i, json_string(text));
	}
	return 0;
}

/**
 * clone_words() - Make the clone's command line
 * @c:		Its disks are planned; @argv, @macs and @uuid are filled in
 * @e:		Set on failure only
 *
 * Errors: EINVAL a value can't be read, or a network is missing
 * Return: 0, or a negative errno
 */
int clone_words(struct clone *c, struct err *e)
{
	const json_t *was = json_object_get(json_object_get(c->description, "launch"), "argv");
	struct words w = {.c = c};
	size_t n = json_array_size(was);
	bool both;
	int r = 0;

	c->uuid = cli_uuid();
	if (!c->uuid)
		return err_sys(e, "getrandom");
	for (size_t i = 0; i < n && r == 0; i += both ? 2 : 1)
		r = word_take(&w, json_string_value(json_array_get(was, i)),
			      json_string_value(json_array_get(was, i + 1)), &both, e);
	if (r < 0)
		return r;
	json_array_append_new(c->argv, json_string("-name"));
	json_array_append_new(c->argv, json_sprintf("guest=%s", c->to.name));
	json_array_append_new(c->argv, json_string("-uuid"));
	json_array_append_new(c->argv, json_string(c->uuid));
	return unplug(c->argv, e);
}
