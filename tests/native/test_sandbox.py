# SPDX-License-Identifier: Apache-2.0
"""-sandbox: what it denies, and that a guest lives and moves as ever with it on."""
import contextlib
import os
import pathlib
import signal

import pytest

from frame.live import live  # noqa: F401
from frame.moving import awaiting, check, move
from frame.paths import BUILD, outlive_vmm
from frame.qmp import QmpError
from frame.wait import until

LIBVIRT = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
NOBODY = 65534
PERM = -1
# x86-64's numbers
UNSHARE = 272
MOUNT, SYSFS, SETUID, SETPRIORITY, FORK, EXECVE, GETPID = 165, 139, 105, 141, 57, 59, 39


def status(pid, key):
    """A line of the kernel's word about a process."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(line.split()[1:] for line in lines if line.startswith(f"{key}:"))


def launcher(pid):
    """The process that starts programs for a sandboxed one."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [int(child) for child in children
            if pathlib.Path(f"/proc/{child}/comm").read_text(encoding="ascii").strip() == "outlive-launch"]


@pytest.fixture(name="calling")
def _calling(outlive, kvm, tmp_path, monkeypatch):
    """Function: what a system call comes to in a VMM with these options; "killed" if it ends the process."""
    told = tmp_path / "call"
    monkeypatch.setenv("DENIED_CALL", str(told))
    monkeypatch.setenv("LD_PRELOAD", f"{BUILD}/tests/libdenied_call.so")

    def call(number, *options):
        told.write_text(str(number), encoding="ascii")
        vmm = outlive.start("-M", "pc-q35-7.2", "-accel", "kvm", "-cpu", "host", "-nodefaults", "-display", "none",
                            "-m", 64, "-S", *options, name=f"call-{number}")
        os.kill(vmm.pid, signal.SIGUSR2)
        until(lambda: not vmm.running() or " " in told.read_text(encoding="ascii"), 60, "the call is made")
        answer = told.read_text(encoding="ascii").split()
        if len(answer) == 1:
            assert vmm.wait() == -signal.SIGSYS
            return "killed"
        assert vmm.qmp.command("query-status")["status"] == "prelaunch"
        vmm.quit()
        return int(answer[1].rstrip("\0"))
    return call


@pytest.mark.parametrize("number, options, outcome", [
    (MOUNT, ("-sandbox", "on"), "killed"),
    (UNSHARE, ("-sandbox", "on"), PERM),
    (SYSFS, ("-sandbox", "on"), "killed"),
    (SYSFS, ("-sandbox", "on,obsolete=allow"), -22),
    (SETUID, ("-sandbox", "on"), -22),
    (SETUID, ("-sandbox", "on,elevateprivileges=deny"), "killed"),
    (SETPRIORITY, ("-sandbox", "on"), -22),
    (SETPRIORITY, ("-sandbox", "on,resourcecontrol=deny"), PERM),
    (FORK, ("-sandbox", "on,spawn=deny"), PERM),
    (EXECVE, LIBVIRT, PERM),
    (MOUNT, ("-sandbox", "off"), -14),
])
def test_each_group_denies_its_calls_and_no_others(calling, number, options, outcome):
    assert calling(number, *options) == outcome


def test_every_thread_is_under_the_filter(live):
    guest = live(*LIBVIRT, memory_mib=64, cpus=2)
    guest.upgrade()
    for thread in os.listdir(f"/proc/{guest.pid}/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # one that was ending has ended
            assert (status(f"{guest.pid}/task/{thread}", "Seccomp"),
                    status(f"{guest.pid}/task/{thread}", "NoNewPrivs")) == (["2"], ["1"])
    assert status(guest.pid, "Seccomp_filters") == ["1"]


def test_a_guest_with_disk_and_load_is_upgraded_again_and_again(live, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(4 << 20))
    guest = live(*LIBVIRT, "-blockdev", f"driver=file,node-name=d0,filename={disk}", "-device",
                 "virtio-blk-pci,drive=d0", "-device", "pcie-root-port,id=port,chassis=1",
                 memory_mib=64, args="rate=4M")
    for _ in range(3):
        helper = launcher(guest.pid)
        assert len(helper) == 1 and status(helper[0], "Seccomp") == ["0"]
        guest.upgrade()
        until(lambda: not pathlib.Path(f"/proc/{helper[0]}/exe").exists(), 60, "the old process' helper ends")
    guest.qmp.command("device_add", driver="virtio-rng-pci", id="r0", bus="port")
    guest.verify()
    guest.settle()
    assert pathlib.Path(f"/proc/{guest.pid}/comm").read_text(encoding="ascii") == "outlive-vmm\n"


def test_a_failed_upgrade_leaves_no_process(live):
    guest = live(*LIBVIRT, memory_mib=64)
    with pytest.raises(QmpError, match="ended without saying hello"):
        guest.qmp.command("outlive-upgrade", binary="/bin/true")
    with pytest.raises(QmpError, match="isn't a file"):
        guest.qmp.command("outlive-upgrade", binary="/dev/null" if os.access("/dev/null", os.X_OK) else "/tmp")
    helper, = launcher(guest.pid)
    children = pathlib.Path(f"/proc/{helper}/task/{helper}/children")
    until(lambda: not children.read_text(encoding="ascii"), 60, "what it started has been let go")
    guest.upgrade()
    guest.verify()


def test_without_its_helper_an_upgrade_is_refused_early(live):
    guest = live(*LIBVIRT, memory_mib=64)
    os.kill(launcher(guest.pid)[0], signal.SIGKILL)
    until(lambda: guest.qmp.command("query-upgrade-blockers"), 60, "it is told")
    with pytest.raises(QmpError, match="outside of the filter has gone"):
        guest.qmp.command("outlive-upgrade")
    guest.verify()


def test_a_command_that_needs_a_process_fails_and_not_the_guest(live):
    guest = live(*LIBVIRT, memory_mib=64)
    guest.qmp.command("migrate", uri="exec:cat >/dev/null")
    until(lambda: guest.qmp.command("query-migrate")["status"] == "failed", 60, "it fails")
    assert "Operation not permitted" in guest.qmp.command("query-migrate")["error-desc"]
    guest.qmp.command("cont")
    guest.verify()


def test_a_guest_moves_between_two(outlive, witness):
    here = witness(outlive, *LIBVIRT, memory_mib=64, args="rate=4M")
    there = awaiting(outlive, *LIBVIRT, memory_mib=64, args="rate=4M", name="target")
    move(here.vmm, there.vmm)
    check(there)
    there.close()


def test_runas_comes_before_what_it_needs_is_denied(outlive, kvm):
    if os.geteuid():
        pytest.skip("only root can become another user")
    vmm = outlive.start("-M", "pc-q35-7.2", "-accel", "kvm", "-cpu", "host", "-nodefaults", "-display", "none",
                        "-m", 64, "-S", *LIBVIRT, "-runas", "nobody")
    until(lambda: launcher(vmm.pid), 60, "the helper is there")
    assert status(vmm.pid, "Uid") == [str(NOBODY)] * 4
    until(lambda: status(launcher(vmm.pid)[0], "Uid") == [str(NOBODY)] * 4, 60, "the helper changes too")
    assert status(vmm.pid, "Seccomp_filters") == ["2"]


def test_a_program_that_the_guests_user_could_have_written_is_not_started(outlive, kvm, tmp_path):
    if os.geteuid():
        pytest.skip("only root can become another user")
    own = tmp_path / "outlive-vmm"
    own.write_bytes(outlive_vmm().read_bytes())
    own.chmod(0o755)
    os.chown(own, NOBODY, NOBODY)
    vmm = outlive.start("-M", "pc-q35-7.2", "-accel", "kvm", "-cpu", "host", "-nodefaults", "-display", "none",
                        "-m", 64, "-S", *LIBVIRT, "-runas", "nobody")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o001)
    with pytest.raises(QmpError, match="can be written by the user.*install it as root"):
        vmm.qmp.command("outlive-upgrade", binary=str(own))
    assert vmm.qmp.command("query-status")["status"] == "prelaunch"
