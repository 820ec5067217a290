# SPDX-License-Identifier: Apache-2.0
"""What -fw_cfg gives reaches the guest; pulse as firmware has its parameters from there."""
import pytest
from frame.witness import CMDLINE, Witness, options

pytestmark = pytest.mark.usefixtures("kvm")


def test_the_guest_reads_a_string(outlive):
    guest = Witness(outlive.start(*options("rate=off verify=off"))).start()
    assert guest.report()["cmdline"].split() == ["rate=off", "verify=off"]
    guest.close()


def test_the_guest_reads_a_file(outlive, tmp_path):
    item = tmp_path / "item"
    item.write_text("rate=off wall=0")
    guest = Witness(outlive.start(*options(), "-fw_cfg", f"name={CMDLINE},file={item}")).start()
    assert guest.report()["cmdline"].split() == ["rate=off", "wall=0"]
    guest.close()
