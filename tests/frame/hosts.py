# SPDX-License-Identifier: Apache-2.0
"""Two hosts: network namespaces joined by one link whose rate, delay and loss are chosen.

Theory of operation: a plain or only rate-limited link is a veth pair with a token bucket. A
link with delay or loss needs netem; where the kernel has none, two taps and a process of ours
between them (relay.py) do the same. Both look alike: `pair.shape()` changes the link while it
is used, `pair.cut()` and `pair.mend()` take it away and bring it back. Unix sockets work across
hosts, so QMP needs no network.
"""
import contextlib
import ctypes
import itertools
import os
import re
import subprocess
import sys

from frame import relay
from frame.process import Process
from frame.wait import until

DEVICE = "link0"
READY_SECONDS = 60
numbers = itertools.count(1)
setns = ctypes.CDLL(None, use_errno=True).setns


class Host:
    """A network namespace with an address on the link."""

    def __init__(self, name, address):
        self.name = name
        self.address = address
        self.prefix = ("nsenter", f"--net=/run/netns/{name}")
        subprocess.run(["ip", "netns", "add", name], check=True)
        self.ip("link", "set", "lo", "up")

    def ip(self, *words):
        """Run ip(8) in the host. (Not `ip -n`: that fails in a chroot.)"""
        self.run("ip", *words)

    def run(self, *argv, timeout=60):
        """Run a program in the host; its output. CalledProcessError when it fails."""
        return subprocess.run([*self.prefix, *map(str, argv)], check=True, text=True,
                              capture_output=True, timeout=timeout).stdout

    def start(self, *argv, log):
        """Start a program in the host; a frame.process.Process."""
        return Process(argv, log, within=self.prefix)

    @contextlib.contextmanager
    def inside(self):
        """This thread is in the host in the body: sockets made there belong to it."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            assert setns(there, relay.CLONE_NEWNET) == 0, f"setns {self.name}"
            yield self
        finally:
            assert setns(home, relay.CLONE_NEWNET) == 0, "setns home"
            os.close(there)
            os.close(home)


def has_netem():
    """Whether the kernel can delay packets itself."""
    tried = subprocess.run(["tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "0"],
                           capture_output=True, check=False)
    if tried.returncode == 0:
        subprocess.run(["tc", "qdisc", "del", "dev", "lo", "root"], check=True)
    return tried.returncode == 0


class VethLink:
    """A veth pair, shaped by tc."""

    def __init__(self, a, b):
        self.hosts = (a, b)
        a.ip("link", "add", "name", DEVICE, "type", "veth", "peer", "name", DEVICE,
             "netns", b.name)

    def shape(self, rate_mbit, delay_ms, loss_percent):
        """Set the parameters; each way gets them."""
        for host in self.hosts:
            subprocess.run([*host.prefix, "tc", "qdisc", "del", "dev", DEVICE, "root"],
                           check=False, capture_output=True)
            if delay_ms or loss_percent:
                words = ["netem", "limit", 10000, "delay", f"{delay_ms}ms",
                         "loss", f"{loss_percent}%"]
                words += ["rate", f"{rate_mbit}mbit"] if rate_mbit else []
            elif rate_mbit:
                burst = max(int(rate_mbit * 1e6 / 8 / 250), 64 * 1024)
                words = ["tbf", "rate", f"{rate_mbit}mbit", "burst", burst, "latency", "100ms"]
            else:
                continue
            host.run("tc", "qdisc", "add", "dev", DEVICE, "root", *words)

    def close(self):
        """The namespaces take the pair with them."""


class RelayLink:
    """Two taps and a process between them."""

    def __init__(self, a, b, log):
        self.process = Process([sys.executable, "-B", relay.__file__, a.name, b.name, DEVICE], log,
                               stdin=subprocess.PIPE)
        self.said("ready", 1)
        self.shapes = 0

    def said(self, word, times):
        """Wait until the process has said `word` so often."""
        def heard():
            assert self.process.running(), self.process.output()
            return self.process.output().count(word) >= times
        until(heard, READY_SECONDS, f"the relay is {word}")

    def shape(self, rate_mbit, delay_ms, loss_percent):
        """Set the parameters; each way gets them."""
        line = f"{rate_mbit * 1e6} {delay_ms / 1e3} {loss_percent / 100}\n"
        self.process.popen.stdin.write(line.encode())
        self.process.popen.stdin.flush()
        self.shapes += 1
        self.said("shaped", self.shapes)

    def close(self):
        """End the process."""
        self.process.popen.stdin.close()
        self.process.wait()


class Pair:
    """Two hosts, `a` (10.77.0.1) and `b` (10.77.0.2), and their link."""

    def __init__(self, log, rate_mbit=0, delay_ms=0, loss_percent=0, relayed=None):
        """`relayed` forces the kind of link; by default netem is preferred where it is needed."""
        number = f"{os.getpid()}-{next(numbers)}"
        self.made = []
        self.link = None
        try:
            for side, address in (("a", "10.77.0.1"), ("b", "10.77.0.2")):
                self.made.append(Host(f"ol-{number}{side}", address))
            self.a, self.b = self.made
            if relayed is None:
                relayed = bool(delay_ms or loss_percent) and not has_netem()
            self.link = RelayLink(self.a, self.b, log) if relayed else VethLink(self.a, self.b)
            for host in self.made:
                host.ip("addr", "add", f"{host.address}/24", "dev", DEVICE)
            self.mend()
            self.shape(rate_mbit, delay_ms, loss_percent)
        except BaseException:
            self.close()
            raise

    def shape(self, rate_mbit=0, delay_ms=0, loss_percent=0):
        """Set rate, one-way delay and loss of each way; 0: none."""
        self.link.shape(rate_mbit, delay_ms, loss_percent)

    def cut(self):
        """Take the link down: nothing passes, connections hang as with a cut cable."""
        self.a.ip("link", "set", DEVICE, "down")

    def mend(self):
        """Bring the link up, and wait until both sides have a carrier."""
        for host in self.made:
            host.ip("link", "set", DEVICE, "up")
        for host in self.made:
            until(lambda host=host: re.search(r"\bLOWER_UP\b", host.run("ip", "link", "show", DEVICE)),
                  READY_SECONDS, f"link of {host.name} is up")

    def close(self):
        """Remove all of it."""
        if self.link:
            self.link.close()
        for host in self.made:
            subprocess.run(["ip", "netns", "delete", host.name], check=True)
        self.made = []
