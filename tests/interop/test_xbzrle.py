# SPDX-License-Identifier: Apache-2.0
"""Pages sent again as what has changed in them (xbzrle), between Outlive and stock QEMUs."""
import pytest

from frame.moving import awaiting, check, ended, move, send, switch_on
from frame.wait import until

DIRTYING = "rate=8M ws=4M fill=half"
SLOW = {"max-bandwidth": 12 << 20, "downtime-limit": 1}  # it goes on until it is let go
FAST = {"max-bandwidth": 0, "downtime-limit": 60000}


@pytest.mark.parametrize("cache", [64 << 20, 1 << 20])
def test_changes_are_sent_and_the_statistics_tell(outlive, vmm_any, witness, cache):
    guest = {"args": DIRTYING}
    here, there = witness(outlive, **guest), awaiting(vmm_any, name="there", **guest)
    switch_on(there.vmm, "xbzrle")
    uri = f"unix:{there.vmm.path('migrate.sock')}"
    there.vmm.qmp.command("migrate-incoming", uri=uri)
    send(here.vmm, uri, "xbzrle", **SLOW, **{"xbzrle-cache-size": cache})

    def encoded():
        told = here.vmm.qmp.command("query-migrate").get("xbzrle-cache", {"pages": 0})
        return told if told["pages"] and told["cache-miss"] and told["encoding-rate"] > 1 else None
    told = until(encoded, 60, "changes are sent")
    assert told["cache-size"] == cache and told["bytes"] < told["pages"] * 4096, told
    here.vmm.qmp.command("migrate-set-parameters", **FAST)
    assert ended(here.vmm)["status"] == ended(there.vmm)["status"] == "completed"
    check(there)
    there.close()
    here.vmm.quit()


def test_a_qemu_is_not_sent_hashes_of_ours(outlive, qemu, witness):
    here, there = witness(outlive, args="rate=off"), awaiting(qemu, name="there", args="rate=off")
    uri = f"unix:{there.vmm.path('migrate.sock')}"
    there.vmm.qmp.command("migrate-incoming", uri=uri)
    send(here.vmm, uri, "return-path", "outlive-content-hashes")
    info = ended(here.vmm)
    assert info["status"] == "failed" and "doesn't know outlive-content-hashes" in info["error-desc"], info
    check(here)
    there.close()


def test_what_a_qemu_sends_as_changes_arrives(outlive, qemu, witness):
    here, there = witness(qemu, args=DIRTYING), awaiting(outlive, name="there", args=DIRTYING)
    move(here.vmm, there.vmm, "xbzrle", **{"max-bandwidth": 12 << 20})
    check(there)
    there.close()
