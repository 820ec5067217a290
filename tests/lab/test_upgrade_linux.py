# SPDX-License-Identifier: Apache-2.0
"""A Debian guest at work, watched from outside and from its console, while its VMM is replaced."""
import os
import statistics
import time

import pytest
from frame import linux
from frame.paths import outlive_vmm
from frame.watched import Watched

from lab import image

ROUNDS = int(os.environ.get("OUTLIVE_ROUNDS", "20"))
SLOW = {"prepare_timeout": 300000, "pause_timeout": 30000}  # an emulated host has seconds where others have ms

pytestmark = pytest.mark.skipif(not outlive_vmm().exists(), reason="outlive-vmm isn't built")


def ask(guest, words, answer, timeout=120):
    """A person types a line on the serial console and waits for the answer."""
    guest.type(words)
    return guest.expect(answer, timeout)


def typed(guest, number, way):
    """The person's line of a round."""
    assert f"{way} {number} of 6" in ask(guest, f"echo {way} {number} of $((2 * 3))", f"{way} {number} of 6")


def later(seen, name, pauses_ms):
    """How much later than a phase's pause its latest answers came, in ms."""
    longest = [phase["longest-ms"] for phase in seen["phases"] if phase["name"] == name]
    assert len(longest) == len(pauses_ms)
    return [ms - pause for ms, pause in zip(longest, pauses_ms)]


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_guest_at_work_does_not_notice(lab):
    host = lab(memory=2560)
    linux.make_tap(host)
    watched = Watched(host, "10.77.1.2", "10.77.1.1")
    guest = linux.Guest(host, [*linux.machine(2), *watched.boot("sh -i"), *watched.devices()], outlives=True)
    guest.expect(f"{image.MARK} up", timeout=360)
    watched.begin()
    pauses = []
    for number in range(ROUNDS):
        begin = time.monotonic()
        with watched.phase("upgrade"):
            report = guest.command("outlive-upgrade", timeout=360, **SLOW)
            typed(guest, number, "upgrade")
        took = time.monotonic() - begin
        with watched.phase("control"):
            typed(guest, number, "control")
            while time.monotonic() < begin + 2 * took:
                host.pump(0.1)
        pauses.append(report["pause-us"]["running"] / 1000)
        print(f"upgrade {number}: {report}", flush=True)
    watched.goes_on()
    seen = watched.end()
    print(f"pauses in ms: {pauses}")
    assert seen["lost"] == [], seen
    upgraded, control = later(seen, "upgrade", pauses), later(seen, "control", [0] * ROUNDS)
    print(f"answers came later than the pause by, in ms: {upgraded}; beside that: {control}")
    assert statistics.median(upgraded) <= max(control), "answers wait for more than the pause and the busy host"
    guest.type("poweroff -f")
    assert guest.wait() == 0
