/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: character back ends: listed, made, removed; ring buffers read and written.
 */
#include "base/owned.h"
#include "char/char.h"
#include "control/command.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

static const char *const kinds[] = {"file", "pty", "socket", "ringbuf", "stdio", "null", NULL};

static const struct option backend_fields[] = {
	{"type", OPTION_ENUM, "kind of back end", .required = true, .names = kinds,
	 .type = "ChardevBackendKind"},
	{"data", OPTION_OBJECT, "its options"},
	OPTIONS_END,
};

static const struct option add_args[] = {
	{"id", OPTION_STRING, "its name", .required = true},
	{"backend", OPTION_OBJECT, "what it is", .required = true, .fields = backend_fields,
	 .type = "ChardevBackend"},
	OPTIONS_END,
};

static const struct option remove_args[] = {
	{"id", OPTION_STRING, "its name", .required = true},
	OPTIONS_END,
};

static const char *const formats[] = {"utf8", "base64", NULL};
static const struct option read_args[] = {
	{"device", OPTION_STRING, "name of the ring buffer", .required = true},
	{"size", OPTION_INT, "bytes at most", .required = true, .min = 1, .max = 64 * 1024 * 1024},
	{"format", OPTION_ENUM, "utf8 (default) or base64", .names = formats, .type = "DataFormat"},
	OPTIONS_END,
};
static const struct option write_args[] = {
	{"device", OPTION_STRING, "name of the ring buffer", .required = true},
	{"data", OPTION_STRING, "what to write", .required = true},
	{"format", OPTION_ENUM, "utf8 (default) or base64", .names = formats, .type = "DataFormat"},
	OPTIONS_END,
};

static void put(const struct char_backend *b, void *opaque)
{
	json_array_append_new(opaque,
			      json_pack("{s:s, s:s, s:b}", "label", char_id(b), "filename",
					char_filename(b), "frontend-open", char_front_open(b)));
}

static int query_chardev(struct control *c, struct control_request *rq, const json_t *args,
			 json_t **ret, struct err *e)
{
	*ret = json_array();
	char_for_each(put, *ret);
	return 0;
}

static int query_chardev_backends(struct control *c, struct control_request *rq, const json_t *args,
				  json_t **ret, struct err *e)
{
	*ret = json_array();
	for (const char *const *k = kinds; *k; k++)
		json_array_append_new(*ret, json_pack("{s:s}", "name", *k));
	return 0;
}

static int chardev_add(struct control *c, struct control_request *rq, const json_t *args,
		       json_t **ret, struct err *e)
{
	struct char_backend *b;
	OWNED_JSON *options = NULL;
	int r = char_options_from_qmp(args, &options, e);

	if (r == 0)
		r = char_create(c->loop, options, &b, e);
	if (r == 0 && !strcmp(char_kind(b), "pty"))
		*ret = json_pack("{s:s}", "pty", char_filename(b) + strlen("pty:"));
	return r;
}

static int chardev_remove(struct control *c, struct control_request *rq, const json_t *args,
			  json_t **ret, struct err *e)
{
	return char_remove(option_str(args, "id", ""), e);
}

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static json_t *base64(const uint8_t *in, size_t len)
{
	OWNED(char *) out = mem_zalloc((len + 2) / 3 * 4 + 1);
	char *p = out;

	for (size_t i = 0; i < len; i += 3, p += 4) {
		uint32_t v = (uint32_t)in[i] << 16 | (i + 1 < len ? in[i + 1] << 8 : 0) |
			     (i + 2 < len ? in[i + 2] : 0);

		for (int d = 0; d < 4; d++)
			p[d] = digits[v >> (18 - 6 * d) & 63];
		if (i + 2 >= len)
			p[3] = '=';
		if (i + 1 >= len)
			p[2] = '=';
	}
	return json_string(out);
}

static int unbase64(const char *in, uint8_t *out, size_t *len)
{
	uint32_t v = 0;
	int bits = 0;

	for (*len = 0; *in && *in != '='; in++) {
		const char *d = strchr(digits, *in);

		if (!d)
			return -EINVAL;
		v = v << 6 | (uint32_t)(d - digits);
		bits += 6;
		if (bits >= 8)
			out[(*len)++] = (uint8_t)(v >> (bits -= 8));
	}
	return 0;
}

static struct char_backend *device_of(const json_t *args, struct err *e)
{
	const char *name = option_str(args, "device", "");
	struct char_backend *b = char_find(name);

	if (!b)
		err_set(e, ENXIO, "Device '%s' not found", name);
	return b;
}

static int ringbuf_read(struct control *c, struct control_request *rq, const json_t *args,
			json_t **ret, struct err *e)
{
	size_t len = (size_t)option_int(args, "size", 1);
	OWNED(uint8_t *) buf = malloc(len);
	struct char_backend *b = device_of(args, e);
	int r;

	if (!b || !buf)
		return b ? err_set(e, ENOMEM, "no memory for %zu bytes", len) : -ENXIO;
	r = char_ringbuf_read(b, buf, &len, e);
	if (r < 0)
		return r;
	if (!strcmp(option_str(args, "format", "utf8"), "base64")) {
		*ret = base64(buf, len);
		return 0;
	}
	for (size_t i = 0; i < len; i++)
		buf[i] = buf[i] < 0x80 && buf[i] ? buf[i] : '?'; /* what isn't plain text */
	*ret = json_stringn((const char *)buf, len);
	return 0;
}

static int ringbuf_write(struct control *c, struct control_request *rq, const json_t *args,
			 json_t **ret, struct err *e)
{
	const char *data = option_str(args, "data", "");
	OWNED(uint8_t *) buf = mem_zalloc(strlen(data) + 1);
	struct char_backend *b = device_of(args, e);
	size_t len = strlen(data);

	if (!b)
		return -ENXIO;
	if (strcmp(option_str(args, "format", "utf8"), "base64"))
		memcpy(buf, data, len);
	else if (unbase64(data, buf, &len) < 0)
		return err_set(e, EINVAL, "data is not base64");
	return char_ringbuf_write(b, buf, len, e);
}

const struct command commands_char[] = {
	{"query-chardev", NULL, "[ChardevInfo]", query_chardev, .help = "character back ends"},
	{"query-chardev-backends", NULL, "[ChardevBackendInfo]", query_chardev_backends,
	 .help = "their kinds"},
	{"chardev-add", add_args, "ChardevReturn", chardev_add,
	 .help = "make a character back end"},
	{"chardev-remove", remove_args, NULL, chardev_remove, .help = "remove one"},
	{"ringbuf-read", read_args, "str", ringbuf_read, .help = "take bytes out of a ring buffer"},
	{"ringbuf-write", write_args, NULL, ringbuf_write, .help = "put bytes into a ring buffer"},
	{0},
};
