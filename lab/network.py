# SPDX-License-Identifier: Apache-2.0
"""Networks of the emulated host. None reaches outside of the machine.

A net is given as one of
  user[,tftp=DIR]   QEMU's built-in peer at 10.0.2.2, restricted: answers ARP, ping, DHCP
                    and TFTP, forwards nothing; the host's lab0 is 10.0.2.15
  a -netdev text    with its own id=, for a NIC that comes as a device of its own
                    ("user,id=n1" with the device "e1000e,netdev=n1,romfile=")
Pair joins two hosts with a virtual cable.
"""

import dataclasses
import socket

from .paths import LabError

LOCAL_ONLY = "a lab's network must not reach outside addresses"


@dataclasses.dataclass
class Link:
    """A NIC the agent configures: -netdev text, MAC, name and address in the host."""
    netdev: str		# with id=
    ident: str
    mac: str
    name: str
    address: str	# with prefix length


def _fields(text):
    kind, _, rest = text.partition(",")
    return kind, dict(part.partition("=")[::2] for part in rest.split(",") if part)


def checked(text):
    """Return a -netdev text that can't reach outside, or say why it could."""
    kind, fields = _fields(text)
    if kind == "user":
        if fields.get("restrict", "on") not in ("on", "yes", "y", "true"):
            raise LabError(f"{text}: {LOCAL_ONLY}: restrict=off")
        if "hostfwd" in fields or "guestfwd" in fields:
            raise LabError(f"{text}: {LOCAL_ONLY}: forwarding")
        return text if "restrict" in fields else text + ",restrict=on"
    if kind == "socket" and not ("fd" in fields or _loopback(fields)):
        raise LabError(f"{text}: {LOCAL_ONLY}: use fd= or 127.0.0.1")
    if kind in ("stream", "dgram") and "inet" in [v for k, v in fields.items() if k.endswith(".type")]:
        raise LabError(f"{text}: {LOCAL_ONLY}: use a unix socket")
    if kind not in ("socket", "stream", "dgram", "tap", "hubport", "vhost-user"):
        raise LabError(f"{text}: a net of the kind {kind!r} isn't offered")
    return text


def _loopback(fields):
    ends = [fields[key] for key in ("listen", "connect") if key in fields]
    return bool(ends) and "mcast" not in fields and all(end.startswith("127.0.0.1:") for end in ends)


def split(nets):
    """Sort nets into Links for the agent and -netdev texts for the caller's own devices."""
    links, raw = [], []
    for text in nets:
        if isinstance(text, Link):
            links.append(text)
            continue
        if "id" in _fields(text)[1]:
            raw.append(checked(text))
            continue
        ident = f"lab{len(links)}"
        kind, _, rest = text.partition(",")
        if kind != "user":
            raise LabError(f"net {text}: give id= and a device for it, or use \"user\"")
        netdev = checked(f"user,id={ident}" + (f",{rest}" if rest else ""))
        links.append(Link(netdev, ident, f"52:54:00:77:01:{len(links):02x}", ident, "10.0.2.15/24"))
    return links, raw


class Pair:
    """A cable between two hosts: 10.77.0.1 on the first, 10.77.0.2 on the second."""

    def __init__(self):
        self._ends = socket.socketpair()

    @staticmethod
    def address(index):
        """Return the address of host 0 or 1, without prefix length."""
        return f"10.77.0.{index + 1}"

    def fd(self, index):
        """Return the file descriptor that host @index inherits."""
        return self._ends[index].fileno()

    def link(self, index):
        """Return the Link for host 0 or 1."""
        return Link(f"socket,id=cable,fd={self.fd(index)}", "cable", f"52:54:00:77:00:{index + 1:02x}", "lab0",
                    self.address(index) + "/24")

    def close(self):
        """Let go of both ends, once both hosts have theirs."""
        for end in self._ends:
            end.close()
