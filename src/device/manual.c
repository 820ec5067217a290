/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the reference part of outlive-devices(7), written from the registry and the
 * property tables that parse -device. What all devices of a kind have is told once: a property
 * belongs to a kind when every class of that kind has the very same row.
 */
#include "device/props.h"

#include <string.h>

/**
 * struct kind - Devices that share properties
 * @title:	Heading
 * @named:	Begins the name of each; "" is all
 * @bus:	They sit on it
 */
struct kind {
	const char *title, *named, *bus;
};

/* Wider kinds first: what a wider one has isn't told again. */
static const struct kind kinds[] = {
	{"EVERY PCI DEVICE", "", "PCI"},
	{"EVERY VIRTIO DEVICE", "virtio-", "PCI"},
};

static bool is_kind(const struct device_class *c, const struct kind *k)
{
	return c->user && c->bus && !strcmp(c->bus, k->bus) &&
	       !strncmp(c->name, k->named, strlen(k->named));
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static bool has_row(const struct device_class *c, const struct prop *p)
{
	const struct prop *own = device_prop_find(c, p->name);

	return own && own->kind == p->kind && same_text(own->help, p->help) &&
	       same_text(own->def, p->def);
}

static bool all_have(const struct kind *k, const struct prop *p)
{
	for (const struct device_class *const *c = device_classes(); *c; c++)
		if (is_kind(*c, k) && !has_row(*c, p))
			return false;
	return true;
}

/* The kind at which a class' property is told, or NULL: at the class. */
static const struct kind *told_at(const struct device_class *c, const struct prop *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (is_kind(c, &kinds[i]) && all_have(&kinds[i], p))
			return &kinds[i];
	return NULL;
}

static void put_text(FILE *out, const char *text)
{
	for (; *text; text++)
		fprintf(out, *text == '-' ? "\\-" : *text == '\\' ? "\\e" : "%c", *text);
}

static void put_prop(FILE *out, const struct prop *p)
{
	fputs(".br\n\\fB", out);
	put_text(out, p->name);
	fprintf(out, "\\fR=\\fI%s\\fR", prop_kind_name(p));
	for (size_t i = 0; p->kind == PROP_ENUM && p->names[i]; i++)
		fprintf(out, "%s%s", i ? "|" : " ", p->names[i]);
	if (p->help) {
		fputs(": ", out);
		put_text(out, p->help);
	}
	if (p->def) {
		fputs(" (", out);
		put_text(out, p->def);
		fputs(")", out);
	}
	fputs(".\n", out);
}

static void put_props(FILE *out, const struct device_class *c, const struct kind *at)
{
	for (const struct prop *p = c->props; p && p->kind; p++)
		if (told_at(c, p) == at)
			put_prop(out, p);
}

static void put_kind(FILE *out, const struct kind *k)
{
	fprintf(out, ".SH %s\n", k->title);
	for (const struct device_class *const *c = device_classes(); *c; c++)
		if (is_kind(*c, k)) {
			put_props(out, *c, k);
			return;
		}
}

/* What becomes of it when the guest moves. */
static const char *fate(const struct device_class *c)
{
	static const char *const words[] = {
		[CONTINUITY_STATE] = "Its state follows the guest",
		[CONTINUITY_STATELESS] = "Has no state",
		[CONTINUITY_HANDOVER] = "Follows the guest in an upgrade only",
		[CONTINUITY_BLOCKS] = "Keeps the guest where it is",
	};

	return words[c->continuity];
}

static bool is_variant(const struct device_class *c)
{
	return strstr(c->name, "-transitional") || strstr(c->name, "-non-transitional");
}

static void put_class(FILE *out, const struct device_class *c)
{
	fputs(".TP\n.B ", out);
	put_text(out, c->name);
	fprintf(out, "\n%s, on bus %s", c->help ? c->help : c->name, c->bus ? c->bus : "none");
	fprintf(out, "%s. %s", c->hotplug ? ", may be plugged while the guest runs" : "", fate(c));
	if (c->why)
		fprintf(out, ": %s", c->why);
	fputs(".\n", out);
	put_props(out, c, NULL);
}

/**
 * device_manual() - Write the devices a user may create, with their properties, as troff
 * @out:	Where to
 */
void device_manual(FILE *out)
{
	fputs(".SH DEVICES\n", out);
	for (const struct device_class *const *c = device_classes(); *c; c++)
		if ((*c)->user && !is_variant(*c))
			put_class(out, *c);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		put_kind(out, &kinds[i]);
}
