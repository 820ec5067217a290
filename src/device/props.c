/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a property's row says where its member is and how a user spells its values.
 * Every kind has one parser; a value that doesn't parse is an error that says what was expected, an
 * unknown name one that offers the nearest known name. Back ends are looked up by name here and
 * only taken by the device's realize.
 */
#include "device/props.h"

#include "base/nearest.h"
#include "base/owned.h"
#include "block/block.h"
#include "char/char.h"
#include "net/net.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static void *member(struct device *dev, const struct prop *p)
{
	return (char *)dev + p->offset;
}

static int bad(struct err *e, const char *value, const char *expected)
{
	return err_set(e, EINVAL, "'%s' is not %s", value, expected);
}

static int word_in(const char *value, const char *const *words)
{
	for (int i = 0; words[i]; i++)
		if (!strcasecmp(value, words[i]))
			return i;
	return -1;
}

static int parse_bool(bool *ret, const char *value, struct err *e)
{
	static const char *const words[] = {"off",  "on", "no", "yes", "false",
					    "true", "n",  "y",  NULL};
	int i = word_in(value, words);

	if (i < 0)
		return bad(e, value, "'on' or 'off'");
	*ret = i & 1;
	return 0;
}

static int parse_auto(enum on_off_auto *ret, const char *value, struct err *e)
{
	bool on;

	if (!strcasecmp(value, "auto")) {
		*ret = PROP_IS_AUTO;
		return 0;
	}
	if (parse_bool(&on, value, NULL))
		return bad(e, value, "'on', 'off' or 'auto'");
	*ret = on ? PROP_IS_ON : PROP_IS_OFF;
	return 0;
}

static int parse_number(uint64_t *ret, const char *value, struct err *e)
{
	char *end;

	errno = 0;
	*ret = strtoull(value, &end, 0);
	if (errno || end == value || *end || !isdigit((unsigned char)*value))
		return bad(e, value, "a number");
	return 0;
}

static int parse_ranged(uint64_t *ret, const struct prop *p, uint64_t kind_max, const char *value,
			struct err *e)
{
	uint64_t max = p->max ? p->max : kind_max;
	int r = parse_number(ret, value, e);

	if (!r && (*ret > max || *ret < p->min))
		return err_set(e, ERANGE, "%s is out of range, %ju to %ju", value,
			       (uintmax_t)p->min, (uintmax_t)max);
	return r;
}

static int parse_i32(int32_t *ret, const struct prop *p, const char *value, struct err *e)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(value, &end, 0);
	if (errno || end == value || *end)
		return bad(e, value, "a number");
	if (v < INT32_MIN || v > INT32_MAX ||
	    (p->max && (v < (int64_t)p->min || v > (int64_t)p->max)))
		return err_set(e, ERANGE, "%s is out of range", value);
	*ret = (int32_t)v;
	return 0;
}

static int parse_size(uint64_t *ret, const char *value, struct err *e)
{
	static const char units[] = "BKMGTPE";
	const char *unit;
	char *end;

	errno = 0;
	*ret = strtoull(value, &end, 0);
	if (errno || end == value || !isdigit((unsigned char)*value))
		return bad(e, value, "a size such as 512 or 64K, 10M, 1G");
	if (!*end)
		return 0;
	unit = strchr(units, toupper((unsigned char)*end));
	if (!unit || !*unit || end[1])
		return bad(e, value, "a size such as 512 or 64K, 10M, 1G");
	if (*ret > UINT64_MAX >> (10 * (unit - units)))
		return err_set(e, ERANGE, "%s is too large", value);
	*ret <<= 10 * (unit - units);
	return 0;
}

static int parse_size32(uint32_t *ret, const char *value, struct err *e)
{
	uint64_t bytes;
	int r = parse_size(&bytes, value, e);

	if (r == 0 && bytes > UINT32_MAX)
		return err_set(e, ERANGE, "%s is too large", value);
	if (r == 0)
		*ret = (uint32_t)bytes;
	return r;
}

static bool hex_byte(const char **at, uint8_t *ret)
{
	unsigned int v;

	if (!isxdigit((unsigned char)(*at)[0]) || !isxdigit((unsigned char)(*at)[1]))
		return false;
	if (sscanf(*at, "%2x", &v) != 1)
		return false;
	*ret = (uint8_t)v;
	*at += 2;
	return true;
}

static int parse_mac(uint8_t *ret, const char *value, struct err *e)
{
	const char *at = value;
	uint8_t mac[6];

	for (int i = 0; i < 6; i++) {
		if (i && *at != ':' && *at != '-')
			return bad(e, value, "a MAC address such as 52:54:00:12:34:56");
		if (i)
			at++;
		if (!hex_byte(&at, &mac[i]))
			return bad(e, value, "a MAC address such as 52:54:00:12:34:56");
	}
	if (*at)
		return bad(e, value, "a MAC address such as 52:54:00:12:34:56");
	memcpy(ret, mac, sizeof(mac));
	return 0;
}

static int parse_uuid(uint8_t *ret, const char *value, struct err *e)
{
	const char *at = value;
	uint8_t uuid[16] = {0};

	if (!strcmp(value, "auto")) {
		memcpy(ret, uuid, sizeof(uuid));
		return 0;
	}
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			if (*at++ != '-')
				return bad(e, value, "a UUID or auto");
		if (!hex_byte(&at, &uuid[i]))
			return bad(e, value, "a UUID or auto");
	}
	if (*at)
		return bad(e, value, "a UUID or auto");
	memcpy(ret, uuid, sizeof(uuid));
	return 0;
}

static int parse_pci_addr(int32_t *ret, const char *value, struct err *e)
{
	unsigned long slot, fn = 0;
	char *end;

	if (!strcmp(value, "-1")) {
		*ret = -1;
		return 0;
	}
	slot = strtoul(value, &end, 16);
	if (isxdigit((unsigned char)*value) && *end == '.' && isxdigit((unsigned char)end[1]))
		fn = strtoul(end + 1, &end, 16);
	if (!isxdigit((unsigned char)*value) || *end || slot > 31 || fn > 7)
		return bad(e, value, "a PCI slot and function such as 0x3 or 0x3.0x1");
	*ret = (int32_t)(slot << 3 | fn);
	return 0;
}

static int parse_enum(int *ret, const struct prop *p, const char *value, struct err *e)
{
	int i = word_in(value, p->names);

	if (i >= 0) {
		*ret = i;
		return 0;
	}
	err_set(e, EINVAL, "'%s' is not one of its values", value);
	return err_nearest(e, nearest_string(value, p->names));
}

static int parse_bit(uint8_t *bytes, const struct prop *p, const char *value, struct err *e)
{
	bool on = false;
	int r = parse_bool(&on, value, e);
	uint8_t mask = (uint8_t)(1u << p->bit % 8);

	if (r)
		return r;
	if (on)
		bytes[p->bit / 8] |= mask;
	else
		bytes[p->bit / 8] &= (uint8_t)~mask;
	return 0;
}

static int take_string(char **ret, const char *value)
{
	free(*ret);
	*ret = str_dup(value);
	return 0;
}

static int find_backend(void **ret, const struct prop *p, const char *value, struct err *e)
{
	const char *what = "drive or block node";
	void *found;

	if (p->kind == PROP_NETDEV) {
		what = "network back end";
		found = net_find(value);
	} else if (p->kind == PROP_CHARDEV) {
		what = "character device";
		found = char_find(value);
	} else {
		found = block_find(value);
	}
	if (!found)
		return err_set(e, ENOENT, "there is no %s '%s'", what, value);
	*ret = found;
	return 0;
}

static uint64_t kind_max(enum prop_kind kind)
{
	switch (kind) {
	case PROP_U8: return UINT8_MAX;
	case PROP_U16: return UINT16_MAX;
	case PROP_U32: return UINT32_MAX;
	default: return UINT64_MAX;
	}
}

static int set_unsigned(void *at, const struct prop *p, const char *value, struct err *e)
{
	uint64_t v;
	int r = parse_ranged(&v, p, kind_max(p->kind), value, e);

	if (r)
		return r;
	if (p->kind == PROP_U8)
		*(uint8_t *)at = (uint8_t)v;
	else if (p->kind == PROP_U16)
		*(uint16_t *)at = (uint16_t)v;
	else if (p->kind == PROP_U32)
		*(uint32_t *)at = (uint32_t)v;
	else
		*(uint64_t *)at = v;
	return 0;
}

static int prop_set(void *at, const struct prop *p, const char *value, struct err *e)
{
	switch (p->kind) {
	case PROP_BOOL: return parse_bool(at, value, e);
	case PROP_AUTO: return parse_auto(at, value, e);
	case PROP_U8:
	case PROP_U16:
	case PROP_U32:
	case PROP_U64: return set_unsigned(at, p, value, e);
	case PROP_I32: return parse_i32(at, p, value, e);
	case PROP_SIZE: return parse_size(at, value, e);
	case PROP_SIZE32: return parse_size32(at, value, e);
	case PROP_STRING:
	case PROP_LINK: return take_string(at, value);
	case PROP_MAC: return parse_mac(at, value, e);
	case PROP_UUID: return parse_uuid(at, value, e);
	case PROP_PCI_ADDR: return parse_pci_addr(at, value, e);
	case PROP_ENUM: return parse_enum(at, p, value, e);
	case PROP_DRIVE:
	case PROP_NETDEV:
	case PROP_CHARDEV: return find_backend(at, p, value, e);
	case PROP_BIT: return parse_bit(at, p, value, e);
	case PROP_END: break;
	}
	return err_set(e, EINVAL, "has no value");
}

static const char *nth_prop(const void *of, size_t n)
{
	return ((const struct prop *)of)[n].name; /* NULL in PROPS_END */
}

/**
 * device_prop_find() - A property by name
 * @class:	Whose
 * @name:	In QEMU's spelling
 *
 * Return: the row, or NULL
 */
const struct prop *device_prop_find(const struct device_class *class, const char *name)
{
	for (const struct prop *p = class->props; p && p->kind; p++)
		if (!strcmp(p->name, name))
			return p;
	return NULL;
}

/**
 * device_set() - Set a property before the device is realized
 * @dev:	The device
 * @name:	Property, or "id"
 * @value:	As a user types it
 * @e:		Set on failure only
 *
 * Errors: ENOENT there is no such property or back end, ENOTSUP QEMU has it, EINVAL the value has
 * another form, ERANGE it is out of bounds, EBUSY the device is realized Return: 0, or a negative
 * errno and the property is as it was
 */
int device_set(struct device *dev, const char *name, const char *value, struct err *e)
{
	const struct device_class *class = dev->class;
	const struct prop *p = device_prop_find(class, name);
	int r;

	if (dev->realized)
		return err_set(e, EBUSY, "%s.%s can't be changed any more", class->name, name);
	if (!strcmp(name, "id"))
		return take_string(&dev->id, value);
	if (p)
		return prop_set(member(dev, p), p, value, e) ? err_in(e, "%s.%s", class->name, name)
							     : 0;
	r = prop_absent_set(name, value, e);
	if (r != -ENOENT)
		return r < 0 ? err_in(e, "%s", class->name) : 0;
	err_set(e, ENOENT, "%s has no property '%s'", class->name, name);
	return err_nearest(e, class->props ? nearest(name, class->props, nth_prop) : NULL);
}

/**
 * props_set_defaults() - Give every property the value its row says
 * @dev:	Zeroed behind its struct device
 */
void props_set_defaults(struct device *dev)
{
	int r;

	for (const struct prop *p = dev->class->props; p && p->kind; p++)
		if (p->def) {
			r = prop_set(member(dev, p), p, p->def, NULL);
			assert(!r);
		}
}

/**
 * props_release() - Free what properties own
 * @dev:	The device
 */
void props_release(struct device *dev)
{
	for (const struct prop *p = dev->class->props; p && p->kind; p++)
		if (p->kind == PROP_STRING || p->kind == PROP_LINK)
			mem_free(member(dev, p));
}

/**
 * prop_kind_name() - A property's type as QEMU's help spells it
 * @p:		The property
 *
 * Return: a constant word
 */
const char *prop_kind_name(const struct prop *p)
{
	static const char *const names[] = {
		[PROP_BOOL] = "bool",      [PROP_AUTO] = "OnOffAuto", [PROP_U8] = "uint8",
		[PROP_U16] = "uint16",     [PROP_U32] = "uint32",     [PROP_U64] = "uint64",
		[PROP_I32] = "int32",      [PROP_SIZE] = "size",      [PROP_SIZE32] = "size",
		[PROP_STRING] = "str",     [PROP_MAC] = "str",        [PROP_UUID] = "str",
		[PROP_PCI_ADDR] = "int32", [PROP_ENUM] = "str",       [PROP_DRIVE] = "str",
		[PROP_NETDEV] = "str",     [PROP_CHARDEV] = "str",    [PROP_LINK] = "str",
		[PROP_BIT] = "bool",
	};

	return names[p->kind];
}
