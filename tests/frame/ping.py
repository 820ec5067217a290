# SPDX-License-Identifier: Apache-2.0
"""Somebody who pings an address all the time and remembers each answer."""
import contextlib
import select
import socket
import struct
import threading
import time

from frame.wait import until

EVERY = 0.01
REPLY = 0


def checksum(data):
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


class Ping:
    """Sends an echo request every 10 ms on a thread, from the namespace it is made in."""

    def __init__(self, address):
        self.address = address
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.sent, self.answered = {}, {}
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def request(self, number):
        """An echo request; the number is its identifier and sequence."""
        body = struct.pack("!BBHHH", 8, 0, 0, number >> 16 & 0xFFFF, number & 0xFFFF) + b"outlive!"
        return body[:2] + struct.pack("!H", checksum(body)) + body[4:]

    def run(self):
        """Send and receive until it ends."""
        number, due = 0, time.monotonic()
        while not self.ending.is_set():
            now = time.monotonic()
            if now >= due:
                self.sent[number] = now
                with contextlib.suppress(OSError):  # nobody is there: lost
                    self.sock.sendto(self.request(number), (self.address, 0))
                number, due = number + 1, max(due + EVERY, now)
            if select.select([self.sock], [], [], max(due - time.monotonic(), 0))[0]:
                self.take(self.sock.recv(2048))

    def take(self, packet):
        """Note an answer."""
        icmp = packet[(packet[0] & 15) * 4:]
        kind, _, _, high, low = struct.unpack("!BBHHH", icmp[:8])
        if kind == REPLY:
            self.answered.setdefault(high << 16 | low, []).append(time.monotonic())

    def more(self, count=30, timeout=60):
        """Wait until so many more are answered."""
        enough = len(self.answered) + count
        until(lambda: len(self.answered) >= enough, timeout, f"{count} more answers of {self.address}")

    def end(self, timeout=60):
        """Stop; gives (numbers that were lost, numbers answered twice, the longest way in seconds)."""
        last = max(self.sent)
        until(lambda: last in self.answered, timeout, "the last answer")
        self.ending.set()
        self.thread.join(10)
        self.sock.close()
        first = min(self.answered)  # before, addresses were asked for
        lost = [number for number in range(first, last) if number not in self.answered]
        twice = [number for number, when in self.answered.items() if len(when) > 1]
        return lost, twice, max(when[0] - self.sent[number] for number, when in self.answered.items())
