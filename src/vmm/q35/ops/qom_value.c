/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a device's property as a JSON value, read from the member that it was set
 * to.
 */
#include "vmm/q35/ops/ops.h"

#include "block/block.h"
#include "char/char.h"
#include "net/net.h"

#include <stdio.h>

static json_t *text(const char *s)
{
	return json_string(s ? s : "");
}

/**
 * mac_value() - A MAC address as QMP shows it
 * @m:	Its bytes
 *
 * Return: new reference
 */
json_t *mac_value(const uint8_t m[6])
{
	return json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

static json_t *uuid(const uint8_t *u)
{
	char s[40] = "";
	size_t n = 0;

	for (int i = 0; i < 16; i++)
		n += (size_t)snprintf(s + n, sizeof(s) - n, "%s%02x",
				      i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
	return json_string(s);
}

static json_t *backend(const struct prop *p, const void *at)
{
	const struct block_node *node = *(struct block_node *const *)at;

	if (!node)
		return json_string("");
	switch (p->kind) {
	case PROP_DRIVE: return text(block_name(node));
	case PROP_NETDEV: return text(net_id(*(struct net_backend *const *)at));
	default: return text(char_id(*(struct char_backend *const *)at));
	}
}

static json_t *number(const struct prop *p, const void *at)
{
	switch (p->kind) {
	case PROP_U8: return json_integer(*(const uint8_t *)at);
	case PROP_U16: return json_integer(*(const uint16_t *)at);
	case PROP_U32:
	case PROP_SIZE32: return json_integer(*(const uint32_t *)at);
	case PROP_U64:
	case PROP_SIZE: return json_integer((json_int_t) * (const uint64_t *)at);
	case PROP_BIT: return json_boolean(*(const uint64_t *)at >> p->bit & 1);
	default: return json_integer(*(const int32_t *)at);
	}
}

/**
 * prop_value() - The value that a property has now
 * @dev:	Realized
 * @p:		Of its class
 *
 * Return: new reference
 */
json_t *prop_value(const struct device *dev, const struct prop *p)
{
	static const char *const autos[] = {"auto", "on", "off"};
	const void *at = (const char *)dev + p->offset;

	switch (p->kind) {
	case PROP_BOOL: return json_boolean(*(const bool *)at);
	case PROP_AUTO: return text(autos[*(const enum on_off_auto *)at]);
	case PROP_ENUM: return text(p->names[*(const int *)at]);
	case PROP_STRING:
	case PROP_LINK: return text(*(char *const *)at);
	case PROP_MAC: return mac_value(at);
	case PROP_UUID: return uuid(at);
	case PROP_DRIVE:
	case PROP_NETDEV:
	case PROP_CHARDEV: return backend(p, at);
	default: return number(p, at);
	}
}
