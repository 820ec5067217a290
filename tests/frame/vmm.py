# SPDX-License-Identifier: Apache-2.0
"""One guest under a VMM, Outlive or QEMU alike: both take the same options and speak QMP."""
import shutil
import tempfile
from dataclasses import dataclass, field

from frame.process import Process
from frame.qmp import Qmp, QmpClosed

START_SECONDS = 60


@dataclass(frozen=True)
class Program:
    """A VMM program: `argv` starts it, `name` is for messages ("outlive", "qemu-7.2")."""

    name: str
    argv: tuple
    env: dict = field(default=None, hash=False)

    def __str__(self):
        return self.name


class Vmm:
    """A VMM process with a QMP connection.

    The run folder has a short path of its own (a unix socket's is limited to 107 bytes) and
    holds `qmp.sock`; `path("x.sock")` names further sockets in it. stop() removes it.
    """

    def __init__(self, program, options, log, within=(), pass_fds=()):
        """Start `program` with QEMU-style `options`, and connect.

        `within` is a command prefix (Host.prefix); the log names the command line first.
        """
        self.program = program
        self.run = tempfile.mkdtemp(prefix="ol-")
        self.options = [str(option).replace("@RUN@", self.run) for option in options]
        self.clients = []
        self.process = None
        self.qmp = None
        argv = [*program.argv, *self.options, "-qmp", f"unix:{self.path('qmp.sock')},server=on,wait=off"]
        with open(log, "a", encoding="utf-8") as file:
            file.write("$ " + " ".join(map(str, argv)) + "\n")
        try:
            self.process = Process(argv, log, env=program.env, within=within, pass_fds=pass_fds)
            self.pid = self.process.pid
            self.qmp = self.connect()
        except BaseException:
            self.kill()
            raise

    def path(self, name):
        """A path in the run folder."""
        return f"{self.run}/{name}"

    def connect(self, name="qmp.sock", negotiate=True):
        """One more QMP client; closed with the VMM."""
        try:
            client = Qmp(self.path(name), START_SECONDS, negotiate, self.process.running)
        except QmpClosed as closed:
            status = self.process.popen.poll()
            ended = "still runs" if status is None else f"ended with status {status}"
            raise AssertionError(f"{closed}; {self.program} {ended}; its output:\n"
                                 f"{self.output()}") from None
        self.clients.append(client)
        return client

    def output(self):
        """All that the VMM wrote, after the command line."""
        return self.process.output()

    def running(self):
        """Whether the process is there."""
        return self.process is not None and self.process.running()

    def wait(self, timeout=60):
        """Wait for the end of the process; its exit status."""
        return self.process.wait(timeout)

    def quit(self, timeout=60):
        """End it by QMP; its exit status."""
        try:
            self.qmp.command("quit")
        except QmpClosed:
            pass
        status = self.wait(timeout)
        self.clean()
        return status

    def kill(self):
        """End it by force, and clean up."""
        if self.process:
            self.process.kill()
            self.process.wait()
        self.clean()

    def clean(self):
        """Close clients and remove the run folder."""
        for client in self.clients:
            client.close()
        self.clients = []
        shutil.rmtree(self.run, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
