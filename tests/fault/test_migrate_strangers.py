# SPDX-License-Identifier: Apache-2.0
"""Who isn't the source connects to a VMM that waits for a guest: it goes on waiting, and the guest arrives."""
import select
import socket

import pytest

from frame.moving import awaiting, check, ended, send, status
from frame.wait import until

LOAD = "rate=1M ws=2M fill=half"
PORT = 4650
WORDS = {"nothing": b"", "a letter": b"Q", "http": b"GET / HTTP/1.1\r\n\r\n", "zeroes": bytes(64),
         "tls": b"\x16\x03\x01\0\0", "a monitor": b'{"execute": "quit"}\r\n'}


def knock(words, stays=False):
    """Somebody connects and says something; the connection, if it stays."""
    one = socket.create_connection(("127.0.0.1", PORT))
    one.sendall(words)
    if stays:
        return one
    one.close()
    return None


@pytest.mark.parametrize("capabilities", [(), ("multifd",)], ids=["one stream", "channels"])
def test_strangers_at_the_port_cost_nothing(outlive, witness, capabilities):
    here = witness(outlive, args=LOAD)
    there = awaiting(outlive, args=LOAD)
    there.vmm.qmp.command("migrate-set-capabilities",
                          capabilities=[{"capability": name, "state": True} for name in capabilities])
    there.vmm.qmp.command("migrate-incoming", uri=f"tcp:127.0.0.1:{PORT}")
    for words in WORDS.values():
        knock(words)
    stay = [knock(words, stays=True) for words in (b"", b"Q", b"nobody")]
    assert select.select([stay[2]], [], [], 60)[0], "what is no migration isn't closed"
    assert status(there.vmm) == "setup", there.vmm.output()
    send(here.vmm, f"tcp:127.0.0.1:{PORT}", "return-path", *capabilities)
    assert ended(here.vmm)["status"] == "completed", there.vmm.output()
    assert ended(there.vmm)["status"] == "completed"
    check(there)
    for one in stay:
        one.close()
    here.close()
    there.close()


def test_silent_strangers_do_not_take_all_places(outlive, witness):
    here = witness(outlive, args=LOAD)
    there = awaiting(outlive, args=LOAD)
    there.vmm.qmp.command("migrate-incoming", uri=f"tcp:127.0.0.1:{PORT}")
    stay = [knock(b"", stays=True) for _ in range(300)]
    until(lambda: "say nothing; the oldest is closed" in there.vmm.output(), 60, "there are too many")
    send(here.vmm, f"tcp:127.0.0.1:{PORT}", "return-path")
    assert ended(here.vmm)["status"] == "completed", there.vmm.output()
    check(there)
    for one in stay:
        one.close()
    here.close()
    there.close()
