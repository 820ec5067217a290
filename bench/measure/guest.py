# SPDX-License-Identifier: Apache-2.0
"""The witness guest of a case: nothing is measured unless it is the guest that was asked for."""
import functools
import os
import socket

from frame.wait import until
from frame.witness import Witness
from measure import machine

WARM = 200	# done before counting begins
COUNT_SECONDS = 1.0


def started(vmm, args=""):
    """The Witness, running, with the parameters `args`; an error when the guest has others."""
    guest = Witness(vmm).start()
    has = guest.report()["cmdline"].split()
    missing = [word for word in args.split() if word not in has]
    assert not missing, f"the guest did not get its parameters {' '.join(missing)}"
    return guest


def apart(vmm):
    """Give the boot vCPU a CPU that no other thread of its VMM uses.

    Whoever is woken by the guest on the guest's own CPU takes it away from it: where the host puts the
    two is chance, costs tens of microseconds, and has nothing to do with the VMM.
    """
    first, *others = sorted(os.sched_getaffinity(0))
    vcpu = vmm.qmp.command("query-cpus-fast")[0]["thread-id"]
    for thread in map(int, os.listdir(f"/proc/{vmm.pid}/task")):
        os.sched_setaffinity(thread, {first} if thread == vcpu else others or {first})


def per_second(guest, done):
    """How much the guest does in a second of its own clock; @done(report): (how much so far, its time in ns)."""
    start = done(guest.wait(lambda report: done(report)[0] > WARM))
    end = done(guest.wait(lambda report: done(report)[1] > start[1] + COUNT_SECONDS * 1e9
                          and done(report)[0] > start[0]))
    return (end[0] - start[0]) / (end[1] - start[1]) * 1e9


def largest_gap_ms(report):
    """The longest gap of the boot vCPU since its gaps were last forgotten."""
    return max((gap["ns"] for gap in report["cpu"][0]["top"]), default=0) / 1e6


def felt_ms(read):
    """The longest gap of the boot vCPU, once it has run after the pause; `read` gives a report.

    A VMM says that it is done before the host has run the vCPU again: until then its last gap isn't
    over, and not in the report.
    """
    now = read()["cpu"][0]["tsc_last"]

    def later():
        report = read()
        return report if report["cpu"][0]["tsc_last"] > now else None
    return largest_gap_ms(until(later, 30, "the guest runs on"))


@functools.cache
def ours(program):
    """Whether a program is an outlive-vmm, whatever it is called."""
    return "outlive" in machine.version(program)


def wanted(cell):
    """Whether a cell of a case is to be measured: bench/run --cells."""
    words = [word for word in os.environ.get("OUTLIVE_BENCH_CELLS", "").split(";") if word]
    return not words or any(word in cell for word in words)


def cpu_seconds(vmm):
    """CPU time of a process so far, without its vCPUs."""
    def used(path):
        with open(path, encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    vcpus = [cpu["thread-id"] for cpu in vmm.qmp.command("query-cpus-fast")]
    return used(f"/proc/{vmm.pid}/stat") - sum(used(f"/proc/{vmm.pid}/task/{one}/stat") for one in vcpus)


def free_port():
    """A TCP port of loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
