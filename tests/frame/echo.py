# SPDX-License-Identifier: Apache-2.0
"""A network whose only other member sends everything back."""
import contextlib
import socket
import threading


class Echo:
    """The other end of a guest's stream netdev: sends each packet back. Packets have their length in front."""

    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(1)
        self.connections = self.received = 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        """Serve one guest after the other until the listener is shut down; whole packets only."""
        while True:
            try:
                far, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            with far:
                self.serve(far)

    def serve(self, far):
        """Send back what comes, until the end."""
        with contextlib.suppress(OSError):
            while data := far.recv(65536):
                self.received += len(data)
                far.sendall(data)

    def close(self):
        """End; the guest has gone."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(10)
        self.listener.close()
