# SPDX-License-Identifier: Apache-2.0
"""Replacing the VMM under an idle guest with 1 GiB: the pause felt by the guest, and all of it.

Ours by outlive-upgrade, in one command. QEMU's ways: to a process that was started and waits
(x-ignore-shared; starting it is not counted), by cpr-transfer (started, waits), and by cpr-exec. The
pause is the longest gap in the guest's own clock; all is from the command to the running guest.
"""
import dataclasses
import json
import math
import os
import time

from frame.qmp import Qmp, QmpClosed, QmpError
from frame.vmm import Vmm
from frame.wait import until
from frame.witness import Witness, options

UNIT = "ms"
ROUNDS = {cpus: math.ceil(cpus / (os.cpu_count() or 1)) for cpus in (1, 8)}  # of vCPUs, all CPUs busy with them
FLOOR = {f"{cpus} vCPU{'s' if cpus > 1 else ''}, pause": (("capture a vCPU", times), ("apply a vCPU", times),
                                                        "futex, there and back")
         for cpus, times in ROUNDS.items()}
ARGS = "rate=off verify=off wall=0"
MIB = 1024


def columns(found):
    """The VMMs with their ways: each is a column."""
    for program in found:
        if program.name == "outlive":
            yield program
        else:
            yield dataclasses.replace(program, name=f"{program.name} to a waiting one")
        if program.name == "qemu-new":
            yield dataclasses.replace(program, name="qemu-new cpr-transfer")
            yield dataclasses.replace(program, name="qemu-new cpr-exec")


def shared_ram(folder, cpr, mib):
    """Options that put guest memory where another process finds it."""
    if cpr:
        return ["-object", f"memory-backend-memfd,id=ram,size={mib}M,share=on",
                "-machine", "memory-backend=ram,aux-ram-share=on"]
    return ["-object", f"memory-backend-file,id=ram,size={mib}M,share=on,mem-path={folder}/ram",
            "-machine", "memory-backend=ram"]


def largest_gap(report):
    """The longest gap of the boot vCPU, in ms."""
    return max(gap["ns"] for gap in report["cpu"][0]["top"]) / 1e6


def upgrade_ours(program, folder, cpus, mib=MIB):
    """Pause and total of outlive-upgrade."""
    with Vmm(program, options(args=ARGS, cpus=cpus, memory_mib=mib), f"{folder}/log") as vmm:
        guest = Witness(vmm).start()
        guest.ask("zp")
        begin = time.monotonic()
        vmm.qmp.command("outlive-upgrade", timeout=60)
        total = time.monotonic() - begin
        gap = largest_gap(guest.report())
        guest.close()
        vmm.qmp.command("quit")
        return gap, total * 1e3


def migrate(qmp, folder, mode):
    """Set the source up, and begin."""
    qmp.raw("migrate-set-capabilities", {"capabilities": [
        {"capability": "events", "state": True},
        {"capability": "x-ignore-shared", "state": mode == "normal"}]})
    parameters = {"max-bandwidth": 1 << 34}
    if mode != "normal":
        parameters["mode"] = mode
    qmp.raw("migrate-set-parameters", parameters)
    main = {"channel-type": "main", "addr": {"transport": "socket", "type": "unix", "path": f"{folder}/main"}}
    cpr = {"channel-type": "cpr", "addr": {"transport": "socket", "type": "unix", "path": f"{folder}/cpr"}}
    if mode == "cpr-transfer":
        qmp.raw("migrate", {"channels": [main, cpr]})
    else:
        qmp.raw("migrate", {"uri": f"unix:{folder}/main"})


def followed(source, connect):
    """Wait until the guest runs behind connect(); the QMP client there."""
    def running():
        try:
            client = connect()
            if client and client.command("query-status")["status"] == "running":
                return client
        except (QmpClosed, QmpError, OSError):
            pass
        return None
    return until(running, 30, "the guest runs again")


def report_of(qmp):
    """The witness' report, by another client."""
    import pulse_report
    return pulse_report.read(pulse_report.Qmp(client=qmp))


def move_qemu(program, folder, cpus, mib=MIB):
    """Pause and total of QEMU, to a process that waits."""
    cpr = program.name.endswith("cpr-transfer")
    words = [*options(args=ARGS, cpus=cpus, memory_mib=mib), *shared_ram(folder, cpr, mib)]
    with Vmm(program, words, f"{folder}/log") as vmm:
        guest = Witness(vmm).start()
        target_words = [word for word in words if word != "-S"]
        if cpr:
            channel = {"channel-type": "cpr", "addr": {"transport": "socket", "type": "unix", "path": f"{folder}/cpr"}}
            target_words += ["-incoming", f"unix:{folder}/main", "-incoming", json.dumps(channel)]
            target = waiting(program, target_words, folder)
        else:
            target = waiting(program, [*target_words, "-incoming", "defer"], folder)
            client = Qmp(f"{folder}/q", 30)
            client.raw("migrate-set-capabilities", {"capabilities": [
                {"capability": "x-ignore-shared", "state": True}]})
            client.raw("migrate-incoming", {"uri": f"unix:{folder}/main"})
        with target:
            guest.ask("zp")
            begin = time.monotonic()
            migrate(vmm.qmp, folder, "cpr-transfer" if cpr else "normal")
            client = Qmp(f"{folder}/q", 30) if cpr else client
            client = followed(vmm, lambda: client)
            total = time.monotonic() - begin
            gap = largest_gap(report_of(client))
            guest.close()
            client.close()
        return gap, total * 1e3


def waiting(program, words, folder):
    """A QEMU that waits for a guest; its monitor is FOLDER/q."""
    from frame.process import Process
    run = f"{folder}/t"
    os.makedirs(run, exist_ok=True)
    argv = [*program.argv, *(str(word).replace("@RUN@", run) for word in words),
            "-qmp", f"unix:{folder}/q,server=on,wait=off"]
    process = Process(argv, f"{folder}/target-log", env=program.env)
    if any("cpr" in word for word in argv):
        until(lambda: os.path.exists(f"{folder}/cpr"), 30, "the target listens")
    return process


def exec_qemu(program, folder, cpus, mib=MIB):
    """Pause and total of QEMU's cpr-exec: the same process goes on in the new program."""
    words = [*options(args=ARGS, cpus=cpus, memory_mib=mib), *shared_ram(folder, True, mib)]
    with Vmm(program, words, f"{folder}/log") as vmm:
        guest = Witness(vmm).start()
        again = [word for word in vmm.options if word != "-S"]
        vmm.qmp.raw("migrate-set-parameters", {"mode": "cpr-exec", "cpr-exec-command": [
            *program.argv, *again, "-qmp", f"unix:{folder}/q,server=on,wait=off",
            "-incoming", f"file:{folder}/state"]})
        guest.ask("zp")
        begin = time.monotonic()
        vmm.qmp.raw("migrate", {"uri": f"file:{folder}/state"})
        client = followed(vmm, lambda: Qmp(f"{folder}/q", 30))
        total = time.monotonic() - begin
        gap = largest_gap(report_of(client))
        client.close()
        guest.close()
        return gap, total * 1e3


def measure(program, folder):
    """One round."""
    way = upgrade_ours if program.name == "outlive" else \
        exec_qemu if program.name.endswith("cpr-exec") else move_qemu
    figures = {}
    for cpus in (1, 8):
        place = os.path.join(folder, str(cpus))
        os.makedirs(place)
        name = f"{cpus} vCPU{'s' if cpus > 1 else ''}"
        figures[f"{name}, pause"], figures[f"{name}, all"] = way(program, place, cpus)
    return figures
