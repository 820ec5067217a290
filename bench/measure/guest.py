# SPDX-License-Identifier: Apache-2.0
"""The witness guest of a case: nothing is measured unless it is the guest that was asked for."""
from frame.witness import Witness


def started(vmm, args=""):
    """The Witness, running, with the parameters `args`; an error when the guest has others."""
    guest = Witness(vmm).start()
    has = guest.report()["cmdline"].split()
    missing = [word for word in args.split() if word not in has]
    assert not missing, f"the guest did not get its parameters {' '.join(missing)}"
    return guest
