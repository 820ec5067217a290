# SPDX-License-Identifier: Apache-2.0
"""A guest on its way from one VMM to another, by QMP as any manager does it."""
import os
import select
import socket
import threading
import time

from frame import second
from frame.qmp import QmpClosed
from frame.wait import until
from frame.witness import Witness, options

ENDS = ("completed", "failed", "cancelled")
MOVE_SECONDS = 120
written = {}  # file that a VMM is writing a stream to
TAKEN = bytes.fromhex("0001 0004 00000000")  # SHUT: the target has the guest
WALL_SECONDS = 3  # the witness asks for it once a second


def awaiting(starter, *more, name="target", incoming="defer", within=(), **guest):
    """A Witness in a VMM that waits for its guest; the same options as witness() takes."""
    words = [word for word in options(**guest) if word != "-S"]
    return Witness(starter.start(*words, *more, "-incoming", incoming, name=name, within=within))


def switch_on(vmm, *capabilities):
    """Set migration capabilities."""
    vmm.qmp.command("migrate-set-capabilities",
                    capabilities=[{"capability": name, "state": True} for name in capabilities])


def status(vmm):
    """The word of query-migrate, or None."""
    return vmm.qmp.command("query-migrate").get("status")


def ended(vmm, seconds=MOVE_SECONDS):
    """query-migrate once the job has ended."""
    until(lambda: status(vmm) in ENDS, seconds, f"the migration of {vmm.program} ends")
    info, file = vmm.qmp.command("query-migrate"), written.pop(vmm, None)
    if file and info["status"] == "completed":
        second.read(file)
    return info


def send(source, uri, *capabilities, **parameters):
    """Start to migrate, without a limit of the bandwidth unless one is given."""
    switch_on(source, "events", *capabilities)
    source.qmp.command("migrate-set-parameters", **{"max-bandwidth": 0, **parameters})
    source.qmp.command("migrate", uri=uri)
    for begin in ("file:", "exec:cat > "):
        if uri.startswith(begin):
            written[source] = uri.removeprefix(begin)


def move(source, target, *capabilities, uri=None, **parameters):
    """Migrate a guest to a VMM started by awaiting(); both sides must say that it is done."""
    uri = uri or f"unix:{target.path('migrate.sock')}"
    target.qmp.command("migrate-incoming", uri=uri)
    send(source, uri, *capabilities, **parameters)
    info = ended(source)
    try:
        there = ended(target)
    except QmpClosed:
        raise AssertionError(f"the target ended:\n{target.output()}") from None
    assert (info["status"], there["status"]) == ("completed", "completed"), (
        info, there, source.output(), target.output())
    return info


def check(guest, devices=False, on_the_way=0):
    """The guest runs, has verified all of its memory since, and its clocks go on.

    Another process has another cable: frames that the peer sent down the old one after the guest
    was stopped are gone, as on any network. `on_the_way` says how many that may have been.
    """
    before = guest.report()
    guest.wait(lambda now: now["cpu"][0]["beats"] > before["cpu"][0]["beats"])
    guest.ask("v")
    report = guest.wait("verified")
    assert report["faults"] == 0, report
    assert report["wall_back"] == 0 and not any(cpu["mono_back"] for cpu in report["cpu"]), report
    guest.wait(lambda now: abs(now["wall_ns"] / 1e9 - time.time()) < WALL_SECONDS)
    for old, new in zip(before["device"], report["device"]):
        may_be_lost = on_the_way if new["kind"] == "net" else 0
        assert new["bad"] == 0 and new["lost"] <= may_be_lost, new
    if devices:
        count = [device["in"] for device in report["device"]]
        guest.wait(lambda now: all(d["in"] > n for d, n in zip(now["device"], count)))
    return report


class Between:
    """A wire between the source and a target's socket.

    `.uri` is where to migrate to. The end of either side is passed on to the other. What the source sends is also
    written to the file `copy`, whole once the wire is left. What the target says in the end, that it has the guest,
    doesn't get through with `lose`; `.lost` is set then.
    """

    def __init__(self, there, target, copy=os.devnull, lose=False):
        self.uri, self.lost, self._lose = f"unix:{there}", threading.Event(), lose
        self._target = str(target)
        self._copy = open(copy, "wb")  # pylint: disable=consider-using-with
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(there))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        try:
            source, _ = self._socket.accept()
        except OSError:
            return  # closed before anybody came
        with source, socket.socket(socket.AF_UNIX) as target:
            target.connect(self._target)
            self._carry(source, target)

    def _carry(self, source, target):
        other = {source: target, target: source}
        while True:
            for end in select.select(list(other), [], [])[0]:
                try:
                    data = end.recv(1 << 20)
                    if end is source:
                        self._copy.write(data)
                    if self._lose and end is target and data.endswith(TAKEN):
                        self.lost.set()
                    elif data:
                        other[end].sendall(data)
                except OSError:
                    data = b""
                if not data:
                    return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        self._copy.close()


def missed_s(guest):
    """How much time the guest's monotonic clock has missed."""
    asked = guest.report()["wall_ns"]
    return guest.wait(lambda now: now["wall_ns"] > asked)["wall_mono_ns"] / 1e9
