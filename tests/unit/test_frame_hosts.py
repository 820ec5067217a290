# SPDX-License-Identifier: Apache-2.0
"""Two hosts and the link between them, in both ways the frame makes it."""
import contextlib
import socket
import subprocess
import threading
import time

import pytest

from frame.wait import until

KINDS = pytest.mark.parametrize("relayed", [False, True], ids=["veth", "relay"])


def ping_ms(pair, count=3):
    """Shortest round trip from a to b in ms."""
    said = pair.a.run("ping", "-n", "-q", "-c", count, "-i", "0.05", "-W", "30", pair.b.address)
    return float(said.split("min/avg/max/mdev = ")[1].split("/")[0])


def send(client, size):
    """Send so many bytes and close; the taker notices when it does not get all of them."""
    with client, contextlib.suppress(OSError):
        client.sendall(bytes(size))


def transfer(pair, size, timeout=60):
    """Seconds that `size` bytes take from a to b over TCP."""
    with pair.b.inside():
        server = socket.create_server(("", 7000))
    with pair.a.inside():
        client = socket.create_connection((pair.b.address, 7000), timeout=timeout)
    start = time.monotonic()
    sender = threading.Thread(target=send, args=(client, size))
    with server, server.accept()[0] as taker:
        taker.settimeout(timeout)
        sender.start()
        got = 0
        while got < size:
            data = taker.recv(1 << 20)
            assert data, f"closed after {got} bytes"
            got += len(data)
    sender.join()
    return time.monotonic() - start


@KINDS
def test_hosts_reach_each_other_and_nothing_else(hosts, relayed):
    pair = hosts(relayed=relayed)
    assert ping_ms(pair) > 0
    assert pair.a.run("ip", "route").startswith("10.77.0.0/24")
    assert "default" not in pair.a.run("ip", "route")


@KINDS
def test_rate_is_not_exceeded(hosts, relayed):
    pair = hosts(relayed=relayed, rate_mbit=200)
    assert transfer(pair, 10_000_000) > 0.3, "10 MB at 200 Mbit/s take 0.4 s, less the burst"


def test_delay_is_added_on_both_ways(hosts):
    pair = hosts(delay_ms=20)
    assert ping_ms(pair) >= 40
    pair.shape(delay_ms=5)
    seen = []

    def changed():
        seen.append(ping_ms(pair))
        return seen[-1] < 40
    until(changed, 60, "changed while in use")
    assert min(seen) >= 10


def test_loss_loses_what_it_says(hosts):
    pair = hosts(delay_ms=1)
    ping_ms(pair)  # they know each other's MAC addresses: asking for them is once a second
    pair.shape(loss_percent=50)
    done = subprocess.run([*pair.a.prefix, "ping", "-n", "-q", "-c", "60", "-i", "0.01", "-W", "1",
                           pair.b.address], capture_output=True, text=True, check=False)
    lost = float(done.stdout.split("% packet loss")[0].split()[-1])
    assert 50 < lost < 95, "three of four round trips fail"


@KINDS
def test_a_cut_link_carries_nothing_until_mended(hosts, relayed):
    pair = hosts(relayed=relayed)
    assert ping_ms(pair) > 0
    pair.cut()
    with pytest.raises(subprocess.CalledProcessError):
        pair.a.run("ping", "-n", "-c", "1", "-W", "1", pair.b.address)
    pair.mend()
    assert ping_ms(pair) > 0


def test_a_vmm_runs_in_a_host_and_is_driven_from_outside(hosts, qemu):
    pair = hosts()
    vmm = qemu.start("-M", "none", "-nodefaults", "-display", "none", "-vnc",
                     f"{pair.b.address}:0", within=pair.b.prefix)
    with pair.a.inside():
        client = socket.create_connection((pair.b.address, 5900), timeout=60)
    with client:
        assert client.recv(3) == b"RFB"
    assert vmm.qmp.command("query-status")["running"] is True
