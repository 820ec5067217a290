# SPDX-License-Identifier: Apache-2.0
"""A QMP client of our own: commands, events with bounds, file descriptors.

Theory of operation: one socket per client, read only while a command or an event is awaited;
events that arrive meanwhile are queued in order. Nothing waits without a bound. Several
clients may be connected to one VMM, each sees all events.
"""
import collections
import itertools
import json
import socket

from frame.wait import Deadline, TooLate, until

COMMAND_SECONDS = 60


class QmpError(Exception):
    """The VMM answered a command with an error."""

    def __init__(self, command, error):
        super().__init__(f"{command}: {error.get('class')}: {error.get('desc')}")
        self.error_class = error.get("class")
        self.desc = error.get("desc")


class QmpClosed(Exception):
    """The VMM closed the connection."""


class Qmp:
    """A connected client that has negotiated capabilities.

    @greeting is the "QMP" object of the greeting, @events the events not yet taken.
    """

    def __init__(self, path, timeout=COMMAND_SECONDS, negotiate=True, alive=lambda: True):
        """Connect to the unix socket `path`, which may not be there yet.

        `alive` says whether the VMM still runs, so that one that died is not waited for.
        """
        self.path = str(path)
        self.events = collections.deque()
        self.ids = itertools.count(1)
        self.buffer = b""
        self.sock = until(lambda: self.try_connect(alive), timeout, f"connect to {path}")
        try:
            self.greeting = self.receive(Deadline(timeout, f"greeting of {path}"))["QMP"]
            if negotiate:
                self.command("qmp_capabilities")
        except BaseException:
            self.close()
            raise

    def try_connect(self, alive):
        """A connected socket, or None while nobody listens."""
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(self.path)
        except (FileNotFoundError, ConnectionRefusedError):
            sock.close()
            if not alive():
                raise QmpClosed(f"{self.path}: the VMM ended before it listened") from None
            return None
        return sock

    def close(self):
        """Disconnect."""
        self.sock.close()

    def send_raw(self, data, fds=()):
        """Send bytes as they are, with file descriptors attached to the first."""
        try:
            if fds:
                sent = socket.send_fds(self.sock, [data], list(fds))
                data = data[sent:]
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise QmpClosed(f"{self.path}: connection closed") from None

    def send(self, command, arguments, fds=(), execute="execute"):
        """Send a command without waiting; returns its id."""
        request = {execute: command, "id": next(self.ids)}
        if arguments:
            request["arguments"] = arguments
        self.send_raw(json.dumps(request).encode() + b"\n", fds)
        return request["id"]

    def command(self, name, *, fds=(), timeout=COMMAND_SECONDS, oob=False, **arguments):
        """Run a command and return what it returns.

        Underscores in argument names stand for hyphens (`qom_type=` sends "qom-type"); pass
        a name that has underscores with `raw`. Raises QmpError for an error reply.
        """
        words = {key.rstrip("_").replace("_", "-"): value for key, value in arguments.items()}
        return self.raw(name, words, fds=fds, timeout=timeout, oob=oob)

    def raw(self, name, arguments=None, *, fds=(), timeout=COMMAND_SECONDS, oob=False):
        """Like command(), with the arguments exactly as they go over the wire."""
        deadline = Deadline(timeout, f"reply to {name}")
        number = self.send(name, arguments, fds, "exec-oob" if oob else "execute")
        while True:
            reply = self.receive(deadline)
            if "event" in reply:
                self.events.append(reply)
            elif reply.get("id", number) != number:
                raise AssertionError(f"{name}: reply to another command: {reply}")
            elif "error" in reply:
                raise QmpError(name, reply["error"])
            else:
                return reply["return"]

    def hmp(self, line):
        """Run a line of the human monitor."""
        return self.raw("human-monitor-command", {"command-line": line})

    def wait_event(self, *names, timeout=COMMAND_SECONDS, match=lambda data: True):
        """Take the first event of these names whose data `match`; others stay queued."""
        deadline = Deadline(timeout, f"event {' or '.join(names)}")
        passed = []
        while True:
            while not self.events:
                try:
                    self.events.append(self.receive(deadline))
                except TooLate as late:
                    self.events.extend(passed)
                    seen = ", ".join(event["event"] for event in passed) or "none"
                    raise TooLate(f"{late}; other events: {seen}") from None
                except QmpClosed:
                    self.events.extend(passed)
                    raise
            event = self.events.popleft()
            if event["event"] in names and match(event.get("data", {})):
                self.events.extendleft(reversed(passed))
                return event
            passed.append(event)

    def take_events(self):
        """All events that have arrived and were not taken, oldest first."""
        self.raw("query-status")  # a reply comes after all events before it
        events, self.events = list(self.events), collections.deque()
        return events

    def wait_closed(self, timeout=COMMAND_SECONDS):
        """Wait until the VMM closes the connection."""
        deadline = Deadline(timeout, f"{self.path} closes")
        try:
            while True:
                self.events.append(self.receive(deadline))
        except QmpClosed:
            pass

    def receive(self, deadline):
        """The next message."""
        while b"\n" not in self.buffer:
            self.sock.settimeout(deadline.left())
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                continue
            except ConnectionResetError:
                data = b""
            if not data:
                raise QmpClosed(f"{self.path}: {deadline.what}: connection closed")
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
