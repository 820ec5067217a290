/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: toggles as "-cpu MODEL,+a,-b,c=on,d=off" has them. "kvmclock" names two bits
 * (the old and the new clock MSRs); a toggle sets every bit of its name.
 */
#include "kvm/x86/features.h"
#include "base/nearest.h"

#include <errno.h>
#include <string.h>

/**
 * x86_feature_named() - The bits of a word that have a name
 * @word:	Which
 *
 * Return: mask
 */
uint32_t x86_feature_named(enum x86_feature_id word)
{
	uint32_t mask = 0;

	for (unsigned int bit = 0; bit < 32; bit++)
		if (x86_feature_words[word].names[bit])
			mask |= 1U << bit;
	return mask;
}

/* For nearest(): every slot of the table, "" where there is no name. */
static const char *name_at(const void *table, size_t index)
{
	const char *name;

	if (index >= (size_t)X86_FEATURE_WORDS * 32)
		return NULL;
	name = x86_feature_words[index / 32].names[index % 32];
	return name ? name : "";
}

static int unknown(const char *name, struct err *e)
{
	err_set(e, EINVAL, "-cpu: there is no feature \"%s\"", name);
	return err_nearest(e, nearest(name, x86_feature_words, name_at));
}

static int toggle(struct x86_features *f, const struct x86_features *supported, const char *name,
		  bool on, struct err *e)
{
	bool found = false;

	for (size_t i = 0; i < (size_t)X86_FEATURE_WORDS * 32; i++) {
		uint32_t *word = &f->word[i / 32], bit = 1U << (i % 32);

		if (strcmp(name_at(NULL, i), name))
			continue;
		found = true;
		if (on && !(supported->word[i / 32] & bit))
			return err_set(e, ENOTSUP, "-cpu: KVM on this host doesn't offer \"%s\"",
				       name);
		*word = on ? *word | bit : *word & ~bit;
	}
	return found ? 0 : unknown(name, e);
}

/* Cuts "+x", "-x", "x=on" into name and value. */
static int parse(char *item, const char **name, bool *on, struct err *e)
{
	char *value = strchr(item, '=');

	*name = item[0] == '+' || item[0] == '-' ? item + 1 : item;
	*on = item[0] != '-';
	if (!value)
		return *name == item
			       ? err_set(e, EINVAL, "-cpu: \"%s\" says neither on nor off", item)
			       : 0;
	*value++ = '\0';
	*on = !strcmp(value, "on") || !strcmp(value, "yes") || !strcmp(value, "true");
	if (!*on && strcmp(value, "off") && strcmp(value, "no") && strcmp(value, "false"))
		return err_set(e, EINVAL, "-cpu: %s=%s is neither on nor off", *name, value);
	return 0;
}

/**
 * x86_features_toggle() - Switch features on and off by name
 * @f:		Changed
 * @supported:	What the host can give
 * @toggles:	Comma-separated; NULL or "": nothing
 * @e:		Set on failure
 *
 * Later toggles win.
 *
 * Errors: EINVAL no such feature or value; ENOTSUP the host can't give it; ENAMETOOLONG
 * Return: 0, or a negative errno
 */
int x86_features_toggle(struct x86_features *f, const struct x86_features *supported,
			const char *toggles, struct err *e)
{
	char copy[2048], *at = copy, *item;
	const char *name;
	bool on;
	int r = 0;

	if (!toggles)
		return 0;
	if (strlen(toggles) >= sizeof(copy))
		return err_set(e, ENAMETOOLONG, "-cpu: too many features");
	strcpy(copy, toggles);
	while (r == 0 && (item = strsep(&at, ",")) != NULL) {
		if (!*item)
			continue;
		r = parse(item, &name, &on, e);
		if (r == 0)
			r = toggle(f, supported, name, on, e);
	}
	return r;
}
