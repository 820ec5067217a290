# SPDX-License-Identifier: Apache-2.0
"""A guest on a tap is pinged every 10 ms while its VMM is replaced: nothing is lost or comes twice."""
import subprocess

import pytest

from frame.live import live  # noqa: F401
from frame.ping import Ping


@pytest.fixture(name="tap")
def _tap():
    """A tap with an address, in the tests' own network namespace."""
    for words in ("tuntap add oltap0 mode tap", "address add 10.99.0.1/24 dev oltap0", "link set oltap0 up"):
        subprocess.run(["ip", *words.split()], check=True)
    yield "oltap0"
    subprocess.run(["ip", "link", "delete", "oltap0"], check=True)


@pytest.mark.parametrize("cpus", [1, 4])
def test_no_ping_is_lost_on_a_tap(live, tap, cpus):
    guest = live("-netdev", f"tap,id=n0,ifname={tap},script=no,downscript=no", "-device", "virtio-net-pci,netdev=n0",
                 cpus=cpus, memory_mib=64, args="ip=10.99.0.2 rate=1M", boot="pvh")
    ping = Ping("10.99.0.2")
    ping.more()
    pauses = []
    for _ in range(5):
        pauses.append(guest.upgrade()["pause-us"]["running"] / 1e6)
        ping.more()
    lost, twice, longest = ping.end()
    assert (lost, twice) == ([], []), (longest, pauses)
    guest.verify()
    guest.qmp.command("quit")
