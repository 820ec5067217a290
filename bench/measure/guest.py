# SPDX-License-Identifier: Apache-2.0
"""The witness guest of a case: nothing is measured unless it is the guest that was asked for."""
import socket

from frame.witness import Witness


def started(vmm, args=""):
    """The Witness, running, with the parameters `args`; an error when the guest has others."""
    guest = Witness(vmm).start()
    has = guest.report()["cmdline"].split()
    missing = [word for word in args.split() if word not in has]
    assert not missing, f"the guest did not get its parameters {' '.join(missing)}"
    return guest


def largest_gap_ms(report):
    """The longest gap of the boot vCPU since its gaps were last forgotten."""
    return max(gap["ns"] for gap in report["cpu"][0]["top"]) / 1e6


def free_port():
    """A TCP port of loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
