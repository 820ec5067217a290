# SPDX-License-Identifier: Apache-2.0
"""Clients come to the console and the agent's port of a guest that reads nothing, and leave."""
import socket

import pytest

from frame.wait import until

START = ("-M", "q35", "-nodefaults", "-display", "none", "-m", 64, "-S")
PORTS = {"serial": ("-serial", "chardev:c"),
         "agent": ("-device", "virtio-serial", "-device", "virtserialport,chardev=c,name=org.qemu.guest_agent.0"),
         "debug": ("-device", "isa-debugcon,chardev=c")}


@pytest.mark.parametrize("said", [b"", b"x" * 64], ids=["silent", "unread"])
@pytest.mark.parametrize("port", sorted(PORTS))
def test_a_client_that_left_keeps_nobody_waiting(outlive, run_dir, kvm, port, said):
    path = f"{run_dir}/c.sock"
    vmm = outlive.start(*START, "-chardev", f"socket,id=c,path={path},server=on,wait=off", *PORTS[port])

    def name():
        return next(one["filename"] for one in vmm.qmp.command("query-chardev") if one["label"] == "c")
    for _ in range(20):  # more than can wait at a socket
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.sendall(said)
    if not said:
        until(lambda: name().startswith("disconnected"), 60, "the last one's leaving")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        until(lambda: not name().startswith("disconnected"), 60, "the next one")
