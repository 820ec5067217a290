# SPDX-License-Identifier: Apache-2.0
"""A guest's memory and registers as a core file, and pieces of its memory."""
import json
import os
import socket
import struct
import subprocess

import pytest

from frame.named import program
from frame.qmp import QmpError
from frame.wait import until
from frame.witness import MACHINE

FAILED = 1
PT_LOAD, PT_NOTE = 1, 4


class Core:
    """What an ELF core file says, read without help of what wrote it."""

    def __init__(self, path):
        self.data = path.read_bytes()
        assert self.data[:7] == b"\x7fELF\x02\x01\x01"
        kind, self.machine = struct.unpack_from("<HH", self.data, 16)
        at, = struct.unpack_from("<Q", self.data, 32)
        size, count = struct.unpack_from("<HH", self.data, 54)
        assert (kind, size) == (4, 56)
        rows = [struct.unpack_from("<IIQQQQQQ", self.data, at + i * size) for i in range(count)]
        self.memory = {row[4]: (row[2], row[5]) for row in rows if row[0] == PT_LOAD}  # address: place, bytes
        (_, _, self.notes_at, _, _, self.notes_bytes, _, _), = [row for row in rows if row[0] == PT_NOTE]

    def notes(self, wanted):
        """Contents of all notes of a name and type."""
        at, found = self.notes_at, []
        while at < self.notes_at + self.notes_bytes:
            name, size, kind = struct.unpack_from("<III", self.data, at)
            at += 12
            if (self.data[at:at + name - 1], kind) == wanted:
                found.append(self.data[at + 8:][:size])
            at += 8 + size
        return found

    def read(self, address, size):
        """Bytes of memory."""
        base = max(start for start in self.memory if start <= address)
        place, length = self.memory[base]
        assert address + size <= base + length
        return self.data[place + address - base:][:size]


QEMU = (b"QEMU", 0)
STATUS = (b"CORE", 1)


def test_a_core_file_has_the_memory_and_each_vcpu(witness, outlive, tmp_path):
    guest = witness(outlive, cpus=2, args="rate=1M")
    qmp, path = guest.vmm.qmp, tmp_path / "core"
    qmp.command("stop")
    qmp.raw("dump-guest-memory", {"paging": False, "protocol": f"file:{path}"}, timeout=60)
    done = qmp.wait_event("DUMP_COMPLETED", timeout=60)["data"]
    assert done["result"] == qmp.command("query-dump") and done["result"]["status"] == "completed"
    core = Core(path)
    assert core.machine == 62 and done["result"]["total"] == sum(size for _, size in core.memory.values())
    qmp.raw("pmemsave", {"val": 0x100000, "size": 63 << 20, "filename": str(tmp_path / "memory")})
    assert core.read(0x100000, 63 << 20) == (tmp_path / "memory").read_bytes()
    assert len(core.notes(STATUS)) == len(core.notes(QEMU)) == 2
    assert qmp.command("query-status")["status"] == "paused"
    told = subprocess.run(["readelf", "-hlnW", path], capture_output=True, text=True, check=True)
    assert "CORE (Core file)" in told.stdout and told.stdout.count("NT_PRSTATUS") == 2 and not told.stderr


def test_registers_in_notes_are_those_of_qemu(outlive, qemu, kvm, tmp_path):
    cores = []
    for one in (outlive, qemu):
        vmm, path = one.start(*MACHINE, "-smp", 2, "-m", 64, "-S"), tmp_path / f"{one.program.name}.core"
        vmm.qmp.raw("dump-guest-memory", {"paging": False, "protocol": f"file:{path}", "begin": 0, "length": 4096})
        cores.append(path.read_bytes())
    note = struct.pack("<III", 5, 440, 0) + b"QEMU\0\0\0\0"
    ours, theirs = ([core[at:at + 460] for at in range(len(core)) if core[at:].startswith(note)] for core in cores)
    assert len(ours) == 2 and ours == theirs


def test_a_running_guest_stands_still_until_it_is_dumped_and_is_left_alone(witness, outlive):
    guest = witness(outlive, args="rate=1M")
    qmp = guest.vmm.qmp
    ours, theirs = socket.socketpair()
    with ours, theirs:
        qmp.raw("getfd", {"fdname": "out"}, fds=[theirs.fileno()])
        theirs.close()
        qmp.raw("dump-guest-memory", {"paging": False, "protocol": "fd:out", "detach": True})
        assert qmp.command("query-dump")["status"] == "active"
        for name, arguments in (("cont", {}), ("stop", {}), ("system_reset", {}),
                                ("migrate", {"uri": "exec:cat>/dev/null"}),
                                ("device_add", {"driver": "virtio-rng-pci"}),
                                ("outlive-upgrade", {}),
                                ("dump-guest-memory", {"paging": False, "protocol": "file:/dev/null"})):
            with pytest.raises(QmpError, match="is being dumped"):
                qmp.raw(name, arguments)
        while ours.recv(1 << 20):
            pass
    assert qmp.wait_event("DUMP_COMPLETED", timeout=60)["data"]["result"]["status"] == "completed"
    beats = guest.report()["cpu"][0]["beats"]
    guest.wait(lambda now: now["cpu"][0]["beats"] > beats)


def test_a_dump_whose_reader_goes_away_fails_and_the_guest_runs_on(witness, outlive):
    guest = witness(outlive, args="rate=1M")
    qmp = guest.vmm.qmp
    ours, theirs = os.pipe()
    qmp.raw("getfd", {"fdname": "out"}, fds=[theirs])
    os.close(theirs)
    qmp.raw("dump-guest-memory", {"paging": False, "protocol": "fd:out", "detach": True})
    os.close(ours)
    done = qmp.wait_event("DUMP_COMPLETED", timeout=60)["data"]
    assert done["result"]["status"] == "failed" and "Broken pipe" in done["error"]
    guest.wait(lambda now: now["cpu"][0]["beats"] > 0)
    assert qmp.command("query-status")["running"]


def test_a_vmm_ends_though_nobody_reads_its_dump(outlive, kvm):
    vmm = outlive.start(*MACHINE, "-m", 64, "-S")
    ours, theirs = os.pipe()
    vmm.qmp.raw("getfd", {"fdname": "out"}, fds=[theirs])
    vmm.qmp.raw("dump-guest-memory", {"paging": False, "protocol": "fd:out", "detach": True})
    vmm.quit()
    os.close(ours)
    os.close(theirs)


def test_memory_that_the_guest_never_touched_stays_untouched(outlive, kvm, tmp_path):
    vmm = outlive.start(*MACHINE, "-m", 512, "-S", "-object", "memory-backend-memfd,id=ram,size=512M,seal=on",
                        "-machine", "memory-backend=ram")
    vmm.qmp.raw("dump-guest-memory", {"paging": False, "protocol": "file:/dev/null"}, timeout=60)
    blocks = [os.stat(f"/proc/{vmm.pid}/fd/{fd}").st_blocks for fd in os.listdir(f"/proc/{vmm.pid}/fd")
              if "memfd:ram" in os.readlink(f"/proc/{vmm.pid}/fd/{fd}")]
    assert len(blocks) == 1 and blocks[0] * 512 < 64 << 20


def test_ranges_and_what_cannot_be_had(outlive, kvm, tmp_path):
    vmm, path = outlive.start(*MACHINE, "-m", 64, "-S"), tmp_path / "core"

    def dump(**more):
        vmm.qmp.raw("dump-guest-memory", {"paging": False, "protocol": f"file:{path}", **more}, timeout=60)
    dump(begin=0x9f000, length=0x2000)
    assert {address: size for address, (_, size) in Core(path).memory.items()}[0x9f000] >= 0x1000
    assert sum(size for _, size in Core(path).memory.values()) <= 0x2000
    for arguments, why in (({"paging": True}, "physical"), ({"begin": 0}, "length is missing"),
                           ({"begin": 1 << 40, "length": 1}, "no memory"),
                           ({"protocol": "tcp:x"}, "file:PATH nor fd:NAME"), ({"protocol": "fd:x"}, "x"),
                           ({"format": "kdump-zlib"}, "kdump-zlib")):
        with pytest.raises(QmpError, match=why):
            dump(**arguments)
    assert vmm.qmp.command("query-dump-guest-memory-capability") == {"formats": ["elf"]}


def test_memory_as_a_vcpu_sees_it(witness, outlive, tmp_path):
    guest = witness(outlive, cpus=2, args="rate=1M")
    qmp, path = guest.vmm.qmp, tmp_path / "core"
    qmp.command("stop")
    qmp.raw("dump-guest-memory", {"paging": False, "protocol": f"file:{path}"}, timeout=60)
    core = Core(path)
    registers = struct.unpack_from("<18Q", core.notes(QEMU)[1], 8)
    qmp.command("cont")
    page = registers[16] & ~0xfff  # where the second vCPU executes: in its page tables, whatever they are
    qmp.raw("memsave", {"val": page, "size": 8192, "filename": str(tmp_path / "code"), "cpu-index": 1})
    code = (tmp_path / "code").read_bytes()
    assert len(code) == 8192 and code[:4096] in core.data
    with pytest.raises(QmpError, match="sees no memory at 0x7000000000"):
        qmp.raw("memsave", {"val": 0x7000000000, "size": 1, "filename": str(tmp_path / "none")})
    with pytest.raises(QmpError, match="no vCPU 7"):
        qmp.raw("memsave", {"val": 0, "size": 1, "filename": str(tmp_path / "none"), "cpu-index": 7})


def test_the_command_writes_a_dump_and_types_keys(cli, web, tmp_path):
    told = json.loads(cli("dump", web, tmp_path / "web.core", "--json"))
    assert told["file"] == str(tmp_path / "web.core") and told["memory-bytes"] >= 64 << 20
    assert len(Core(tmp_path / "web.core").notes(STATUS)) == 1
    assert "File exists" in cli("dump", web, tmp_path / "web.core", code=FAILED)
    assert json.loads(cli("send-key", web, "ctrl-alt", "delete", "--hold", "0.01", "--json"))["result"] == "typed"
    assert "there is no key 'suppr'" in cli("send-key", web, "suppr", code=FAILED)


def test_a_machine_says_whether_sleeping_guests_can_be_woken(vmm_any, kvm):
    vmm = vmm_any.start(*MACHINE, "-S")
    assert vmm.qmp.command("query-current-machine") == {"wakeup-suspend-support": True}
