# SPDX-License-Identifier: Apache-2.0
"""VMMs that the outlive command has started, and the command itself with guests of its own."""
import json
import os
import pathlib
import signal
import subprocess

from frame.paths import outlive, outlive_vmm
from frame.process import alive
from frame.qmp import Qmp
from frame.vmm import Program
from frame.wait import until
from frame.witness import Witness

COMMAND_SECONDS = 120


class Command:
    """The outlive command, whose guests are in `folder`."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.env = {**os.environ, "OUTLIVE_RUN_DIR": str(folder), "OUTLIVE_VMM": str(outlive_vmm())}

    def __call__(self, *words, code=0):
        """Run it to its end; what it printed, or its complaint where it shall fail."""
        done = subprocess.run([outlive(), *map(str, words)], env=self.env, capture_output=True, text=True,
                              timeout=COMMAND_SECONDS, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stderr if code else done.stdout

    def begin(self, *words):
        """Start it: a Popen whose complaint can be read."""
        return subprocess.Popen([outlive(), *map(str, words)], env=self.env, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)

    def end(self):
        """End all guests, by force."""
        for guest in json.loads(self("ls", "--json")):
            if guest["pid"]:
                os.kill(guest["pid"], signal.SIGKILL)
                until(lambda pid=guest["pid"]: not alive(pid), 60, f"{guest['name']} ends")


class Standing:
    """A VMM by its monitor, as the witness and frame.moving want one."""

    def __init__(self, monitor, log, places, name="outlive"):
        """`places`: {file name: path} of what path() is asked for."""
        self.program = Program(name, ())
        self.qmp = Qmp(str(monitor))
        self.log, self.places = pathlib.Path(log), places

    def path(self, name):
        """Where a socket is."""
        return self.places[name]

    def output(self):
        """What it wrote."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""


class StandingWitness(Witness):
    """The witness in a VMM that was started by the command."""

    def __init__(self, monitor, log, console, name="outlive"):
        super().__init__(Standing(monitor, log, {"witness.sock": str(console)}, name))

    def close(self):
        """Let go of monitor and console."""
        super().close()
        self.vmm.qmp.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
