# SPDX-License-Identifier: Apache-2.0
"""Pages over several channels (multifd), between Outlive and stock QEMUs, while the guest writes."""
import pytest

from frame.moving import awaiting, check, ended, move, switch_on
from frame.qmp import QmpError

DIRTYING = "rate=1M ws=4M fill=half"
WAYS = [("unix", "none"), ("tcp", "none"), ("unix", "zlib"), ("tcp", "zstd")]


def channels(vmm, number, method="none", **parameters):
    """Switch multifd on, with this many channels."""
    switch_on(vmm, "multifd")
    vmm.qmp.command("migrate-set-parameters", **{"multifd-channels": number, "multifd-compression": method,
                                                 **parameters})


class Route:
    """A guest that goes from one to the next; each one it left is ended."""

    def __init__(self, first, **guest):
        self.guest, self.options, self.stays = first, guest, 0

    def go(self, starter_of, kind, number, method, **parameters):
        """Move on to another VMM."""
        self.stays += 1
        there = awaiting(starter_of, name=f"stay-{self.stays}", **self.options)
        uri = None if kind == "unix" else f"tcp:127.0.0.1:{4720 + self.stays}"
        for vmm in (there.vmm, self.guest.vmm):
            channels(vmm, number, method, **parameters)
        info = move(self.guest.vmm, there.vmm, uri=uri)
        self.guest.close()
        self.guest.vmm.quit()
        self.guest = there
        check(there)
        return info


@pytest.fixture
def route(witness):
    """Function that starts a guest on its route."""
    made = []

    def make(first, **guest):
        made.append(Route(witness(first, **guest), **guest))
        return made[-1]
    yield make
    for one in made:
        one.guest.close()


@pytest.mark.parametrize("kind,method", WAYS)
def test_a_guest_goes_there_and_back_by_channels(outlive, vmm_any, route, kind, method):
    guest = route(outlive, args=DIRTYING)
    for number, target in ((2, vmm_any), (3, outlive), (1, vmm_any)):
        info = guest.go(target, kind, number, method)
        assert info["ram"]["multifd-bytes"] > 1 << 20, info


def test_the_newest_qemu_and_outlive_can_have_the_channels_look_for_zeros(outlive, qemu_new, route):
    how = {"zero-page-detection": "multifd"}
    guest = route(outlive, args=DIRTYING)
    for method in ("none", "zstd"):
        for target in (qemu_new, outlive, outlive):
            guest.go(target, "unix", 2, method, **how)


def test_an_outlive_that_was_told_nothing_takes_the_channels_of_another(outlive, route, witness):
    source = witness(outlive, args=DIRTYING)
    for kind in ("unix", "tcp"):
        there = awaiting(outlive, name=f"by-{kind}", args=DIRTYING)
        channels(source.vmm, 4, "zstd")
        move(source.vmm, there.vmm, uri=None if kind == "unix" else "tcp:127.0.0.1:4740")
        source.close()
        source.vmm.quit()
        source = there
        check(source)
    source.close()


def test_channels_and_xbzrle_exclude_each_other(outlive, witness):
    vmm = witness(outlive).vmm
    switch_on(vmm, "xbzrle")
    with pytest.raises(QmpError, match="multifd and xbzrle exclude each other"):
        switch_on(vmm, "multifd")
    both = {one["capability"]: one["state"] for one in vmm.qmp.command("query-migrate-capabilities")}
    assert both["xbzrle"] and not both["multifd"]


def test_channels_that_do_not_fit_are_refused_and_the_guest_runs_on(outlive, witness):
    source = witness(outlive, args=DIRTYING)
    there = awaiting(outlive, name="other", args=DIRTYING)
    channels(there.vmm, 3)
    channels(source.vmm, 2)
    there.vmm.qmp.command("migrate-incoming", uri=f"unix:{there.vmm.path('m')}")
    source.vmm.qmp.command("migrate", uri=f"unix:{there.vmm.path('m')}")
    source.vmm.qmp.command("migrate_cancel")  # the target waits for the third
    assert ended(source.vmm)["status"] == "cancelled"
    check(source)
    source.vmm.qmp.command("migrate-set-parameters", **{"multifd-channels": 3})
    there.close()
    again = awaiting(outlive, name="again", args=DIRTYING)
    channels(again.vmm, 3)
    move(source.vmm, again.vmm)
    check(again)
    again.close()
