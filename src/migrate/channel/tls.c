/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: see tls.h. A TLS record holds 16 KiB at most. What is written comes in
 * pieces of a few bytes and of pages: they are gathered until a record is full, but for a piece
 * that fills one by itself, which is encrypted from where it is. Guest memory may change meanwhile;
 * so it is copied first unless the cipher reads it only once. What is read comes out of a buffer,
 * so that one system call brings several records.
 *
 * An end of the connection without TLS' word of farewell is an end all the same: a process that
 * died says none either, and the stream tells by itself whether it is complete.
 */
#include "base/clock.h"
#include "base/owned.h"
#include "migrate/channel/carrier.h"
#include "migrate/tls/private.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
	RECORD_BYTES = 16384, /* RFC 8446, 5.1 */
	IN_BYTES = 64 * 1024, /* a few records */
	HANDSHAKE_MS = 30000, /* two round trips and some arithmetic */
};

/**
 * struct tls_link - A socket with TLS that carries a channel. Owned by one thread but for @cut
 * @socket:	Below
 * @t:		Borrowed
 * @s:		GnuTLS' state
 * @host:	Name that the other side's certificate must have; owned, or NULL
 * @wanted:	The same for GnuTLS, and the certificate's purpose
 * @ready:	The handshake is done
 * @copies:	The cipher reads what it encrypts more than once
 * @cut:	Atomic: a shutdown was asked for
 * @error:	errno of the socket's last failure
 * @story:	Of the first failure; its code is 0 while there is none
 * @early:	Bytes that were looked at and not taken, @early_len of them
 * @out:	Pieces of a record
 * @in:		Read ahead, encrypted: from @in_at to @in_end
 */
struct tls_link {
	struct fd_carrier socket;
	const struct tls_credentials *t;
	gnutls_session_t s;
	char *host;
	gnutls_typed_vdata_st wanted[2];
	bool ready, copies, cut;
	int error;
	struct err story;
	uint8_t early[4];
	size_t early_len;
	uint8_t out[RECORD_BYTES], in[IN_BYTES];
	size_t in_at, in_end;
};

static ssize_t push(gnutls_transport_ptr_t opaque, const giovec_t *iov, int n)
{
	struct tls_link *l = opaque;
	struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n};
	ssize_t done = sendmsg(l->socket.fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (done >= 0)
		return done;
	l->error = errno;
	l->t->gnutls->gnutls_transport_set_errno(l->s, errno);
	return -1;
}

static ssize_t pull(gnutls_transport_ptr_t opaque, void *to, size_t n)
{
	struct tls_link *l = opaque;
	ssize_t got;

	if (l->in_at == l->in_end) {
		got = recv(l->socket.fd, l->in, sizeof(l->in), MSG_DONTWAIT);
		if (got < 0) {
			l->error = errno;
			l->t->gnutls->gnutls_transport_set_errno(l->s, errno);
		}
		if (got <= 0)
			return got;
		l->in_at = 0;
		l->in_end = (size_t)got;
	}
	n = MIN(n, l->in_end - l->in_at);
	memcpy(to, l->in + l->in_at, n);
	l->in_at += n;
	return (ssize_t)n;
}

static bool not_yet(ssize_t code)
{
	return code == GNUTLS_E_AGAIN || code == GNUTLS_E_INTERRUPTED;
}

static int wait_until(struct tls_link *l, int timeout_ms)
{
	short events = l->t->gnutls->gnutls_record_get_direction(l->s) ? POLLOUT : POLLIN;

	return fd_carrier_wait(&l->socket, events, timeout_ms);
}

/* The story of a transfer that failed in GnuTLS. */
static int failed(struct tls_link *l, ssize_t code)
{
	struct err *e = &l->story;

	if (e->code)
		return -e->code;
	if (code == GNUTLS_E_FATAL_ALERT_RECEIVED)
		return tls_alert_story(l->t, l->s, e);
	if (code == GNUTLS_E_PUSH_ERROR || code == GNUTLS_E_PULL_ERROR)
		return err_ret(e, -l->error, "TLS");
	if (code == GNUTLS_E_DECRYPTION_FAILED)
		return err_set(e, EBADMSG, "TLS: the bytes were changed on the way");
	return err_set(e, EPROTO, "TLS: %s", l->t->gnutls->gnutls_strerror((int)code));
}

/* Bytes, 0 at the end, or a negative errno; -EAGAIN only without @wait. */
static ssize_t receive(struct tls_link *l, void *to, size_t n, bool wait)
{
	ssize_t got;
	int r;

	while (!__atomic_load_n(&l->cut, __ATOMIC_RELAXED)) {
		got = l->t->gnutls->gnutls_record_recv(l->s, to, n);
		if (got >= 0)
			return got;
		if (got == GNUTLS_E_PREMATURE_TERMINATION)
			return 0;
		if (!not_yet(got))
			return failed(l, got);
		r = wait ? wait_until(l, l->socket.patience_ms) : -EAGAIN;
		if (r < 0)
			return r;
	}
	return -ECANCELED;
}

static ssize_t take_early(struct tls_link *l, const struct iovec *to)
{
	size_t n = MIN(l->early_len, to->iov_len);

	memcpy(to->iov_base, l->early, n);
	memmove(l->early, l->early + n, l->early_len - n);
	l->early_len -= n;
	return (ssize_t)n;
}

static ssize_t tls_readv(void *carrier, const struct iovec *iov, int n)
{
	struct tls_link *l = carrier;
	ssize_t got, sum = 0;

	if (l->early_len)
		return take_early(l, &iov[0]);
	for (int i = 0; i < n; i++) {
		if (i && !l->t->gnutls->gnutls_record_check_pending(l->s))
			break;
		got = receive(l, iov[i].iov_base, iov[i].iov_len, i == 0);
		if (got <= 0)
			return sum ? sum : got;
		sum += got;
		if ((size_t)got < iov[i].iov_len)
			break;
	}
	return sum;
}

/* One record's worth of the front of the pieces; a lone piece stays where it is. */
static const void *gather(struct tls_link *l, const struct iovec *iov, int n, size_t *ret_len)
{
	size_t used = 0, part;

	if (!l->copies && (n == 1 || iov[0].iov_len >= RECORD_BYTES)) {
		*ret_len = MIN(iov[0].iov_len, (size_t)RECORD_BYTES);
		return iov[0].iov_base;
	}
	for (int i = 0; i < n && used < RECORD_BYTES; i++) {
		part = MIN(iov[i].iov_len, RECORD_BYTES - used);
		memcpy(l->out + used, iov[i].iov_base, part);
		used += part;
	}
	*ret_len = used;
	return l->out;
}

/* Whoever refuses says so and closes: its word may be there when writing fails already. */
static ssize_t send_failed(struct tls_link *l, ssize_t code)
{
	uint8_t byte;

	if (l->error == EPIPE || l->error == ECONNRESET)
		receive(l, &byte, sizeof(byte), false);
	if (l->story.code == EACCES)
		return -EACCES;
	l->story = (struct err){0};
	l->error = l->error == ECONNRESET ? ECONNRESET : EPIPE;
	return failed(l, code);
}

static ssize_t tls_writev(void *carrier, const struct iovec *iov, int n)
{
	struct tls_link *l = carrier;
	size_t len;
	const void *bytes = gather(l, iov, n, &len);
	ssize_t done;
	int r;

	if (__atomic_load_n(&l->cut, __ATOMIC_RELAXED))
		return -ECANCELED;
	done = l->t->gnutls->gnutls_record_send(l->s, bytes, len);
	while (not_yet(done)) {
		r = fd_carrier_wait(&l->socket, POLLOUT, l->socket.patience_ms);
		if (r < 0)
			return r;
		done = l->t->gnutls->gnutls_record_send(l->s, NULL, 0);
	}
	return done < 0 ? send_failed(l, done) : (ssize_t)len;
}

static const char *tls_story(void *carrier)
{
	const struct tls_link *l = carrier;

	return l->story.code ? l->story.msg : NULL;
}

static void tls_shutdown(void *carrier)
{
	struct tls_link *l = carrier;

	__atomic_store_n(&l->cut, true, __ATOMIC_RELAXED);
	fd_carrier_shutdown(&l->socket);
}

/* Unread bytes (a server's session tickets, for one) would make closing a reset, which may overtake
 * what is still on its way. */
static void farewell(struct tls_link *l)
{
	l->t->gnutls->gnutls_bye(l->s, GNUTLS_SHUT_WR);
	while (recv(l->socket.fd, l->in, sizeof(l->in), MSG_DONTWAIT) > 0)
		;
}

static void tls_patience(void *carrier, int ms)
{
	((struct tls_link *)carrier)->socket.patience_ms = ms;
}

static void tls_close(void *carrier)
{
	struct tls_link *l = carrier;

	if (l->ready && !l->story.code && !l->cut)
		farewell(l);
	if (l->s)
		l->t->gnutls->gnutls_deinit(l->s);
	fd_carrier_release(&l->socket);
	free(l->host);
	free(l);
}

static const struct channel_ops tls_ops = {.readv = tls_readv,
					   .writev = tls_writev,
					   .story = tls_story,
					   .shutdown = tls_shutdown,
					   .patience = tls_patience,
					   .close = tls_close};

/**
 * channel_tls_socket() - The socket below a channel with TLS
 * @c:	Channel
 *
 * Return: NULL if it is of another kind
 */
struct fd_carrier *channel_tls_socket(struct channel *c)
{
	struct tls_link *l = channel_carrier(c, &tls_ops);

	return l ? &l->socket : NULL;
}

/* What the other side's certificate must be; GnuTLS looks during the handshake. */
static void demand(struct tls_link *l)
{
	const struct tls_library *gnutls = l->t->gnutls;
	unsigned int n = 0;

	if (l->t->options.kind != TLS_X509 || l->t->options.any_peer)
		return;
	l->wanted[n++] = tls_purpose(!l->t->options.server);
	if (l->host)
		l->wanted[n++] = (gnutls_typed_vdata_st){.type = GNUTLS_DT_DNS_HOSTNAME,
							 .data = (unsigned char *)l->host};
	gnutls->gnutls_session_set_verify_cert2(l->s, l->wanted, n, 0);
	if (l->t->options.server)
		gnutls->gnutls_certificate_server_set_request(l->s, GNUTLS_CERT_REQUIRE);
}

static int session_make(struct tls_link *l)
{
	const struct tls_credentials *t = l->t;
	const struct tls_library *gnutls = t->gnutls;
	gnutls_credentials_type_t type = t->x509 ? GNUTLS_CRD_CERTIFICATE : GNUTLS_CRD_PSK;
	void *credentials = t->x509         ? (void *)t->x509
			    : t->psk_server ? (void *)t->psk_server
					    : (void *)t->psk_client;
	/* a client shows its certificate also where the server names other CAs: then it says so */
	unsigned int side = t->options.server ? GNUTLS_SERVER
					      : GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT;
	int r = gnutls->gnutls_init(&l->s, GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS | side);

	if (r >= 0)
		r = gnutls->gnutls_priority_set_direct(l->s, t->priority, NULL);
	if (r >= 0)
		r = gnutls->gnutls_credentials_set(l->s, type, credentials);
	if (r < 0)
		return r;
	demand(l);
	gnutls->gnutls_transport_set_ptr(l->s, l);
	gnutls->gnutls_transport_set_vec_push_function(l->s, push);
	gnutls->gnutls_transport_set_pull_function(l->s, pull);
	return 0;
}

static bool is_socket(int fd)
{
	int type;
	socklen_t len = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0;
}

/**
 * channel_open_tls() - A channel with TLS; its handshake comes next
 * @ret:	Set on success only
 * @fd:		Connected stream socket; owned by the channel on success. Becomes non-blocking
 * @t:		Stays longer than the channel
 * @host:	Client: name that the other side's certificate must have; NULL: none is known
 * @e:		Set on failure only
 *
 * Errors: EINVAL no socket, or no name to check a certificate against; as fcntl(2), eventfd(2)
 * Return: 0, or a negative errno
 */
int channel_open_tls(struct channel **ret, int fd, const struct tls_credentials *t,
		     const char *host, struct err *e)
{
	struct tls_link *l;
	int r;

	if (!is_socket(fd))
		return err_set(e, EINVAL, "TLS needs a socket, which goes both ways");
	if (!t->options.server && t->x509 && !t->options.any_peer && !host)
		return err_set(e, EINVAL,
			       "tls-hostname must say which name the target's certificate has, "
			       "since the address has none");
	l = mem_zalloc(sizeof(*l));
	l->t = t;
	r = fd_carrier_init(&l->socket, fd, e);
	if (r < 0) {
		free(l);
		return r;
	}
	l->host = host && !t->options.server ? str_dup(host) : NULL;
	r = session_make(l);
	if (r < 0) {
		l->socket.fd = -1; /* still the caller's */
		tls_close(l);
		return err_set(e, EINVAL, "TLS: %s", t->gnutls->gnutls_strerror(r));
	}
	*ret = channel_create(&tls_ops, l);
	return 0;
}

/* In GCM and ChaCha20-Poly1305 the tag is made of what was encrypted, in CCM and CBC of the bytes
 * before. */
static bool cipher_reads_twice(gnutls_cipher_algorithm_t cipher)
{
	return cipher != GNUTLS_CIPHER_AES_128_GCM && cipher != GNUTLS_CIPHER_AES_256_GCM &&
	       cipher != GNUTLS_CIPHER_CHACHA20_POLY1305;
}

static int handshake_failed(struct tls_link *l, int code, struct err *e)
{
	bool socket = code == GNUTLS_E_PUSH_ERROR || code == GNUTLS_E_PULL_ERROR;

	l->t->gnutls->gnutls_alert_send_appropriate(l->s, code); /* so that its log has it, too */
	if (socket && (l->error == ECONNRESET || l->error == EPIPE))
		code = GNUTLS_E_PREMATURE_TERMINATION;
	else if (socket)
		return err_ret(e, -l->error, "TLS handshake");
	return tls_handshake_story(l->t, l->s, code, l->host, e);
}

/**
 * channel_handshake_step() - Go on with the handshake as far as it goes without waiting
 * @c:		Channel with TLS
 * @events:	With EAGAIN: what the socket must be ready for
 * @e:		Set on failure only, but for EAGAIN
 *
 * Errors: EAGAIN not done yet; EKEYREJECTED, EKEYEXPIRED, EKEYREVOKED the other side's certificate;
 * EACCES the other side refuses; ECONNRESET, EPROTO it doesn't speak TLS; ECANCELED
 * Return: 0 when it is done, or a negative errno
 */
int channel_handshake_step(struct channel *c, short *events, struct err *e)
{
	struct tls_link *l = channel_carrier(c, &tls_ops);
	const struct tls_library *gnutls = l->t->gnutls;
	int r = l->ready ? 0 : gnutls->gnutls_handshake(l->s);

	while (r < 0 && !not_yet(r) && !gnutls->gnutls_error_is_fatal(r))
		r = gnutls->gnutls_handshake(l->s);
	if (__atomic_load_n(&l->cut, __ATOMIC_RELAXED))
		return err_set(e, ECANCELED, "cancelled");
	*events = gnutls->gnutls_record_get_direction(l->s) ? POLLOUT : POLLIN;
	if (not_yet(r))
		return -EAGAIN;
	if (r < 0)
		return handshake_failed(l, r, e);
	l->copies = cipher_reads_twice(gnutls->gnutls_cipher_get(l->s));
	l->ready = true;
	return 0;
}

static int handshake_late(const struct tls_link *l, int r, struct err *e)
{
	if (r == -ECANCELED)
		return err_set(e, ECANCELED, "cancelled");
	if (r == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT,
			       "TLS: no handshake with %s within %d s: does it hang, or is its "
			       "tls-creds not set?",
			       l->t->options.server ? "the source" : "the target",
			       HANDSHAKE_MS / 1000);
	return err_ret(e, r, "TLS handshake");
}

/**
 * channel_handshake() - Get a channel ready, whatever it is
 * @c:	Channel
 * @e:	Set on failure only
 *
 * Waits for 30 s at most; channel_shutdown() ends the wait.
 *
 * Errors: ETIMEDOUT, ECANCELED; as channel_handshake_step()
 * Return: 0 at once if there is nothing to be done, or a negative errno
 */
int channel_handshake(struct channel *c, struct err *e)
{
	struct tls_link *l = channel_carrier(c, &tls_ops);
	int64_t end_ns = time_ns() + HANDSHAKE_MS * NS_PER_MS, left_ms;
	short events;
	int r = l ? channel_handshake_step(c, &events, e) : 0;

	while (r == -EAGAIN) {
		left_ms = MAX((end_ns - time_ns()) / NS_PER_MS, (int64_t)0);
		r = fd_carrier_wait(&l->socket, events, (int)left_ms);
		r = r < 0 ? handshake_late(l, r, e) : channel_handshake_step(c, &events, e);
	}
	return r;
}

/**
 * channel_tls_look() - Look at the first bytes
 * @c:		Channel with TLS, its handshake done, nothing read yet
 * @bytes:	Set on success only; they are read later all the same
 *
 * Errors: EAGAIN they haven't come yet; EPIPE they won't; as reading
 * Return: 0, or a negative errno
 */
int channel_tls_look(struct channel *c, uint8_t bytes[4])
{
	struct tls_link *l = channel_carrier(c, &tls_ops);
	ssize_t got;

	while (l->early_len < sizeof(l->early)) {
		got = receive(l, l->early + l->early_len, sizeof(l->early) - l->early_len, false);
		if (got <= 0)
			return got ? (int)got : -EPIPE;
		l->early_len += (size_t)got;
	}
	memcpy(bytes, l->early, sizeof(l->early));
	return 0;
}
