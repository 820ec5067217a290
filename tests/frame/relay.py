# SPDX-License-Identifier: Apache-2.0
"""A link with delay, loss and rate between two network namespaces, as a program.

Theory of operation: for kernels without netem. A tap in each namespace; this process reads
frames from one and writes them to the other when they are due. Segmentation offload is on, so
a "frame" is up to 64 KiB and Python is fast enough for gigabits. The rate is kept by the time
a frame would take on the wire; what waits longer than the queue allows is dropped, as a real
link's queue does. Parameters come as lines on standard input: "RATE_BIT DELAY_S LOSS_SHARE".

    relay.py NETNS-A NETNS-B DEVICE
"""
import collections
import ctypes
import fcntl
import os
import random
import select
import struct
import sys
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF, TUNSETOFFLOAD, TUNSETVNETHDRSZ = 0x400454CA, 0x400454D0, 0x400454D8
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 = 1, 2, 4
HEADER = 10
QUEUE_SECONDS = 0.1
FRAMES_AT_ONCE = 64


def enter(namespace):
    """Move this process into a named network namespace."""
    fd = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    if ctypes.CDLL(None).setns(fd, CLONE_NEWNET) < 0:
        raise OSError(f"setns {namespace}")
    os.close(fd)


def tap(namespace, device):
    """A new tap `device` in a namespace."""
    enter(namespace)
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", device.encode(),
                                           IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", HEADER))
    fcntl.ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)
    return fd


class Shape:
    """The parameters of a link."""

    def __init__(self, words="0 0 0"):
        self.rate, self.delay, self.loss = map(float, words.split())


class Way:
    """One direction: frames read from `source` that wait to be written to `sink`."""

    def __init__(self, source, sink, chance):
        self.source, self.sink = source, sink
        self.waiting = collections.deque()
        self.free = 0.0
        self.chance = chance

    def take(self, shape, now):
        """Read what has come, and decide when each frame is due."""
        for _ in range(FRAMES_AT_ONCE):
            try:
                frame = os.read(self.source, 70000)
            except BlockingIOError:
                return
            start = max(self.free, now)
            if start - now > QUEUE_SECONDS or self.chance.random() < shape.loss:
                continue
            self.free = start + (8 * (len(frame) - HEADER) / shape.rate if shape.rate else 0)
            self.waiting.append((self.free + shape.delay, frame))

    def give(self, now):
        """Write what is due."""
        while self.waiting and self.waiting[0][0] <= now:
            frame = self.waiting.popleft()[1]
            try:
                os.write(self.sink, frame)
            except OSError:
                pass  # the other end is down: a cut cable loses frames


def serve(ways, shape):
    """Carry frames until standard input is closed."""
    by_source = {way.source: way for way in ways}
    while True:
        now = time.monotonic()
        due = [way.waiting[0][0] for way in ways if way.waiting]
        pause = max(min(due) - now, 0) if due else None
        ready = select.select([0, *by_source], [], [], pause)[0]
        now = time.monotonic()
        for fd in ready:
            if fd:
                by_source[fd].take(shape, now)
                continue
            words = os.read(0, 4096).decode()
            if not words:
                return
            shape = Shape(words.strip().splitlines()[-1])
            print("shaped", flush=True)
        for way in ways:
            way.give(now)


def main():
    """Make both taps, say so, and carry."""
    a, b = (tap(name, sys.argv[3]) for name in sys.argv[1:3])
    print("ready", flush=True)
    serve([Way(a, b, random.Random(1)), Way(b, a, random.Random(2))], Shape())


if __name__ == "__main__":
    main()
