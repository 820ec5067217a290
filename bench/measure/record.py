# SPDX-License-Identifier: Apache-2.0
"""Records of a run, of any VMM, in the format that `outlive migrate --record` writes (docs/record.md).

A client of its own looks from a thread, fifty times a second; events carry their own times. Looking
costs the VMM a little, so a case whose figures must not have that in them records a run of its own.
"""
import json
import threading
import time

from frame.qmp import QmpClosed
from frame.wait import TooLate

LOOK_SECONDS = 0.02
SOCKET = "record.sock"
OPTIONS = ("-qmp", f"unix:@RUN@/{SOCKET},server=on,wait=off")  # a monitor for the recorder alone
ENDS = ("completed", "failed", "cancelled")


class Recorder:
    """Writes down a migration from `vmm`, started with OPTIONS, to `path` (NAME.record)."""

    def __init__(self, vmm, path, guest, **head):
        """`head`: further members of the first line: to, memory (bytes), cpus."""
        self.client = vmm.connect(SOCKET)
        self.file = open(path, "w", encoding="utf-8")  # noqa: SIM115  (closed in __exit__)
        self.begin, self.begin_wall = time.monotonic(), time.time()
        self.ended = threading.Event()
        self.write({"record": 1, "kind": "migration", "guest": guest, "begin-us": int(self.begin_wall * 1e6),
                    "parameters": self.client.command("query-migrate-parameters"), **head})
        self.thread = threading.Thread(target=self.look)

    def write(self, line):
        """One line."""
        self.file.write(json.dumps(line) + "\n")

    def look(self):
        """Until the run has ended, for it or for us; then once more."""
        last = False
        try:
            while not last:
                last = self.ended.is_set()
                info = self.client.command("query-migrate")
                self.write({"query-migrate": info, "at-ms": (time.monotonic() - self.begin) * 1e3})
                while self.client.events:
                    self.event(self.client.events.popleft())
                if info.get("status") in ENDS:
                    break
                self.ended.wait(LOOK_SECONDS)
        except (QmpClosed, TooLate):
            pass  # the VMM went: what is there is there

    def event(self, event):
        """An event, at the time that it says."""
        when = event["timestamp"]["seconds"] + event["timestamp"]["microseconds"] / 1e6
        self.write({"event": event, "at-ms": (when - self.begin_wall) * 1e3})

    def felt(self, milliseconds):
        """What the guest itself says of its pause."""
        self.write({"felt-ms": milliseconds})

    def __enter__(self):
        self.thread.start()
        return self

    def finish(self):
        """The run is over: no more looks."""
        self.ended.set()
        self.thread.join()

    def __exit__(self, *_):
        self.finish()
        self.client.close()
        self.file.close()
