# SPDX-License-Identifier: Apache-2.0
"""A Debian guest at work, watched from outside and from its console, while its VMM is replaced."""
import json
import os
import pathlib

import pytest
from frame import linux
from frame.paths import outlive_vmm

from lab import image

ROUNDS = int(os.environ.get("OUTLIVE_ROUNDS", "20"))
OUTSIDE = pathlib.Path(__file__).with_name("outside.py")
SLOW = {"prepare-timeout": 300000, "pause-timeout": 30000}  # an emulated host has seconds where others have ms

SCRIPT = f"dmesg -c >/dev/null; {linux.at_work('10.77.1.1')} sh -i"

pytestmark = pytest.mark.skipif(not outlive_vmm().exists(), reason="outlive-vmm isn't built")


def ask(guest, words, answer, timeout=120):
    """A person types a line on the serial console and waits for the answer."""
    guest.type(words)
    return guest.expect(answer, timeout)


def upgrade(guest):
    """The report of an upgrade; the answer comes from the new process."""
    answers = guest.qmp(json.dumps({"execute": "outlive-upgrade", "arguments": SLOW}), timeout=360)
    return json.loads(answers.splitlines()[-1])["return"]


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_guest_at_work_does_not_notice(lab):
    host = lab(memory=2560)
    linux.make_tap(host)
    image.make_disk(host.work / "data.img", 32)
    host.run(f"cp {host.work / 'data.img'} /tmp/data.img")
    outside = host.spawn(["/usr/bin/python3", str(OUTSIDE), "10.77.1.2", "7000", "/tmp/stop"])
    guest = linux.Guest(host, [*linux.machine(2), *linux.kernel(image.guest_image("6.1"), SCRIPT,
                                                                "guest.ip=eth0:10.77.1.2/24"),
                               *linux.disk("/tmp/data.img"), *linux.tap()], outlives=True)
    guest.expect(f"{image.MARK} up", timeout=360)
    while "outside: watching" not in outside.output():
        assert outside.code is None, outside.output()
        host.pump(0.1)
    reports = []
    for number in range(ROUNDS):
        reports.append(upgrade(guest))
        assert f"round {number} of 6" in ask(guest, f"echo round {number} of $((2 * 3))", f"round {number} of 6")
    rounds = ask(guest, "echo verified $(cat /tmp/verify.rounds) bad $(cat /tmp/verify.bad | wc -l) end",
                 " bad 0 end")
    host.run("touch /tmp/stop")
    assert outside.wait(120) == 0, outside.output()
    seen = json.loads(outside.output().split("outside: ")[-1])
    pauses = [report["pause-us"]["running"] / 1000 for report in reports]
    print(f"pauses in ms: {pauses}; outside: {seen}; disk: {rounds.strip().splitlines()[-1]}")
    assert (seen["lost"], seen["twice"], seen["wrong"]) == ([], [], None), seen
    assert (seen["connections"], seen["ended"]) == (1, False), seen
    assert "dmesg says 0 lines" in ask(guest, "echo dmesg 'says' $(dmesg -l emerg,alert,crit,err,warn | wc -l) lines",
                                       "dmesg says")
    guest.type("poweroff -f")
    assert guest.wait() == 0
