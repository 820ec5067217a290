# SPDX-License-Identifier: Apache-2.0
"""A network whose only other member sends everything back."""
import contextlib
import fcntl
import select
import socketserver
import struct
import termios
import threading


class Echo(socketserver.ThreadingUnixStreamServer):
    """The other end of a guest's stream netdev: each packet comes back. Packets have their length in front.

    Several VMMs may be connected at once, as while a guest is on its way from one to another.
    """

    daemon_threads = True

    class Handler(socketserver.BaseRequestHandler):
        """One VMM's connection."""

        def handle(self):
            self.server.open.append(self.request)
            self.server.connections += 1
            with contextlib.suppress(OSError):
                while data := self.take():
                    self.request.sendall(data)

        def take(self):
            """What came next, counted as it leaves the socket."""
            select.select([self.request], [], [])
            with self.server.counting:
                data = self.request.recv(65536)
                self.server.received += len(data)
            return data

    def __init__(self, path):
        super().__init__(str(path), self.Handler)
        self.path = path
        self.connections = self.received = 0
        self.open, self.counting = [], threading.Lock()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self.thread.start()

    def options(self):
        """Options of the guest's end."""
        return ["-netdev", f"stream,id=net,server=off,addr.type=unix,addr.path={self.path}",
                "-device", "virtio-net-pci,netdev=net,mac=52:54:00:12:34:56"]

    def all_received(self):
        """How many bytes came, those that wait in a socket included."""
        with self.counting:
            return self.received + sum(waiting(one) for one in self.open if one.fileno() >= 0)

    def close(self):
        """End; nobody is waited for."""
        self.shutdown()
        self.thread.join()
        self.server_close()

    def __exit__(self, *_):
        self.close()


def waiting(sock):
    """Bytes that nobody has read yet."""
    return struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, struct.pack("i", 0)))[0]
