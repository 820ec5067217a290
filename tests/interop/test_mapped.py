# SPDX-License-Identifier: Apache-2.0
"""Files whose pages have fixed places (mapped-ram), from here to the newest QEMU and back, with both readers."""
import json
import subprocess

from frame.moving import awaiting, check, ended, send, switch_on
from frame.paths import ROOT, outlive as program

ARGS = "rate=1M ws=4M verify=16M fill=half"


def carried(source, starter, path, name):
    """Saves a guest by mapped-ram and starts it from there in another VMM."""
    send(source.vmm, f"file:{path}", "mapped-ram")
    assert ended(source.vmm)["status"] == "completed"
    source.close()
    source.vmm.quit()
    ours = subprocess.run([program(), "inspect", "--json", path], check=True, capture_output=True)
    second = subprocess.run([ROOT / "tools" / "stream-reader", "--json", path], check=True, capture_output=True)
    assert json.loads(ours.stdout) == json.loads(second.stdout)
    there = awaiting(starter, name=name, args=ARGS)
    switch_on(there.vmm, "mapped-ram")
    there.vmm.qmp.command("migrate-incoming", uri=f"file:{path}")
    assert ended(there.vmm)["status"] == "completed"
    check(there)
    return there


def test_the_newest_qemu_refuses_packed_pages_and_the_guest_runs_on(outlive, qemu_new, witness, tmp_path):
    guest = witness(outlive, args=ARGS)
    guest.vmm.qmp.command("migrate", **{"uri": f"file:{tmp_path}/packed", "outlive-mapped": True,
                                        "outlive-continue": True})
    assert ended(guest.vmm)["status"] == "completed"
    there = awaiting(qemu_new, name="there", args=ARGS)
    switch_on(there.vmm, "mapped-ram")
    there.vmm.qmp.command("migrate-incoming", uri=f"file:{tmp_path}/packed", **{"exit-on-error": False})
    assert ended(there.vmm)["status"] == "failed"
    there.close()
    check(guest)


def test_a_guest_goes_to_the_newest_qemu_by_mapped_pages_and_comes_back(outlive, qemu_new, witness, tmp_path):
    guest = witness(outlive, args=ARGS)
    there = carried(guest, qemu_new, tmp_path / "one", "there")
    back = carried(there, outlive, tmp_path / "two", "back")
    back.close()
