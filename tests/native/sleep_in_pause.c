/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: preloaded into outlive-vmm, this makes a build that is slower by a known
 * time in the pause of a switchover: the process that gives its guest away sleeps once, for
 * SLEEP_MS, when it reads the guest's clock, which it does nowhere else. What it starts is told not
 * to by the environment.
 */
#include <dlfcn.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

static pthread_once_t slept = PTHREAD_ONCE_INIT;
static int sleep_ms;

__attribute__((constructor)) static void begin(void)
{
	const char *text = getenv("SLEEP_MS");

	sleep_ms = text ? atoi(text) : 0;
	unsetenv("SLEEP_MS");
}

static void sleep_once(void)
{
	usleep((useconds_t)sleep_ms * 1000);
}

int ioctl(int fd, unsigned long request, ...)
{
	__typeof__(&ioctl) real = (__typeof__(&ioctl))dlsym(RTLD_NEXT, "ioctl");
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (request == KVM_GET_CLOCK)
		pthread_once(&slept, sleep_once);
	return real(fd, request, arg);
}
