# SPDX-License-Identifier: Apache-2.0
"""Pages sent again as what has changed in them (xbzrle), between Outlive and stock QEMUs."""
import pytest

from frame.moving import awaiting, check, move, switch_on
from frame.plugin import outlive_program, qemu_or_skip, starter
from frame.qemu import QEMUS

DIRTYING = "rate=1M ws=4M fill=half"
SLOW = {"max-bandwidth": 12 << 20, "downtime-limit": 20}


@pytest.fixture
def outlive(tmp_path, leak_guard):
    """Starter of outlive-vmm; requested first, so that it ends last."""
    yield from starter(outlive_program(), tmp_path)


@pytest.fixture(params=[*QEMUS, "outlive"])
def other(request, outlive, tmp_path, leak_guard):
    """Starter of each stock QEMU, and of Outlive itself."""
    if request.param == "outlive":
        yield outlive
    else:
        yield from starter(qemu_or_skip(request.param), tmp_path)


@pytest.mark.parametrize("cache", [64 << 20, 1 << 20])
def test_changes_are_sent_and_the_statistics_tell(outlive, other, witness, cache):
    guest = {"args": DIRTYING}
    here, there = witness(outlive, **guest), awaiting(other, name="there", **guest)
    switch_on(there.vmm, "xbzrle")
    info = move(here.vmm, there.vmm, "xbzrle", **SLOW, **{"xbzrle-cache-size": cache})
    check(there)
    told = info["xbzrle-cache"]
    assert told["cache-size"] == cache
    assert told["pages"] > 0 and told["cache-miss"] > 0, told
    assert told["bytes"] < told["pages"] * 4096 and told["encoding-rate"] > 1, told
    there.close()
    here.vmm.quit()


def test_what_a_qemu_sends_as_changes_arrives(outlive, qemu, witness):
    here, there = witness(qemu, args=DIRTYING), awaiting(outlive, name="there", args=DIRTYING)
    move(here.vmm, there.vmm, "xbzrle", **SLOW)
    check(there)
    there.close()
