# SPDX-License-Identifier: Apache-2.0
"""How far a guest's wall clock is from this host's, run on the emulated host: wallclock.py ADDRESS.

Theory of operation: ICMP timestamps (RFC 792), which Linux answers in the kernel with milliseconds since midnight. Of
many questions that with the shortest way counts; the answer was given in its middle.
"""
import pathlib
import select
import socket
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from frame.ping import checksum  # noqa: E402

QUESTION, ANSWER = 13, 14
TRIES, WAIT_S, DAY_MS = 100, 2, 86400000


def ask(sock, address, number):
    """One question: (length of its way in ms, guest's clock minus ours in ms), or None."""
    body = struct.pack("!BBHHHIII", QUESTION, 0, 0, 0x4f4c, number, 0, 0, 0)
    body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    sent = time.time()
    sock.sendto(body, (address, 0))
    while select.select([sock], [], [], WAIT_S)[0]:
        packet = sock.recv(2048)
        came = time.time()
        icmp = packet[(packet[0] & 15) * 4:]
        if len(icmp) < 20:
            continue  # somebody else's ping
        kind, _, _, _, sequence, _, _, theirs = struct.unpack("!BBHHHIII", icmp[:20])
        if (kind, sequence) == (ANSWER, number):
            middle = (sent + came) / 2 * 1000 % DAY_MS
            return (came - sent) * 1000, (theirs + 0.5 - middle + DAY_MS / 2) % DAY_MS - DAY_MS / 2
    return None


def main(address):
    """Ask many times; print the answer that came soonest."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        answers = [answer for answer in (ask(sock, address, number) for number in range(TRIES)) if answer]
    way, offset = min(answers)
    print(f"offset {offset:.1f} way {way:.1f}")


if __name__ == "__main__":
    main(sys.argv[1])
