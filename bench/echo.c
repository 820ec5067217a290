/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the other end of a guest's Ethernet, the same for each VMM. In a network
 * namespace of its own there is a tap device; a child sends back each of the witness's packets that
 * comes out of it, and the VMM, which is started in place of this program, finds the tap by name.
 * The child ends with the VMM.
 *
 *	echo TAP PROGRAM [ARGUMENT...]
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define WITNESS_TYPE 0x88b5 /* the Ethernet type of pulse's numbered packets */
#define FRAME_BYTES  2048

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "echo: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void tap_create(const char *name)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC), s = socket(AF_INET, SOCK_DGRAM, 0);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	must(tun >= 0 && s >= 0, "/dev/net/tun");
	must(ioctl(tun, TUNSETIFF, &ifr) == 0 && ioctl(tun, TUNSETPERSIST, 1) == 0, name);
	ifr.ifr_flags = IFF_UP;
	must(ioctl(s, SIOCSIFFLAGS, &ifr) == 0, "bring it up");
	close(s);
	close(tun);
}

/* Only frames of that type, so those that are sent aren't seen again. */
static int frames_open(const char *name)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(WITNESS_TYPE),
				 .sll_ifindex = (int)if_nametoindex(name)};
	int s = socket(AF_PACKET, SOCK_RAW, htons(WITNESS_TYPE));

	must(s >= 0 && bind(s, (struct sockaddr *)&at, sizeof(at)) == 0, "listen to frames");
	return s;
}

static void answer(int s)
{
	static uint8_t frame[FRAME_BYTES];
	ssize_t n;

	for (;;) {
		n = recv(s, frame, sizeof(frame), 0);
		if (n > 0)
			n = send(s, frame, (size_t)n, 0);
		if (n < 0 && errno != ENETDOWN && errno != ENOBUFS && errno != EINTR)
			return;
	}
}

int main(int argc, char **argv)
{
	int s;

	must(argc > 2, "usage: echo TAP PROGRAM [ARGUMENT...]");
	must(unshare(CLONE_NEWNET) == 0, "a network namespace of its own (root has one)");
	tap_create(argv[1]);
	s = frames_open(argv[1]);
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		answer(s);
		return 1;
	}
	close(s);
	execvp(argv[2], argv + 2);
	must(0, argv[2]);
	return 1;
}
