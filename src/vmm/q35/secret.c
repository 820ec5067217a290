/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a secret is read when it is needed, from its object's data or file, and
 * wiped afterwards. A manager that doesn't want it on a command line encrypts it with another one,
 * its master key, which is a file that only it and the VMM can read (keyid, iv).
 */
#include "vmm/q35/secret.h"

#include "base/owned.h"
#include "migrate/tls/tls.h"
#include "vmm/q35/ops/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { BYTES_MAX = 64 * 1024, KEY_BYTES = 32, IV_BYTES = 16, KEYS_MAX = 4 };

static int file_read(const char *path, uint8_t **ret, size_t *ret_len, struct err *e)
{
	OWNED_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	OWNED(uint8_t) *bytes = mem_zalloc(BYTES_MAX + 1);
	ssize_t n = fd < 0 ? -1 : read(fd, bytes, BYTES_MAX);

	if (n < 0)
		return err_sys(e, "%s", path);
	*ret = mem_take(&bytes);
	*ret_len = (size_t)n;
	return 0;
}

/* As it stands in the object. */
static int raw_read(const json_t *o, uint8_t **ret, size_t *ret_len, struct err *e)
{
	const char *data = option_str(o, "data", NULL), *file = option_str(o, "file", NULL);
	uint8_t *text;
	int r;

	if (!data == !file)
		return err_set(e, EINVAL, "either data or file must be set");
	if (file) {
		r = file_read(file, ret, ret_len, e);
		if (r < 0)
			return r;
	} else {
		*ret = (uint8_t *)str_dup(data);
		*ret_len = strlen(data);
	}
	if (strcmp(option_str(o, "format", "raw"), "base64"))
		return 0;
	text = *ret;
	r = tls_base64_decode((const char *)text, ret, ret_len, e);
	secret_forget(&text, strlen((char *)text));
	return r;
}

static int read_by(const struct guest *g, const char *id, unsigned int depth, uint8_t **ret,
		   size_t *ret_len, struct err *e);

static int decrypt(const struct guest *g, const json_t *o, unsigned int depth, uint8_t *bytes,
		   size_t *len, struct err *e)
{
	OWNED(uint8_t) *iv = NULL;
	uint8_t *key = NULL;
	size_t iv_len = 0, key_len = 0;
	int r = tls_base64_decode(option_str(o, "iv", ""), &iv, &iv_len, e);

	if (r < 0 || iv_len != IV_BYTES)
		return err_set(e, EINVAL, "iv must be 16 bytes in base64");
	r = read_by(g, option_str(o, "keyid", ""), depth + 1, &key, &key_len, e);
	if (r >= 0 && key_len != KEY_BYTES)
		r = err_set(e, EINVAL, "the key '%s' must have 32 bytes, not %zu",
			    option_str(o, "keyid", ""), key_len);
	if (r >= 0)
		r = tls_decrypt(key, iv, bytes, len, e);
	secret_forget(&key, key_len);
	if (r >= 0)
		bytes[*len] = 0;
	return r;
}

static int read_by(const struct guest *g, const char *id, unsigned int depth, uint8_t **ret,
		   size_t *ret_len, struct err *e)
{
	const json_t *o = guest_object_find(g, id);
	size_t len = 0;
	int r;

	if (!o || strcmp(option_str(o, "qom-type", ""), "secret"))
		return err_set(e, ENOENT,
			       "there is no secret '%s': add -object secret,id=%s,file=...", id,
			       id);
	if (depth == KEYS_MAX)
		return err_set(e, ELOOP, "secret '%s': too many keys of keys", id);
	r = raw_read(o, ret, &len, e);
	if (r >= 0)
		*ret_len = len;
	if (r >= 0 && option_str(o, "keyid", NULL))
		r = decrypt(g, o, depth, *ret, ret_len, e);
	if (r < 0) {
		secret_forget(ret, len);
		return err_in(e, "secret '%s'", id);
	}
	return r;
}

/**
 * secret_read() - What a secret is
 * @g:		The guest
 * @id:		Of an object "secret"
 * @ret:	Set on success only, with a zero byte behind it; secret_forget() it
 * @ret_len:	Set on success only
 * @e:		Set on failure only: names the secret
 *
 * Errors: ENOENT there is none; EINVAL its properties, or its key doesn't fit; as open(2)
 * Return: 0, or a negative errno
 */
int secret_read(const struct guest *g, const char *id, uint8_t **ret, size_t *ret_len,
		struct err *e)
{
	*ret = NULL;
	return read_by(g, id, 0, ret, ret_len, e);
}

/**
 * secret_forget() - Wipe and free
 * @bytes:	Of secret_read(); NULL afterwards
 * @len:	How many
 */
void secret_forget(uint8_t **bytes, size_t len)
{
	if (*bytes)
		explicit_bzero(*bytes, len);
	mem_free(bytes);
}
