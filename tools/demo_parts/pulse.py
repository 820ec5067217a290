# SPDX-License-Identifier: Apache-2.0
"""Pause a real guest on purpose, and show what the guest itself felt.

The guest is pulse, the witness (guest/pulse). It runs under outlive-vmm, or, as long as this tree has none,
under the QEMU of the system, which is then said.
"""
import json
import os
import time

from . import show, title

PAUSE_MS = 5


def program():
    """The VMM to show."""
    from frame import qemu, vmm
    from frame.paths import outlive_vmm
    if outlive_vmm().exists():
        return vmm.Program("outlive-vmm", (str(outlive_vmm()),))
    print("This tree has no outlive-vmm yet; the guest runs under the system's QEMU instead.\n")
    return qemu.qemu_system()


def pause(guest):
    """Stop the guest for PAUSE_MS and let it go on."""
    guest.vmm.qmp.command("stop")
    time.sleep(PAUSE_MS / 1e3)
    guest.vmm.qmp.command("cont")


def run(folder):
    """The witness beats, is paused, and says what it felt."""
    title("A guest that measures: it reads its clock in a tight loop, so it knows every pause from inside.")
    from frame import vmm, witness
    chosen = program()
    boot = "pvh" if chosen.name == "outlive-vmm" else "bios"  # QEMU's way to -kernel takes seconds
    options = witness.options(args="rate=80M verify=80M", cpus=1, memory_mib=256, boot=boot)
    start = time.monotonic()
    with vmm.Vmm(chosen, options, os.path.join(folder, "vmm.log")) as machine:
        guest = witness.Witness(machine).start()
        show("start", f"a 256 MiB guest is up after {(time.monotonic() - start) * 1e3:.0f} ms "
             f"(process {machine.pid})")
        guest.wait(lambda report: report["dirtied"] > 5000)
        before = json.loads(guest.ask("p"))
        show("beat", f"{before['beats']:,} beats, {before['dirtied']:,} pages written, "
             f"{before['faults']} found wrong")
        guest.ask("zp")  # forget the gaps of the start
        pause(guest)
        felt = max(gap["ns"] for gap in json.loads(guest.ask("p"))["largest"])
        show("pause", f"stopped for {PAUSE_MS} ms on purpose; the guest felt {felt / 1e6:.2f} ms")
        checked = json.loads(guest.ask("v"))
        show("check", f"all its memory read back: {checked['faults']} pages wrong")
        guest.close()
        show("end", f"exit status {machine.quit()}")
    return 1 if checked["faults"] else 0
