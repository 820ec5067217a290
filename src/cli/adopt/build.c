/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the other VMM's command line from the description of what runs. What the old
 * process has open and the new one needs too goes along as a descriptor: taps, and sockets that
 * listen, so that their addresses stay what they are. What can't follow is made anew, with a note.
 */
#include "cli/adopt/adopt.h"

#include "base/option.h"
#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

static bool is_on(const json_t *values, const char *key)
{
	const json_t *v = json_object_get(values, key);
	const char *s = json_string_value(v);

	return json_is_true(v) || (s && (!strcmp(s, "on") || !strcmp(s, "yes")));
}

static void inherit(int fd)
{
	fcntl(fd, F_SETFD, 0);
}

/* Character back ends. */

/* Without what says where it is. */
static json_t *elsewhere(const json_t *c)
{
	static const char *const where[] = {"path",   "host", "port",   "abstract",
					    "ipv4",   "ipv6", "to",     "tight",
					    "nowait", "fd",   "server", "wait"};
	json_t *copy = json_copy((json_t *)(uintptr_t)c);

	for (size_t i = 0; i < ARRAY_SIZE(where); i++)
		json_object_del(copy, where[i]);
	return copy;
}

/* On another host it listens at the same place, or where that host's rules say. */
static void add_listener_anew(struct move *m, const json_t *c)
{
	OWNED_JSON *o = json_copy((json_t *)(uintptr_t)c);

	if (json_object_get(o, "fd")) {
		move_block(
			m,
			"chardev %s was given as a descriptor, and nothing says where it listens",
			option_str(c, "id", ""));
		return;
	}
	json_object_del(o, "nowait");
	json_object_set_new(o, "wait", json_false());
	move_add_values(m, "-chardev", o, NULL, "backend", true);
}

static void add_listener(struct move *m, const json_t *c)
{
	const char *id = option_str(c, "id", ""), *path = option_str(c, "path", NULL);
	const char *port = option_str(c, "port", NULL), *passed = option_str(c, "fd", NULL);
	OWNED_JSON *by_fd = elsewhere(c), *by_name = json_copy((json_t *)(uintptr_t)c);
	int fd = passed ? borrow_descriptor(m, atoi(passed), by_name)
			: borrow_listener(m, path, port);

	json_object_del(by_name, "nowait");
	json_object_del(by_name, "fd");
	json_object_set_new(by_name, "wait", json_false());
	path = option_str(by_name, "path", NULL);
	if (fd < 0) {
		move_block(m, "chardev %s: its listening socket isn't found in process %d", id,
			   m->source_pid);
		return;
	}
	inherit(fd);
	json_object_set_new(by_fd, "fd", json_sprintf("%d", fd));
	json_object_set_new(by_fd, "server", json_true());
	json_object_set_new(by_fd, "wait", json_false());
	if (path && !is_on(c, "abstract"))
		json_array_append_new(m->paths, json_string(path));
	move_add_values(m, "-chardev", by_fd, by_name, "backend", true);
}

/* What ends with the old process: the guest's console moves into its folder. */
static void add_console(struct move *m, const json_t *c, bool *taken)
{
	const char *id = option_str(c, "id", "");
	OWNED_JSON *o = NULL;

	if (!m->from_qemu && !m->remote) {
		o = json_pack("{s:s, s:s}", "backend", "pty", "id", id);
		move_note(m, "chardev %s gets a new pseudo terminal, see QEMU's log", id);
	} else if (*taken) {
		o = json_pack("{s:s, s:s}", "backend", "null", "id", id);
		move_note(m, "chardev %s (%s) ends with the old process; it is unconnected now", id,
			  option_str(c, "backend", ""));
	} else {
		*taken = true;
		o = json_pack("{s:s, s:s, s:s, s:b, s:b, s:s}", "backend", "socket", "id", id,
			      "path", "@DIR@/console.sock", "server", 1, "wait", 0, "logfile",
			      "@DIR@/console.log");
		move_note(m,
			  "chardev %s (%s) ends with the old process: 'outlive console %s' is the "
			  "guest's console now",
			  id, option_str(c, "backend", ""), m->name);
	}
	move_add_values(m, "-chardev", o, NULL, "backend", true);
}

static void add_file(struct move *m, const json_t *c)
{
	OWNED_JSON *o = json_copy((json_t *)(uintptr_t)c);

	json_object_set_new(o, "append", json_true()); /* both have it open for a while */
	move_add_values(m, "-chardev", o, NULL, "backend", true);
}

static bool one_of(const char *name, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(name, *list))
			return true;
	return false;
}

static void add_chardev(struct move *m, json_t *c, bool *console)
{
	static const char *const local[] = {"stdio", "pty", "vc", "serial", "tty", NULL};
	static const char *const plain[] = {"null", "ringbuf", "memory", NULL};
	const char *backend = option_str(c, "backend", "");

	if (json_object_get(c, "logfile"))
		json_object_set_new(c, "logappend", json_true());
	if (one_of(backend, local))
		add_console(m, c, console);
	else if (!strcmp(backend, "file"))
		add_file(m, c);
	else if (!strcmp(backend, "socket") && is_on(c, "server") && m->remote)
		add_listener_anew(m, c);
	else if (!strcmp(backend, "socket") && is_on(c, "server"))
		add_listener(m, c);
	else if (!strcmp(backend, "socket") || one_of(backend, plain))
		move_add_values(m, "-chardev", c, NULL, "backend", true);
	else
		move_block(m, "chardev %s: its kind, %s, can't be carried; use a socket",
			   option_str(c, "id", ""), backend);
}

/* Network back ends. */

/* Names of the taps that netdevs name. */
static json_t *tap_names(const struct move *m)
{
	json_t *names = json_object(), *n;
	size_t i;

	json_array_foreach (json_object_get(m->config, "netdevs"), i, n) {
		if (json_object_get(n, "ifname"))
			json_object_set_new(names, option_str(n, "ifname", ""), json_true());
	}
	return names;
}

static char *fd_list(const struct tap *taps, size_t len)
{
	char *list = str_dup("");

	for (size_t i = 0; i < len; i++) {
		char *longer = str_printf("%s%s%d", list, i ? ":" : "", taps[i].fd);

		inherit(taps[i].fd);
		free(list);
		list = longer;
	}
	return list;
}

static json_t *tap_record(const char *id, const char *ifname, size_t queues)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s}", "type", "tap", "id", id, "ifname",
			      ifname, "script", "no", "downscript", "no");

	if (queues > 1)
		json_object_set_new(o, "queues", json_integer((json_int_t)queues));
	return o;
}

static void tap_notes(struct move *m, const json_t *n)
{
	const char *id = option_str(n, "id", "");

	if (is_on(n, "vhost"))
		move_note(m, "netdev %s: packets go through the VMM from now on, not through vhost",
			  id);
	if (m->from_qemu && !strcmp(option_str(n, "type", ""), "tap") &&
	    !json_object_get(n, "fd") && !json_object_get(n, "fds") &&
	    strcmp(option_str(n, "downscript", ""), "no"))
		move_note(m,
			  "netdev %s: QEMU runs its downscript as it ends; see that the tap stays "
			  "in its bridge",
			  id);
}

/* By its name, or by the first of the descriptors that it was given as. */
static char *tap_of(const struct move *m, const json_t *n)
{
	const char *fds = option_str(n, "fds", option_str(n, "fd", NULL));
	const char *ifname = option_str(n, "ifname", NULL);

	if (ifname)
		return str_dup(ifname);
	return fds ? borrow_tap_name(m, atoi(fds)) : NULL;
}

static void add_tap(struct move *m, json_t *n)
{
	const char *id = option_str(n, "id", "");
	OWNED(char *) ifname = tap_of(m, n);
	OWNED_JSON *names = tap_names(m), *o = NULL, *recorded = NULL;
	size_t first = m->taps_len, queues = borrow_taps(m, ifname, names);
	OWNED(char *) fds = fd_list(m->taps + first, queues);
	struct ifreq ifr = {0};

	if (!queues || ioctl(m->taps[first].fd, TUNGETIFF, &ifr) < 0) {
		move_block(m, "netdev %s: its tap isn't found in process %d; name it by ifname", id,
			   m->source_pid);
		return;
	}
	o = json_pack("{s:s, s:s, s:s}", "type", "tap", "id", id, queues > 1 ? "fds" : "fd", fds);
	recorded = tap_record(id, ifr.ifr_name, queues);
	tap_notes(m, n);
	json_object_set_new(n, "ifname", json_string(ifr.ifr_name)); /* taken */
	move_add_values(m, "-netdev", o, recorded, "type", true);
}

/* On another host everything is opened anew, by name. */
static void add_netdev_anew(struct move *m, json_t *n)
{
	const char *id = option_str(n, "id", "");
	bool passed = json_object_get(n, "fd") || json_object_get(n, "fds");

	if (passed && !json_object_get(n, "ifname")) {
		move_block(m, "netdev %s was given as a descriptor, and nothing says of what", id);
		return;
	}
	if (passed) {
		json_object_del(n, "fd");
		json_object_del(n, "fds");
		json_object_set_new(n, "script", json_string("no"));
		json_object_set_new(n, "downscript", json_string("no"));
	}
	move_add_values(m, "-netdev", n, NULL, "type", true);
}

static void add_netdev(struct move *m, json_t *n)
{
	const char *type = option_str(n, "type", ""), *id = option_str(n, "id", "");

	if (m->remote)
		add_netdev_anew(m, n);
	else if (!strcmp(type, "tap") || !strcmp(type, "bridge"))
		add_tap(m, n);
	else if (!strcmp(type, "stream") && !is_on(n, "server"))
		move_add_values(m, "-netdev", n, NULL, "type", true);
	else if (!strcmp(type, "stream"))
		move_block(m, "netdev %s: it listens, and its peer would be lost; use server=off",
			   id);
	else
		move_block(m,
			   "netdev %s: the kind '%s' can't be carried; use tap, or stream (with "
			   "passt, for a network without rights)",
			   id, type);
}

/* The rest. */

/* Between Outlives what it was given stays, as the size of the dirty ring. */
static void add_accel(struct move *m)
{
	const json_t *list = json_object_get(m->groups, "accel");
	const json_t *given = json_array_get(list, json_array_size(list) - 1);

	if (m->remote && given)
		move_add_values(m, "-accel", given, NULL, "type", true);
	else
		move_add(m, "-accel", "kvm");
}

/* Firmware chips that were given as disks. */
static void add_flash(struct move *m)
{
	size_t i;
	json_t *d;

	json_array_foreach (json_object_get(m->groups, "drive"), i, d) {
		if (m->remote && !strcmp(option_str(d, "if", ""), "pflash"))
			move_add_values(m, "-drive", d, NULL, "file", false);
	}
}

static void add_machine(struct move *m)
{
	OWNED_JSON *all = json_object();
	size_t i;
	json_t *given;

	json_array_foreach (json_object_get(m->groups, "machine"), i, given)
		json_object_update(all, given);
	json_object_set_new(all, "type", json_string("pc-q35-7.2"));
	json_object_del(all, "accel");
	move_add_values(m, "-machine", all, NULL, "type", true);
	add_accel(m);
	move_add(m, "-nodefaults", NULL);
	move_add(m, "-no-user-config", NULL);
	move_add(m, "-display", "none");
}

static void add_list(struct move *m, const char *list, const char *option, const char *first,
		     bool implied)
{
	size_t i;
	json_t *one;

	json_array_foreach (json_object_get(m->config, list), i, one) {
		if (json_object_get(one, first))
			move_add_values(m, option, one, NULL, first, implied);
	}
}

static bool borrows(const struct move *m)
{
	size_t i;
	json_t *one;

	json_array_foreach (json_object_get(m->config, "chardevs"), i, one) {
		if (is_on(one, "server"))
			return true;
	}
	json_array_foreach (json_object_get(m->config, "netdevs"), i, one) {
		if (!strcmp(option_str(one, "type", ""), "tap") ||
		    !strcmp(option_str(one, "type", ""), "bridge"))
			return true;
	}
	return false;
}

static void add_backends(struct move *m)
{
	bool console = false;
	size_t i;
	json_t *one;

	json_array_foreach (json_object_get(m->config, "chardevs"), i, one)
		add_chardev(m, one, &console);
	json_array_foreach (json_object_get(m->config, "netdevs"), i, one)
		add_netdev(m, one);
}

/**
 * build_options() - The other VMM's options but for its own monitor and files
 * @m:		@config and @groups are read; @argv, @record, @blockers, @notes, @taps grow
 *
 * "@DIR@" stands for the guest's folder.
 */
void build_options(struct move *m)
{
	add_machine(m);
	add_list(m, "objects", "-object", "qom-type", true);
	if (m->remote || !borrows(m) || borrow_possible(m))
		add_backends(m);
	add_flash(m);
	add_list(m, "blockdevs", "-blockdev", "driver", false);
	add_list(m, "devices", "-device", "driver", true);
}
