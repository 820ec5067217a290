# SPDX-License-Identifier: Apache-2.0
"""The witness as a fixture: started in Outlive and in each stock QEMU, read and asked."""
import json

import pytest


@pytest.mark.parametrize("boot", ["bios", "pvh"])
def test_witness_is_started_read_and_asked(vmm_any, witness, boot):
    guest = witness(vmm_any, cpus=2, memory_mib=128, args="rate=4M", boot=boot)
    first = guest.report()
    assert (first["cpus"], first["form"], first["faults"]) == (2, boot, 0)
    assert guest.wait(lambda now: now["dirtied"] > first["dirtied"])["faults"] == 0
    said = json.loads(guest.ask("p"))
    assert said["state"] == "running" and said["beats"] > first["cpu"][0]["beats"]
