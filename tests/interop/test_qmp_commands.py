# SPDX-License-Identifier: Apache-2.0
"""Each command of Debian's QEMU is here, or its absence has a reason."""
import pytest

from frame.qmp import QmpError


def commands(program):
    """A VMM without a guest, and its commands."""
    vmm = program.start("-machine", "none", "-nodefaults", "-display", "none")
    return vmm, {one["name"] for one in vmm.qmp.command("query-commands")}


def test_every_command_of_qemu_is_here_or_its_absence_has_a_reason(outlive, qemu):
    vmm, ours = commands(outlive)
    for name in sorted(commands(qemu)[1] - ours):
        with pytest.raises(QmpError, match="has not been found: "):
            vmm.qmp.raw(name)
