/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_LIBRARY_H
#define MIGRATE_LIBRARY_H

#include "base/err.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

/*
 * GnuTLS, loaded when credentials are first looked at. Linked in the ordinary way it
 * would cost every guest about 400 KiB of memory and every start about 3 ms, for what most never
 * use.
 */

#define TLS_FUNCTIONS(X)                           \
	X(gnutls_alert_get)                        \
	X(gnutls_alert_get_name)                   \
	X(gnutls_alert_send_appropriate)           \
	X(gnutls_base64_decode2)                   \
	X(gnutls_bye)                              \
	X(gnutls_certificate_allocate_credentials) \
	X(gnutls_certificate_free_credentials)     \
	X(gnutls_certificate_get_crt_raw)          \
	X(gnutls_certificate_get_peers)            \
	X(gnutls_certificate_get_trust_list)       \
	X(gnutls_certificate_server_set_request)   \
	X(gnutls_certificate_set_x509_crl_file)    \
	X(gnutls_certificate_set_x509_key_file2)   \
	X(gnutls_certificate_set_x509_trust_file)  \
	X(gnutls_cipher_decrypt)                   \
	X(gnutls_cipher_deinit)                    \
	X(gnutls_cipher_get)                       \
	X(gnutls_cipher_init)                      \
	X(gnutls_credentials_set)                  \
	X(gnutls_deinit)                           \
	X(gnutls_error_is_fatal)                   \
	X(gnutls_free)                             \
	X(gnutls_handshake)                        \
	X(gnutls_init)                             \
	X(gnutls_priority_set_direct)              \
	X(gnutls_psk_allocate_client_credentials)  \
	X(gnutls_psk_allocate_server_credentials)  \
	X(gnutls_psk_free_client_credentials)      \
	X(gnutls_psk_free_server_credentials)      \
	X(gnutls_psk_set_client_credentials)       \
	X(gnutls_psk_set_server_credentials_file)  \
	X(gnutls_record_check_pending)             \
	X(gnutls_record_get_direction)             \
	X(gnutls_record_recv)                      \
	X(gnutls_record_send)                      \
	X(gnutls_session_get_verify_cert_status)   \
	X(gnutls_session_set_verify_cert2)         \
	X(gnutls_strerror)                         \
	X(gnutls_transport_set_errno)              \
	X(gnutls_transport_set_ptr)                \
	X(gnutls_transport_set_pull_function)      \
	X(gnutls_transport_set_vec_push_function)  \
	X(gnutls_x509_crt_deinit)                  \
	X(gnutls_x509_crt_get_activation_time)     \
	X(gnutls_x509_crt_get_expiration_time)     \
	X(gnutls_x509_crt_get_subject_alt_name)    \
	X(gnutls_x509_crt_import)                  \
	X(gnutls_x509_crt_init)                    \
	X(gnutls_x509_trust_list_verify_crt2)

#define TLS_POINTER(function) __typeof__(function) *(function);

/**
 * struct tls_library - GnuTLS' functions that are used here, under their names
 */
struct tls_library {
	TLS_FUNCTIONS(TLS_POINTER)
};

const struct tls_library *tls_library(struct err *e);

#endif
