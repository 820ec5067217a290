/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a second thread that answers, by futex, by a byte over loopback TCP, and by
 * a signal that ends its system call, as a kick ends KVM_RUN. One figure is a round trip, the
 * signal's one way.
 */
#include "floor/floor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/futex.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define GROUP "Wake"
#define TRIPS 50
#define BULK  (16u << 20)

static uint32_t word; /* odd: the second thread's turn */
static uint64_t woken;
static int waiting;

static void turn_wait(uint32_t until)
{
	uint32_t now;

	while ((now = __atomic_load_n(&word, __ATOMIC_ACQUIRE)) != until)
		syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
}

static void turn_give(uint32_t next)
{
	__atomic_store_n(&word, next, __ATOMIC_RELEASE);
	syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *futex_peer(void *unused)
{
	for (uint32_t i = 0; i < TRIPS; i++) {
		turn_wait(2 * i + 1);
		turn_give(2 * i + 2);
	}
	return NULL;
}

static void futex_once(struct floor_table *t)
{
	pthread_t peer;
	uint64_t start;

	word = 0;
	if (pthread_create(&peer, NULL, futex_peer, NULL))
		return;
	start = floor_now();
	for (uint32_t i = 0; i < TRIPS; i++) {
		turn_give(2 * i + 1);
		turn_wait(2 * i + 2);
	}
	floor_add(t, GROUP, "futex, there and back", (double)(floor_now() - start) / 1e3 / TRIPS);
	pthread_join(peer, NULL);
}

static void on_kick(int number)
{
}

/* Sleeps until the signal, and notes when it was back. */
static void *signal_peer(void *unused)
{
	struct timespec second = {.tv_sec = 1};

	__atomic_store_n(&waiting, 1, __ATOMIC_RELEASE);
	nanosleep(&second, NULL);
	woken = floor_now();
	return NULL;
}

static void signal_once(struct floor_table *t)
{
	struct sigaction kick = {.sa_handler = on_kick};
	struct timespec moment = {.tv_nsec = 200000};
	pthread_t peer;
	uint64_t start;

	sigaction(SIGUSR1, &kick, NULL);
	waiting = 0;
	if (pthread_create(&peer, NULL, signal_peer, NULL))
		return;
	while (!__atomic_load_n(&waiting, __ATOMIC_ACQUIRE))
		sched_yield();
	nanosleep(&moment, NULL); /* let it reach the system call */
	start = floor_now();
	pthread_kill(peer, SIGUSR1);
	pthread_join(peer, NULL);
	if (woken - start < 500000000) /* else the signal came before the sleep */
		floor_add(t, GROUP, "signal ends a system call", (double)(woken - start) / 1e3);
}

/* A connected pair over loopback. */
static int tcp_pair(int fd[2])
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int one = 1, server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	fd[0] = fd[1] = -1;
	if (server >= 0 && !bind(server, (struct sockaddr *)&at, len) && !listen(server, 1) &&
	    !getsockname(server, (struct sockaddr *)&at, &len)) {
		fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd[0] >= 0 && !connect(fd[0], (struct sockaddr *)&at, len))
			fd[1] = accept(server, NULL, NULL);
	}
	if (server >= 0)
		close(server);
	for (int i = 0; i < 2 && fd[1] >= 0; i++)
		setsockopt(fd[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd[1] < 0 ? -1 : 0;
}

/* Answers TRIPS bytes, takes BULK, answers once more. */
static void *tcp_peer(void *arg)
{
	static uint8_t buf[1 << 18];
	size_t left = BULK;
	int fd = *(int *)arg;
	ssize_t n;

	for (int i = 0; i < TRIPS; i++)
		if (recv(fd, buf, 1, 0) != 1 || send(fd, buf, 1, MSG_NOSIGNAL) != 1)
			return NULL;
	while (left && (n = recv(fd, buf, sizeof(buf), 0)) > 0)
		left -= (size_t)n;
	(void)!send(fd, buf, 1, MSG_NOSIGNAL);
	return NULL;
}

static void tcp_talk(struct floor_table *t, int fd)
{
	static uint8_t buf[1 << 18];
	uint64_t start = floor_now();

	for (int i = 0; i < TRIPS; i++)
		if (send(fd, buf, 1, MSG_NOSIGNAL) != 1 || recv(fd, buf, 1, 0) != 1)
			return;
	floor_add(t, GROUP, "loopback TCP, there and back",
		  (double)(floor_now() - start) / 1e3 / TRIPS);
	start = floor_now();
	for (size_t sent = 0; sent < BULK; sent += sizeof(buf))
		if (send(fd, buf, sizeof(buf), MSG_NOSIGNAL) != sizeof(buf))
			return;
	if (recv(fd, buf, 1, 0) == 1)
		floor_add(t, GROUP, "loopback TCP, 1 MiB",
			  (double)(floor_now() - start) / 1e3 / (BULK >> 20));
}

static void tcp_once(struct floor_table *t)
{
	pthread_t peer;
	int fd[2];

	if (tcp_pair(fd) < 0 || pthread_create(&peer, NULL, tcp_peer, &fd[1])) {
		floor_missing(t, GROUP, "loopback TCP");
	} else {
		tcp_talk(t, fd[0]);
		shutdown(fd[0], SHUT_RDWR);
		pthread_join(peer, NULL);
	}
	for (int i = 0; i < 2; i++)
		if (fd[i] >= 0)
			close(fd[i]);
}

/**
 * floor_wake() - One round of what reaching another thread costs
 * @t:		Receives the figures
 */
void floor_wake(struct floor_table *t)
{
	futex_once(t);
	signal_once(t);
	tcp_once(t);
}
