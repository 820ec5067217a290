/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/tls/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#define TLS_SONAME           "libgnutls.so.30"

#define TLS_SYMBOL(function) {#function, offsetof(struct tls_library, function)},

static const struct {
	const char *name;
	size_t offset;
} symbols[] = {TLS_FUNCTIONS(TLS_SYMBOL)};

static struct tls_library library;
static struct err failure;

static void load(void)
{
	void *handle = dlopen(TLS_SONAME, RTLD_NOW | RTLD_LOCAL);

	for (size_t i = 0; handle && i < ARRAY_SIZE(symbols); i++) {
		void **to = (void **)((char *)&library + symbols[i].offset);

		*to = dlsym(handle, symbols[i].name);
		if (!*to)
			break;
	}
	if (!handle || !library.gnutls_x509_trust_list_verify_crt2)
		err_set(&failure, ENOTSUP,
			"TLS needs GnuTLS 3.7 or later (Debian: libgnutls30) on this host: %s",
			dlerror());
}

/**
 * tls_library() - GnuTLS, ready for use
 * @e:	Set on failure only
 *
 * Any thread; stays loaded until the process ends.
 *
 * Errors: ENOTSUP it isn't on this host, or too old
 * Return: NULL on failure
 */
const struct tls_library *tls_library(struct err *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, load);
	if (!failure.code)
		return &library;
	if (e)
		*e = failure;
	return NULL;
}
