# SPDX-License-Identifier: Apache-2.0
"""The world outside of a guest, run on the emulated host: outside.py ADDRESS PORT STOP.

Pings the guest every 10 ms and serves one TCP connection on which the guest sends numbered lines. When
the file STOP is there it prints what it saw as one line of JSON.
"""
import json
import os
import pathlib
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from frame.ping import Ping  # noqa: E402


class Stream:
    """The other end of the guest's connection; `lines` came in order, `wrong` is the first that didn't."""

    def __init__(self, port):
        self.listener = socket.create_server(("", port))
        self.lines, self.wrong, self.connections, self.ended = 0, None, 0, False
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        """Serve."""
        while True:
            sock, _ = self.listener.accept()
            self.connections += 1
            for line in sock.makefile():
                if line.strip() == str(self.lines):
                    self.lines += 1
                else:
                    self.wrong = self.wrong or line.strip()
            self.ended = True


def main(address, port, stop):
    """Watch until the file is there."""
    stream = Stream(int(port))
    while not stream.lines:
        time.sleep(0.1)
    ping = Ping(address)
    print("outside: watching", flush=True)
    while not os.path.exists(stop):
        time.sleep(0.1)
    lines = stream.lines
    while stream.lines == lines and not stream.ended:
        time.sleep(0.1)  # it still goes on
    lost, twice, longest = ping.end()
    came = sorted(when[0] for when in ping.answered.values())
    gap = max(later - earlier for earlier, later in zip(came, came[1:]))
    print("outside: " + json.dumps({
        "sent": len(ping.sent), "lost": lost, "twice": twice, "longest-ms": round(longest * 1000, 1),
        "gap-ms": round(gap * 1000, 1),
        "lines": stream.lines, "wrong": stream.wrong, "connections": stream.connections, "ended": stream.ended}),
        flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
