# SPDX-License-Identifier: Apache-2.0
"""The QMP client and the VMM fixture, against a stock QEMU without a guest."""
import os

import pytest

from frame.qmp import Qmp, QmpClosed, QmpError
from frame.wait import TooLate

IDLE = ("-M", "none", "-nodefaults", "-display", "none")


def test_command_returns_and_error_names_the_cause(qemu):
    vmm = qemu.start(*IDLE)
    assert vmm.qmp.greeting["version"]["qemu"]["major"] == 7
    assert vmm.qmp.command("query-status")["running"] is True
    with pytest.raises(QmpError, match="no-such-command"):
        vmm.qmp.command("no-such-command")


def test_events_are_queued_in_order_and_others_stay(qemu):
    vmm = qemu.start(*IDLE)
    vmm.qmp.command("stop")
    vmm.qmp.command("cont")
    vmm.qmp.command("stop")
    assert vmm.qmp.wait_event("RESUME", timeout=60)["event"] == "RESUME"
    assert [event["event"] for event in vmm.qmp.take_events()] == ["STOP", "STOP"]


def test_an_event_that_does_not_come_is_waited_for_no_longer_than_said(qemu):
    vmm = qemu.start(*IDLE)
    vmm.qmp.command("stop")
    with pytest.raises(TooLate, match="RESET.*other events: STOP"):
        vmm.qmp.wait_event("RESET", timeout=0.1)
    vmm.qmp.wait_event("STOP", timeout=1)


def test_a_file_descriptor_is_passed(qemu):
    vmm = qemu.start(*IDLE)
    reader, writer = os.pipe()
    vmm.qmp.command("getfd", fdname="one", fds=[writer])
    os.close(writer)
    vmm.qmp.command("closefd", fdname="one")
    assert os.read(reader, 1) == b"", "both ends of the writer are closed"
    os.close(reader)


def test_several_clients_see_the_same_events(qemu):
    vmm = qemu.start(*IDLE, "-qmp", "unix:@RUN@/second.sock,server=on,wait=off")
    second = vmm.connect("second.sock")
    vmm.qmp.command("stop")
    assert second.wait_event("STOP", timeout=60)
    assert vmm.qmp.wait_event("STOP", timeout=60)


def test_quit_ends_the_process_and_removes_its_folder(qemu):
    vmm = qemu.start(*IDLE)
    assert vmm.quit() == 0
    assert not os.path.exists(vmm.run)


def test_a_vmm_that_fails_to_start_is_reported_with_its_output(qemu):
    with pytest.raises(AssertionError, match="no-such-device"):
        qemu.start(*IDLE, "-device", "no-such-device")


def test_a_connection_that_the_vmm_closes_is_noticed(qemu):
    vmm = qemu.start(*IDLE)
    client = vmm.qmp
    vmm.process.kill()
    with pytest.raises(QmpClosed):
        client.command("query-status")


def test_a_socket_nobody_listens_on_is_given_up(run_dir):
    with pytest.raises(TooLate, match="connect to"):
        Qmp(run_dir / "none.sock", timeout=0.1)
