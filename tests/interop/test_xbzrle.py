# SPDX-License-Identifier: Apache-2.0
"""Pages sent again as what has changed in them (xbzrle), between Outlive and stock QEMUs."""
import pytest

from frame.moving import awaiting, check, ended, move, send, switch_on

DIRTYING = "rate=1M ws=4M fill=half"
SLOW = {"max-bandwidth": 12 << 20, "downtime-limit": 20}


@pytest.mark.parametrize("cache", [64 << 20, 1 << 20])
def test_changes_are_sent_and_the_statistics_tell(outlive, vmm_any, witness, cache):
    guest = {"args": DIRTYING}
    here, there = witness(outlive, **guest), awaiting(vmm_any, name="there", **guest)
    switch_on(there.vmm, "xbzrle")
    info = move(here.vmm, there.vmm, "xbzrle", **SLOW, **{"xbzrle-cache-size": cache})
    check(there)
    told = info["xbzrle-cache"]
    assert told["cache-size"] == cache
    assert told["pages"] > 0 and told["cache-miss"] > 0, told
    assert told["bytes"] < told["pages"] * 4096 and told["encoding-rate"] > 1, told
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
    move(here.vmm, there.vmm, "xbzrle", **SLOW)
    check(there)
    there.close()
