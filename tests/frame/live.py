# SPDX-License-Identifier: Apache-2.0
"""A witness guest whose VMM is replaced while it runs, and what must hold afterwards.

Theory of operation: the process that has the guest is found through the guest, not remembered:
the thread of vCPU 0 as QMP names it belongs to it. So after each attempt, good or bad, the tests
learn from outside where the guest runs, and that it runs nowhere else.
"""
import os
import pathlib
import signal

import pytest

from frame.process import alive, descendants
from frame.wait import until

# An upgrade that isn't called off because the host gave a thread no CPU for a second.
PATIENT = {"pause_timeout": 60000, "timeout": 120}


def process_of(qmp):
    """The process id of the VMM behind a QMP client."""
    thread = qmp.command("query-cpus-fast")[0]["thread-id"]
    status = pathlib.Path(f"/proc/{thread}/status").read_text(encoding="ascii")
    return int(status.split("Tgid:")[1].split()[0])


def is_vmm(pid):
    """Whether a process is an outlive-vmm (and not gone); the helper of a sandboxed one is not."""
    try:
        program = os.readlink(f"/proc/{pid}/exe")
        name = pathlib.Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip()
    except OSError:
        return False
    return name != "outlive-launch" and alive(pid) and pathlib.Path(program).name.startswith("outlive-vmm")


def vmms():
    """All processes of VMMs that the tests have started."""
    return [pid for pid in descendants() if is_vmm(pid)]


def descriptors(pid):
    """{number: (what it points to, inode)} of a process."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{name}"
        try:
            found[int(name)] = (os.readlink(path), os.stat(path).st_ino)
        except OSError:
            pass  # closed meanwhile
    return found


def memory_files(pid):
    """The files behind guest memory: names with inodes."""
    return sorted({(link, inode) for link, inode in descriptors(pid).values()
                   if link.startswith(("/memfd:", "/guest-ram:")) and "handover" not in link})


def resident_kib(pid):
    """Memory of a process' own; not the guest's, which is a file's, however much of it is mapped."""
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Anonymous:"))


class Live:
    """A guest (frame.witness.Witness) that is upgraded."""

    def __init__(self, witness):
        self.witness = witness
        self.qmp = witness.vmm.qmp
        self.pid = process_of(self.qmp)

    def upgrade(self, **arguments):
        """Replace the VMM; the report. The old process has ended, the new one has the guest.

        A host that gives a thread no CPU for a second calls no upgrade off, unless @arguments say so.
        """
        old = self.pid
        report = self.qmp.command("outlive-upgrade", **PATIENT | arguments)
        assert report["done"], report
        self.pid = process_of(self.qmp)
        assert self.pid != old
        until(lambda: not alive(old), 60, f"the old process {old} ends")
        return report

    def settle(self):
        """The guest runs in exactly one process; gives that process' id."""
        self.pid = process_of(self.qmp)
        until(lambda: vmms() == [self.pid], 60, f"only {self.pid} is left of {vmms()}")
        beats = self.witness.report()["cpu"][0]["beats"]
        self.witness.wait(lambda now: now["cpu"][0]["beats"] > beats)
        return self.pid

    def gap_ms(self, work):
        """The longest gap that the guest felt while work() ran."""
        self.witness.ask("zp")
        work()
        self.witness.ask("p")
        return max(gap["ns"] for gap in self.witness.report()["cpu"][0]["top"]) / 1e6

    def verify(self):
        """Check all of the guest's memory, clocks, disks and packets; the report."""
        asked = self.witness.report()["verify_asked"]
        self.witness.console.sendall(b"v")
        report = self.witness.wait(lambda now: now["verify_done"] > asked and now["verify_done"] == now["verify_asked"])
        self.witness.line(60)
        assert (report["faults"], report["verify_faults"]) == (0, 0), report["fault"]
        assert [(cpu["mono_back"], cpu["tsc_back"]) for cpu in report["cpu"]] == [(0, 0)] * report["cpus"]
        assert report["wall_back"] == 0
        for device in report["device"]:
            assert (device["state"], device["bad"]) == ("works", 0), device
            assert device["kind"] == "net" or device["lost"] == 0, device
        return report

    def end(self):
        """End the guest wherever it is."""
        for pid in {self.pid, *vmms()}:
            if is_vmm(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def live(witness, outlive):
    """Function that starts a guest to be upgraded: live("-device", ..., cpus=8, args="rate=4M")."""
    made = []

    def make(*more, **guest):
        made.append(Live(witness(outlive, *more, **guest)))
        return made[-1]
    yield make
    for guest in made:
        guest.end()
