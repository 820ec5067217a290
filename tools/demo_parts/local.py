# SPDX-License-Identifier: Apache-2.0
"""This machine as the host of a guest, with the same few calls as the lab's emulated host (lab/host.py).

Commands run in a network namespace of their own, so that a tap needs no rights and touches nobody's network.
"""
import os
import signal
import subprocess
import time
from pathlib import Path


class Job:
    """A command that runs."""

    def __init__(self, process, out):
        self._process, self._out = process, out

    @property
    def code(self):
        """Its exit code, None while it runs."""
        return self._process.poll()

    def output(self):
        """All that it said so far."""
        return Path(self._out).read_text(errors="replace")

    def wait(self, timeout):
        """Wait for its end; return the exit code."""
        return self._process.wait(timeout)

    def kill(self):
        """End it and what it started."""
        if self.code is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Local:
    """This machine."""

    def __init__(self, folder):
        self.work = Path(folder)
        self._jobs = []
        unshare = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
        self._holder = subprocess.Popen([*unshare, "sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE)
        self._holder.stdout.readline()

    def spawn(self, command, env=None):
        """Start a shell text."""
        enter = ["nsenter", "-t", str(self._holder.pid), "-n"]
        if os.geteuid() != 0:
            enter += ["-U", "--preserve-credentials"]
        out = self.work / f"job{len(self._jobs)}.out"
        with open(out, "wb") as file:
            process = subprocess.Popen([*enter, "sh", "-c", command], stdout=file, stderr=file, start_new_session=True,
                                       env={**os.environ, **(env or {})})
        self._jobs.append(Job(process, out))
        return self._jobs[-1]

    def run(self, command, timeout=60):
        """Run a shell text, or a list of words; return (exit code, output)."""
        if not isinstance(command, str):
            command = " ".join("'" + str(word).replace("'", "'\\''") + "'" for word in command)
        job = self.spawn(command)
        return job.wait(timeout), job.output()

    def pump(self, seconds):
        """Let time pass."""
        time.sleep(seconds)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for job in self._jobs:
            job.kill()
        self._holder.kill()
        self._holder.wait()
