# SPDX-License-Identifier: Apache-2.0
"""The monitor of an emulated host: to pull its cables, plug devices, end it.

Source: QEMU, docs/interop/qmp-spec.
"""

import json

from .paths import LabError


class Qmp:
    """A QMP connection over a socket; negotiates on first use."""

    def __init__(self, sock):
        self._sock = sock
        self._file = None
        self.events = []	# events seen so far

    def _message(self):
        line = self._file.readline()
        if not line:
            raise LabError("the emulated host's monitor is gone")
        return json.loads(line)

    def command(self, name, /, **arguments):
        """Run a QMP command and return its value."""
        if not self._file:
            self._sock.settimeout(30)
            self._file = self._sock.makefile("rwb")
            self._message()
            self.command("qmp_capabilities")
        self._file.write(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        self._file.flush()
        while True:
            message = self._message()
            if "error" in message:
                raise LabError(f"{name}: {message['error']['desc']}")
            if "return" in message:
                return message["return"]
            self.events.append(message)

    def quit(self):
        """Ask QEMU to end; it may be gone already."""
        try:
            self.command("quit")
        except (LabError, OSError, ValueError):
            pass

    def close(self):
        """Let go of the socket."""
        if self._file:
            try:
                self._file.close()
            except OSError:
                pass
        self._sock.close()
