# SPDX-License-Identifier: Apache-2.0
"""A network whose only other member sends everything back."""
import contextlib
import socketserver
import threading


class Echo(socketserver.ThreadingUnixStreamServer):
    """The other end of a guest's stream netdev: each packet comes back. Packets have their length in front.

    Several VMMs may be connected at once, as while a guest is on its way from one to another.
    """

    daemon_threads = True

    class Handler(socketserver.BaseRequestHandler):
        """One VMM's connection."""

        def handle(self):
            self.server.connections += 1
            with contextlib.suppress(OSError):
                while data := self.request.recv(65536):
                    self.server.received += len(data)
                    self.request.sendall(data)

    def __init__(self, path):
        super().__init__(str(path), self.Handler)
        self.path = path
        self.connections = self.received = 0
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self.thread.start()

    def options(self):
        """Options of the guest's end."""
        return ["-netdev", f"stream,id=net,server=off,addr.type=unix,addr.path={self.path}",
                "-device", "virtio-net-pci,netdev=net,mac=52:54:00:12:34:56"]

    def close(self):
        """End; nobody is waited for."""
        self.shutdown()
        self.thread.join()
        self.server_close()

    def __exit__(self, *_):
        self.close()
