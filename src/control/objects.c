/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: the kinds of -object and object-add, each with its properties: check, help
 * and schema. */
#include "base/nearest.h"
#include "control/control.h"

#include <errno.h>
#include <string.h>

static const char *const policies[] = {"default", "preferred", "bind", "interleave", NULL};
static const char *const formats[] = {"raw", "base64", NULL};
static const char *const endpoints[] = {"client", "server", NULL};

#define COMMON                                                              \
	{"qom-type", OPTION_STRING, "kind of object", .required = true},    \
	{                                                                   \
		"id", OPTION_STRING, "name of the object", .required = true \
	}

#define MEMORY                                                                             \
	COMMON, {"size", OPTION_SIZE, "bytes", .required = true},                          \
		{"prealloc", OPTION_BOOL, "take all pages at start"},                      \
		{"prealloc-threads", OPTION_INT, "how many threads do that", .max = 1024}, \
		{"merge", OPTION_BOOL, "let the kernel merge equal pages"},                \
		{"dump", OPTION_BOOL, "in core dumps of the VMM"},                         \
		{"reserve", OPTION_BOOL, "reserve swap or huge pages"},                    \
		{"host-nodes", OPTION_INT, "host NUMA nodes", .list = true, .max = 1023},  \
		{"policy", OPTION_ENUM, "host NUMA policy", .names = policies},            \
	{                                                                                  \
		"x-use-canonical-path-for-ramblock-id", OPTION_BOOL, "name in the stream"  \
	}

#define SHARED                                                     \
	{                                                          \
		"share", OPTION_BOOL, "shared mapping (always so)" \
	}

static const struct option memfd_table[] = {
	MEMORY,
	SHARED,
	{"hugetlb", OPTION_BOOL, "pages from the hugetlb pool"},
	{"hugetlbsize", OPTION_SIZE, "their size"},
	{"seal", OPTION_BOOL, "seal the file against resizing"},
	OPTIONS_END,
};

static const struct option file_table[] = {
	MEMORY,
	{"share", OPTION_BOOL,
	 "the guest writes to the file (default off: it begins with a copy of it)"},
	{"mem-path", OPTION_STRING, "file, directory of a hugetlbfs, or DAX device",
	 .required = true},
	{"align", OPTION_SIZE, "alignment of the mapping"},
	{"offset", OPTION_SIZE, "where in the file"},
	{"discard-data", OPTION_BOOL, "drop the content at exit"},
	{"pmem", OPTION_BOOL, "it is persistent memory"},
	{"readonly", OPTION_BOOL, "open read-only"},
	OPTIONS_END,
};

static const struct option ram_table[] = {MEMORY, SHARED, OPTIONS_END};

static const struct option iothread_table[] = {
	COMMON,
	{"poll-max-ns", OPTION_INT, "busy polling at most", .max = 1000000000},
	{"poll-grow", OPTION_INT, "factor of growth", .max = 1000},
	{"poll-shrink", OPTION_INT, "divisor of shrinking", .max = 1000},
	OPTIONS_END,
};

static const struct option rng_random_table[] = {
	COMMON,
	{"filename", OPTION_STRING, "source (default /dev/urandom)"},
	OPTIONS_END,
};

static const struct option rng_builtin_table[] = {COMMON, OPTIONS_END};

static const struct option secret_table[] = {
	COMMON,
	{"data", OPTION_STRING, "the secret"},
	{"file", OPTION_STRING, "file with the secret"},
	{"format", OPTION_ENUM, "how it is written", .names = formats},
	{"keyid", OPTION_STRING, "secret that it is encrypted with"},
	{"iv", OPTION_STRING, "initialisation vector"},
	OPTIONS_END,
};

#define TLS                                                                                      \
	COMMON, {"dir", OPTION_STRING, "folder with the files", .required = true},               \
		{"endpoint", OPTION_ENUM, "which side it is for (default client: the source)",   \
		 .names = endpoints},                                                            \
		{"verify-peer", OPTION_BOOL, "check the other side's certificate (default on)"}, \
	{                                                                                        \
		"priority", OPTION_STRING, "GnuTLS priority string (default NORMAL)"             \
	}

static const struct option tls_x509_table[] = {
	TLS,
	{"passwordid", OPTION_STRING, "secret with the password of the private key"},
	{"sanity-check", OPTION_BOOL, "judge our own certificate before use (default on)"},
	OPTIONS_END,
};

static const struct option tls_psk_table[] = {
	TLS,
	{"username", OPTION_STRING, "client: whose key in keys.psk (default qemu)"},
	OPTIONS_END,
};

static const struct option throttle_table[] = {
	COMMON,
	{"limits", OPTION_ANY, "bps-total, iops-total ..."},
	OPTIONS_END,
};

const struct object_kind object_kinds[] = {
	{"memory-backend-memfd", "guest RAM on an anonymous file", memfd_table},
	{"memory-backend-file", "guest RAM on a file, hugetlbfs or DAX device", file_table},
	{"memory-backend-ram", "guest RAM on an anonymous file", ram_table},
	{"iothread", "a thread for the I/O of devices", iothread_table},
	{"rng-random", "random numbers from a device", rng_random_table},
	{"rng-builtin", "random numbers from the kernel", rng_builtin_table},
	{"secret", "a secret for other objects", secret_table},
	{"tls-creds-psk", "shared keys for encrypted migration", tls_psk_table},
	{"tls-creds-x509", "certificates for encrypted migration", tls_x509_table},
	{"throttle-group", "I/O limits shared by disks", throttle_table},
	{0},
};

static const char *kind_at(const void *table, size_t index)
{
	return ((const struct object_kind *)table)[index].name;
}

/**
 * object_check() - Check an object's properties against its kind
 * @values:	With "qom-type"; left as it is
 * @form:	How strict to be
 * @ret:	Set on success only; the caller owns it
 * @e:		Set on failure only
 *
 * Errors: EINVAL unknown kind or property, bad value
 * Return: 0, or a negative errno
 */
int object_check(const json_t *values, enum option_form form, json_t **ret, struct err *e)
{
	const char *kind = option_str(values, "qom-type", "");

	for (const struct object_kind *k = object_kinds; k->name; k++)
		if (!strcmp(k->name, kind))
			return option_check(k->table, values, form, ret, e);
	err_set(e, EINVAL, "invalid object type: %s", kind);
	return err_nearest(e, nearest(kind, object_kinds, kind_at));
}
