# SPDX-License-Identifier: Apache-2.0
"""Replacing the VMM under a guest: the pause that the guest feels, all of it, and the time it loses after.

Ours by outlive-upgrade, in one command. QEMU's ways: to a process that was started and waits
(x-ignore-shared; starting it is not counted), by cpr-transfer (started, waits), and by cpr-exec.

- pause: the longest gap in the guest's own clock. The guest is idle, has 1 GiB, or as the name says.
- all: from the command to the running guest.
- lost: how much less the guest writes in the second that begins with the command than in the one
  before, as time: the pause, what slows it down before, and page tables that are filled on demand
  after (brownout). It writes 64 MiB again and again, as fast as it can.
- in a row: 100 upgrades of one guest, ours only; the worst is the largest of the 100.
- nothing done: the same guest, asked 100 times after as long a time without an upgrade: what the machine
  takes from it by itself, below which no worst can be.
"""
import contextlib
import dataclasses
import json
import math
import os
import time

from frame.qmp import Qmp, QmpClosed, QmpError
from frame.vmm import Vmm
from frame.wait import until
from frame.witness import Witness, options
from measure.guest import felt_ms, ours, wanted

UNIT = "ms"
IDLE = "rate=off verify=off wall=0"
DIRTYING = "ws=64M rate=20M verify=off wall=0"
HARD = "ws=64M rate=max verify=off wall=0"
IN_A_ROW = 100
AS_LONG = 0.05  # s: what an upgrade takes, with the questions before and after
ROUNDS = {cpus: math.ceil(cpus / (os.cpu_count() or 1)) for cpus in (1, 8)}  # of vCPUs, all CPUs busy with them
FLOOR = {f"{cpus} vCPU{'s' if cpus > 1 else ''}, pause": (("capture a vCPU", times), ("apply a vCPU", times),
                                                        "futex, there and back")
         for cpus, times in ROUNDS.items()}
BESIDE = {"1 vCPU, pause": "1 vCPU, reported", "8 vCPUs, pause": "8 vCPUs, reported"}
CASES = (
    # name, vCPUs, MiB, arguments of pulse
    ("1 vCPU", 1, 1024, IDLE),
    ("1 vCPU, 8 GiB", 1, 8192, IDLE),
    ("1 vCPU, writing 20 MB/s", 1, 1024, DIRTYING),
    ("8 vCPUs", 8, 1024, IDLE),
)


@dataclasses.dataclass
class Guest:
    """How the guest is: its VMM's options, and where its files are."""

    folder: str
    cpus: int
    mib: int
    args: str

    def options(self):
        """Of the witness."""
        return options(args=self.args, cpus=self.cpus, memory_mib=self.mib)

    def ram(self, cpr):
        """Options that put guest memory where another process finds it."""
        if cpr:
            return ["-object", f"memory-backend-memfd,id=ram,size={self.mib}M,share=on",
                    "-machine", "memory-backend=ram,aux-ram-share=on"]
        return ["-object", f"memory-backend-file,id=ram,size={self.mib}M,share=on,"
                f"mem-path={self.folder}/ram", "-machine", "memory-backend=ram"]


def columns(found):
    """The VMMs with their ways: each is a column."""
    for program in found:
        if ours(program):
            yield program
        else:
            yield dataclasses.replace(program, name=f"{program.name} to a waiting one")
        if program.name == "qemu-new":
            yield dataclasses.replace(program, name="qemu-new cpr-transfer")
            yield dataclasses.replace(program, name="qemu-new cpr-exec")


class Watch:
    """What the guest says around a move: begin() just before the command, end() with its report after."""

    def __init__(self, witness, hard):
        """`hard`: it writes as fast as it can, and what it loses is asked for."""
        self.witness, self.hard, self.before, self.rate = witness, hard, None, 0

    def written(self, report):
        """(seconds of the guest's clock, pages written)."""
        cpu = report["cpu"][0]
        return cpu["tsc_last"] / report["tsc_hz"], cpu["dirtied"]

    def begin(self):
        """The second before, if it counts; then the gaps are forgotten."""
        if self.hard:
            self.witness.wait(lambda now: now["dirtied"] > 3 * now["pages_working"])
            start, pages = self.written(self.witness.report())
            time.sleep(1)
            self.before = self.written(self.witness.report())
            self.rate = (self.before[1] - pages) / (self.before[0] - start)
        else:
            self.witness.ask("zp")
        return time.monotonic()

    def end(self, begin, read):
        """Figures by the report that read() gives: from wherever the guest is now."""
        figures = {"all": (time.monotonic() - begin) * 1e3}
        if not self.hard:
            return {"pause": felt_ms(read), **figures}
        time.sleep(max(0.0, begin + 1 - time.monotonic()))
        now, pages = self.written(read())
        passed = now - self.before[0]
        return {"lost": (passed - (pages - self.before[1]) / self.rate) * 1e3, **figures}


@contextlib.contextmanager
def guest_of_ours(program, guest):
    """(Its VMM, the witness in it); ends in whichever process has it then."""
    with Vmm(program, guest.options(), f"{guest.folder}/log") as vmm:
        witness = Witness(vmm).start()
        try:
            yield vmm, witness
        finally:
            witness.close()
            vmm.qmp.command("quit")


def upgrade_ours(program, guest):
    """Figures of outlive-upgrade."""
    with guest_of_ours(program, guest) as (vmm, witness):
        watch = Watch(witness, guest.args == HARD)
        begin = watch.begin()
        report = vmm.qmp.command("outlive-upgrade", timeout=60)
        figures = watch.end(begin, witness.report)
        return {"reported": report["pause-us"]["running"] / 1e3, **figures}


def row_of_ours(program, guest):
    """Many upgrades of one guest."""
    gaps = []
    with guest_of_ours(program, guest) as (vmm, witness):
        for _ in range(IN_A_ROW):
            witness.ask("zp")
            vmm.qmp.command("outlive-upgrade", timeout=60)
            gaps.append(felt_ms(witness.report))
    return {"in a row, median": gaps, "in a row, worst": max(gaps)}


def row_of_nothing(program, guest):
    """As row_of_ours(), without upgrades."""
    gaps = []
    with guest_of_ours(program, guest) as (_vmm, witness):
        for _ in range(IN_A_ROW):
            witness.ask("zp")
            time.sleep(AS_LONG)
            gaps.append(felt_ms(witness.report))
    return {"nothing done, median": gaps, "nothing done, worst": max(gaps)}


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


def move_qemu(program, guest):
    """Figures of QEMU, to a process that waits."""
    folder, cpr = guest.folder, program.name.endswith("cpr-transfer")
    words = [*guest.options(), *guest.ram(cpr)]
    with Vmm(program, words, f"{folder}/log") as vmm:
        witness = Witness(vmm).start()
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
            watch = Watch(witness, guest.args == HARD)
            begin = watch.begin()
            migrate(vmm.qmp, folder, "cpr-transfer" if cpr else "normal")
            client = Qmp(f"{folder}/q", 30) if cpr else client
            client = followed(vmm, lambda: client)
            figures = watch.end(begin, lambda: report_of(client))
            witness.close()
            client.close()
        return figures


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


def exec_qemu(program, guest):
    """Figures of QEMU's cpr-exec: the same process goes on in the new program."""
    folder = guest.folder
    words = [*guest.options(), *guest.ram(True)]
    with Vmm(program, words, f"{folder}/log") as vmm:
        witness = Witness(vmm).start()
        again = [word for word in vmm.options if word != "-S"]
        vmm.qmp.raw("migrate-set-parameters", {"mode": "cpr-exec", "cpr-exec-command": [
            *program.argv, *again, "-qmp", f"unix:{folder}/q,server=on,wait=off",
            "-incoming", f"file:{folder}/state"]})
        watch = Watch(witness, guest.args == HARD)
        begin = watch.begin()
        vmm.qmp.raw("migrate", {"uri": f"file:{folder}/state"})
        client = followed(vmm, lambda: Qmp(f"{folder}/q", 30))
        figures = watch.end(begin, lambda: report_of(client))
        client.close()
        witness.close()
        return figures


def measure(program, folder):
    """One round."""
    way = upgrade_ours if ours(program) else exec_qemu if program.name.endswith("cpr-exec") else move_qemu
    figures = {}

    def case(run, name, *guest):
        """One guest in a folder of its own; its figures under its name."""
        if not wanted(name):
            return
        place = os.path.join(folder, str(len(os.listdir(folder))))
        os.makedirs(place)
        for figure, value in run(program, Guest(place, *guest)).items():
            figures[f"{name}, {figure}"] = value

    for name, *guest in CASES:
        case(way, name, *guest)
    case(way, "1 vCPU, writing all the time", 1, 1024, HARD)
    if ours(program):
        case(row_of_ours, "100 times, 1 vCPU", 1, 1024, IDLE)
        case(row_of_nothing, "100 times, 1 vCPU", 1, 1024, IDLE)
    return figures
