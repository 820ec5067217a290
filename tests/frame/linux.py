# SPDX-License-Identifier: Apache-2.0
"""A Debian Linux guest under a VMM in the lab: start it, talk to its console, wait for what it says.

    guest = linux.Guest(host, [*linux.machine(2), *linux.kernel(image, "uname -r")])
    guest.expect("OUTLIVE-GUEST up")
    guest.type("uname -r")
    assert guest.wait() == 0

Theory of operation: the VMM runs as a job of the emulated host with the serial port on its stdin
(a FIFO that stays open) and stdout (the job's output, which both sides see). QMP is a socket in
the host's /run; commands go through a short Python program there (inside.py).
"""
import json
import pathlib
import time

from lab import image as lab_image
from lab.job import LabStall, signature

from .paths import outlive_vmm

START_SECONDS = 180
INSIDE = pathlib.Path(__file__).with_name("inside.py")
CONSOLE = """
import os, select, socket, sys, time
s = socket.socket(socket.AF_UNIX)
while s.connect_ex(sys.argv[1]):
    time.sleep(0.05)
while True:
    ready = select.select([0, s], [], [])[0]
    if 0 in ready:
        s.sendall(os.read(0, 4096))
    if s in ready:
        data = s.recv(65536)
        if not data:
            break
        os.write(1, data)
"""


EVENTS = """
import socket, sys, time
s = socket.socket(socket.AF_UNIX)
while s.connect_ex(sys.argv[1]):
    time.sleep(0.05)
s.sendall(b'{"execute": "qmp_capabilities"}')
for line in s.makefile("r"):
    print(line, end="", flush=True)
"""
# Runs what is typed, without echo and prompt.
LISTEN = 'stty -echo; echo LISTENS; while read -r line; do eval "$line"; done'


class PeerEnded(LabStall):
    """A guest of stock QEMU ended by itself on an emulated host: worth one more try, as the known hang is."""


class Guest:
    """A guest that runs. Without @vmm in outlive-vmm; with one, as a peer to compare with.

    With @outlives the guest may go to another process: its console is a socket, and who is connected
    stays until the guest's last process ends.
    """

    def __init__(self, host, options, vmm=None, env=None, run="/run", outlives=False):
        self.host = host
        self._ended = PeerEnded if vmm else AssertionError
        self._seen = self._asked = 0
        self._fifo, self.qmp_socket = f"{run}/guest.in", f"{run}/guest.qmp"
        console = f"{run}/guest.con"
        serial = f"unix:{console},server=on,wait=off" if outlives else "stdio"
        command = [*(vmm or [outlive_vmm()]), "-nodefaults", "-cpu", "host", "-display", "none", "-serial", serial,
                   "-qmp", f"unix:{self.qmp_socket},server=on,wait=off", *options]
        words = " ".join(_quote(str(word)) for word in command)
        start = f"exec {words} <&9"
        if outlives:
            start = f"{words} </dev/null & exec /usr/bin/python3 -c {_quote(CONSOLE)} {console} <&9"
        self.job = host.spawn(f"mkdir -p {run}; rm -f {self._fifo} {self.qmp_socket}; mkfifo {self._fifo}; "
                              f"exec 9<>{self._fifo}; {start}", env=env)

    def output(self):
        """All that the guest (and the VMM) said."""
        return self.job.output()

    def expect(self, text, timeout=START_SECONDS):
        """Wait until the guest says @text (behind what was expected before); return what came up to its line's end."""
        end = time.monotonic() + timeout
        while True:
            said = self.output()[self._seen:]
            at = said.find(text)
            if at >= 0 and "\n" in said[at:]:
                stop = said.index("\n", at) + 1
                self._seen += stop
                return said[:stop]
            if self.job.code is not None:
                raise self._ended(f"the VMM ended ({self.job.code}) before {text!r}:\n{said[-3000:]}")
            if time.monotonic() >= end:
                self._late(f"no {text!r} within {timeout} s:\n{said[-3000:]}")
            self.host.pump(0.05)

    def _late(self, why):
        """Fail: by the lab's known hang where the host or the guest shows its sign, else as the test's own failure."""
        sign = signature(self.host.console()) or signature(self.output())
        if sign:
            raise LabStall(f"the host or its guest hangs ({sign})\n{why}")
        raise AssertionError(why)

    def type(self, line):
        """Type a line on the console."""
        assert self.host.run(f"printf '%s\\n' {_quote(line)} >{self._fifo}", timeout=120)[0] == 0

    def ask(self, command, timeout=START_SECONDS):
        """Have a guest that runs LISTEN run a command, which must succeed; return what it said."""
        self._asked += 1
        self.type(f"{{ {command}; }} </dev/null 2>&1; echo =='end of {self._asked}:' $?")
        said, _, code = self.expect(f"==end of {self._asked}: ", timeout).replace("\r", "").rpartition("==end of ")
        assert code.split()[-1] == "0", f"{command}: {code.split()[-1]}\n{said}"
        return said

    def qmp(self, *commands, timeout=60):
        """Run QMP commands (names, or messages as JSON); return their answers as text, a line each."""
        words = [json.loads(one) if one.startswith("{") else {"execute": one} for one in commands]
        answers = self.commands(*((one["execute"], one.get("arguments", {})) for one in words), timeout=timeout)
        return "\n".join(json.dumps({"return": answer}) for answer in answers)

    def command(self, name, timeout=60, **arguments):
        """Run a QMP command and return what it returns; underscores in names of arguments stand for hyphens."""
        return self.commands((name, {key.replace("_", "-"): value for key, value in arguments.items()}),
                             timeout=timeout)[-1]

    def commands(self, *commands, timeout=60):
        """Run (name, arguments) one after the other, or words of inside.py, each within so long; what they return."""
        return commands_in(self.host, self.qmp_socket, *commands, timeout=timeout)

    def until_monitor(self, timeout=START_SECONDS):
        """Wait until the VMM takes commands."""
        end = time.monotonic() + timeout
        while self.host.run(f"test -S {self.qmp_socket}", timeout=timeout)[0]:
            if self.job.code is not None or time.monotonic() >= end:
                self._late(f"no monitor:\n{self.output()[-3000:]}")
            self.host.pump(0.1)

    def wait(self, timeout=START_SECONDS):
        """Wait for the VMM to end; return its exit code."""
        return self.job.wait(timeout)


def commands_in(host, monitor, *commands, timeout=60):
    """Guest.commands() for a monitor at a path in the host."""
    code, out = host.run(["/usr/bin/python3", str(INSIDE), monitor, str(timeout), json.dumps(commands)],
                         timeout=60 + timeout * len(commands))
    assert code == 0, f"{commands}: {out}"
    return [json.loads(line) for line in out.splitlines()]


class Events:
    """Listens to the events of a guest's VMM on a monitor of their own."""

    def __init__(self, host, run="/run"):
        self.socket = f"{run}/events.qmp"
        self.options = ["-qmp", f"unix:{self.socket},server=on,wait=off"]
        self._job = host.spawn(["/usr/bin/python3", "-c", EVENTS, self.socket])

    def count(self, *texts):
        """How many events came that have all of @texts in them."""
        return sum(all(text in line for text in texts) for line in self._job.output().splitlines())


def _quote(text):
    return "'" + text.replace("'", "'\\''") + "'"


def kernel(image, script=None, words="", boot="pvh"):
    """Options that start @image's kernel directly. @words: further ones for its command line."""
    line = image.command_line(script, f"{lab_image.FAST} {words}")
    return ["-kernel", image.vmlinux if boot == "pvh" else image.vmlinuz, "-initrd", image.initrd, "-append", line]


def machine(cpus=1, memory=384):
    """Options for its size."""
    return ["-smp", cpus, "-m", memory]


def disk(path, name="d0", device="virtio-blk-pci"):
    """Options for a raw disk."""
    return ["-blockdev", f"driver=file,node-name={name}f,filename={path}",
            "-blockdev", f"driver=raw,node-name={name},file={name}f", "-device", f"{device},drive={name}"]


def tap(name="tap0"):
    """Options for a NIC at a tap of the host."""
    return ["-netdev", f"tap,id=n0,ifname={name},script=no,downscript=no", "-device", "virtio-net-pci,netdev=n0"]


def make_tap(host, name="tap0", address="10.77.1.1/24"):
    """Make a tap in the host."""
    code, out = host.run(f"modprobe tun; ip tuntap add {name} mode tap && ip addr add {address} dev {name} && "
                         f"ip link set {name} up", timeout=60)
    assert code == 0, out
