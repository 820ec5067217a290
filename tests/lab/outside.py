# SPDX-License-Identifier: Apache-2.0
"""The world outside of a guest, run on the emulated host: outside.py ADDRESS PORT PHASE.

Pings the guest every 10 ms and serves one TCP connection on which the guest sends numbered lines. The file PHASE has
the name of what happens at the moment; when it says "stop", what was seen is printed as one line of JSON.
"""
import json
import pathlib
import socket
import statistics
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from frame.ping import Ping  # noqa: E402

LOOK_S = 0.005
APART = "between"  # a phase of which nothing is told


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


def phases_until_stop(path):
    """[(when it began, its name), ...], as the file says."""
    phases = [(time.monotonic(), APART)]
    while phases[-1][1] != "stop":
        now = path.read_text(encoding="ascii").strip() if path.exists() else APART
        if now != phases[-1][1]:
            phases.append((time.monotonic(), now))
            print(f"outside: phase {now}", flush=True)
        time.sleep(LOOK_S)
    return phases


def ways(ping, begin, end):
    """What became of the pings that were sent in a phase, in ms."""
    sent = sorted(number for number, when in ping.sent.items() if begin <= when < end)
    took = [(ping.answered[number][0] - ping.sent[number]) * 1000 for number in sent if number in ping.answered]
    first = next((at for at, number in enumerate(sent) if number in ping.answered), None)
    back = min((ping.answered[number][0] for number in sent if number in ping.answered), default=None)
    return {"sent": len(sent), "lost": len(sent) - len(took), "lost-before-first": first,
            "first-after-ms": back and round((back - begin) * 1000, 1),
            "longest-ms": round(max(took, default=0), 1),
            "median-ms": round(statistics.median(took), 1) if took else None}


def main(address, port, phase):
    """Watch until it says stop."""
    stream = Stream(int(port))
    while not stream.lines:
        time.sleep(0.1)
    ping = Ping(address)
    print("outside: watching", flush=True)
    phases = phases_until_stop(pathlib.Path(phase))
    lines = stream.lines
    while stream.lines == lines and not stream.ended:
        time.sleep(0.1)  # it still goes on
    lost, twice, longest = ping.end()
    told = [{"name": name, **ways(ping, begin, end)}
            for (begin, name), (end, _) in zip(phases, phases[1:]) if name != APART]
    print("outside: " + json.dumps({
        "sent": len(ping.sent), "lost": lost, "twice": twice, "longest-ms": round(longest * 1000, 1), "phases": told,
        "lines": stream.lines, "wrong": stream.wrong, "connections": stream.connections, "ended": stream.ended}),
        flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
