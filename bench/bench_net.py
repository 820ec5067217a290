# SPDX-License-Identifier: Apache-2.0
"""virtio-net: packets to a peer and back, one and many at a time.

A tap device in a network namespace of its own; a small program (bench/echo.c) sends each packet back.
Counted by the guest over its own clock: what came back, and how long one took there and back.
"""
import os

from frame.paths import BUILD
from frame.vmm import Vmm
from frame.witness import options
from measure.guest import per_second, started

UNIT = "us"
FLOOR = {"there and back": ("doorbell by eventfd", ("futex, there and back", 2))}
UNITS = {"32 at a time": "packets/ms"}
TAP = "tap0"
NET = ("-netdev", f"tap,id=n0,ifname={TAP},script=no,downscript=no",
       "-device", "virtio-net-pci,netdev=n0,mac=52:54:00:12:34:56")


def done(report):
    """(packets that came back, guest's time in ns)."""
    device = next(d for d in report["device"] if d["kind"] == "net")
    assert device["state"] == "works" and not device["bad"], device
    # What is on the way while the host does something else for a second is given up.
    assert device["lost"] <= 3 * device["depth"] + device["in"] // 100, device
    return device["in"], report["cpu"][0]["tsc_last"] * 1e9 / report["tsc_hz"]


def rate(program, folder, depth):
    """Packets a second that come back."""
    args = f"rate=off verify=off wall=0 net={depth} net_rate=0"
    with Vmm(program, [*options(args, cpus=2, memory_mib=64), *NET], os.path.join(folder, f"log{depth}"),
             within=(BUILD / "bench" / "echo", TAP)) as vmm:
        guest = started(vmm, args)
        found = per_second(guest, done)
        guest.close()
    return found


def measure(program, folder):
    """One round."""
    return {"there and back": 1e6 / rate(program, folder, 1), "32 at a time": rate(program, folder, 32) / 1e3}
