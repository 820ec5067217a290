# SPDX-License-Identifier: Apache-2.0
"""The stock QEMUs that interop tests talk with are there and are what their names say."""

from frame.qemu import HOST_CPU

OLDEST = {"qemu-7.2": (7, 2), "qemu-new": (8, 0)}


def test_stock_qemu_starts_the_machine_type_that_outlive_speaks(qemu_any, kvm):
    vmm = qemu_any.start("-M", "pc-q35-7.2", "-accel", "kvm", "-cpu", HOST_CPU, "-m", "64",
                         "-nodefaults", "-display", "none", "-S")
    version = vmm.qmp.greeting["version"]["qemu"]
    assert (version["major"], version["minor"]) >= OLDEST[qemu_any.program.name]
    assert vmm.qmp.command("query-status")["status"] == "prelaunch"
    assert vmm.qmp.command("query-kvm")["enabled"] is True
    assert vmm.quit() == 0
