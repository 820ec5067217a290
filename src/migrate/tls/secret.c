/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: what secrets need of GnuTLS: base64, and the cipher by which a manager
 * encrypts one secret with another, so that it can stand on a command line.
 */
#include "base/owned.h"
#include "migrate/tls/private.h"

#include <errno.h>
#include <string.h>

enum { BLOCK_BYTES = 16 };

/**
 * tls_base64_decode() - Bytes of base64 text
 * @text:	May end in white space
 * @ret:	Set on success only, with a zero byte behind it; the caller's, free(3)
 * @ret_len:	Set on success only
 * @e:		Set on failure only
 *
 * Errors: EINVAL it is something else; ENOTSUP there is no GnuTLS here
 * Return: 0, or a negative errno
 */
int tls_base64_decode(const char *text, uint8_t **ret, size_t *ret_len, struct err *e)
{
	const struct tls_library *gnutls = tls_library(e);
	gnutls_datum_t in = {.data = (unsigned char *)(uintptr_t)text}, out;

	if (!gnutls)
		return e ? -e->code : -ENOTSUP;
	in.size = (unsigned int)strlen(text);
	while (in.size && strchr(" \t\r\n", text[in.size - 1]))
		in.size--;
	if (gnutls->gnutls_base64_decode2(&in, &out) < 0)
		return err_set(e, EINVAL, "it isn't base64");
	*ret = mem_zalloc(out.size + 1UL);
	memcpy(*ret, out.data, out.size);
	*ret_len = out.size;
	(*gnutls->gnutls_free)(out.data);
	return 0;
}

/**
 * tls_decrypt() - AES-256-CBC with PKCS#7 padding, as secrets with a keyid have it
 * @key:	32 bytes
 * @iv:		16 bytes
 * @bytes:	Decrypted in place
 * @len:	Of @bytes; without the padding on success
 * @e:		Set on failure only
 *
 * Source: QEMU's documentation of the object "secret"
 * Errors: EINVAL the length, or the padding: it was another key
 * Return: 0, or a negative errno
 */
int tls_decrypt(const uint8_t key[32], uint8_t iv[16], uint8_t *bytes, size_t *len, struct err *e)
{
	const struct tls_library *gnutls = tls_library(e);
	gnutls_datum_t k = {.data = (unsigned char *)(uintptr_t)key, .size = 32};
	gnutls_datum_t v = {.data = iv, .size = BLOCK_BYTES};
	gnutls_cipher_hd_t cipher;
	int r;

	if (!gnutls)
		return e ? -e->code : -ENOTSUP;
	if (!*len || *len % BLOCK_BYTES)
		return err_set(e, EINVAL, "what is encrypted comes in blocks of 16 bytes, not %zu",
			       *len);
	r = gnutls->gnutls_cipher_init(&cipher, GNUTLS_CIPHER_AES_256_CBC, &k, &v);
	if (r >= 0) {
		r = gnutls->gnutls_cipher_decrypt(cipher, bytes, *len);
		gnutls->gnutls_cipher_deinit(cipher);
	}
	if (r < 0)
		return err_set(e, EINVAL, "decrypt: %s", gnutls->gnutls_strerror(r));
	if (!bytes[*len - 1] || bytes[*len - 1] > BLOCK_BYTES)
		return err_set(e, EINVAL, "it was encrypted with another key");
	*len -= bytes[*len - 1];
	return 0;
}
