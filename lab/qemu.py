# SPDX-License-Identifier: Apache-2.0
"""The command line and the process of one emulated host.

Theory of operation: QEMU gets all its sockets (agent, QMP, shell, cable) as
inherited socket pairs, so no path and no port is involved. It dies with the process
that started it: setpriv(1) sets the parent-death signal, which Linux ties to the
*thread* that forked, so all QEMUs are started by one thread that lives as long as
the process. The kernel is the ELF one, entered by PVH; mitigations are off, since
retpolines are dear under emulation and nobody attacks this host.
"""

import os
import queue
import shlex
import socket
import subprocess
import threading

from .paths import LabError, need_tool

APPEND = ("console=ttyS0 quiet reboot=t panic=-1 tsc=reliable no_timer_check nokaslr mitigations=off "
          "audit=0 apparmor=0 random.trust_cpu=on cryptomgr.notests net.ifnames=0 oops=panic")


# Without cmpxchg16b: QEMU 7.2 emulates it wrongly now and then, seen as double faults and
# corrupt memory of 6.12 kernels, in the host after a kexec and in nested guests.
CPU = "max,-cx16"


def escape(value):
    """Return a value for a QEMU key=value list: commas doubled."""
    return str(value).replace(",", ",,")


class Spawner(threading.Thread):
    """The thread that starts every QEMU, see above."""

    def __init__(self):
        super().__init__(daemon=True, name="spawner")
        self._orders = queue.Queue()
        self.start()

    def run(self):
        while True:
            args, kwargs, answer = self._orders.get()
            try:
                answer.put(subprocess.Popen(*args, **kwargs))
            except OSError as e:
                answer.put(e)

    def popen(self, *args, **kwargs):
        """Do what subprocess.Popen() does, in the long-lived thread."""
        answer = queue.Queue()
        self._orders.put((args, kwargs, answer))
        result = answer.get()
        if isinstance(result, OSError):
            raise LabError(f"cannot start {args[0][0]}: {result}")
        return result


_spawner = None
_spawner_lock = threading.Lock()


def spawner():
    """Return this process's Spawner (a child made by fork gets one of its own)."""
    global _spawner
    with _spawner_lock:
        if _spawner is None or _spawner[0] != os.getpid():
            _spawner = (os.getpid(), Spawner())
        return _spawner[1]


class Ports:
    """Socket pairs between this process and QEMU."""

    def __init__(self):
        self._theirs = []

    def make(self):
        """Return (our socket, the file descriptor QEMU inherits)."""
        ours, theirs = socket.socketpair()
        self._theirs.append(theirs)
        return ours, theirs.fileno()

    def fds(self):
        """Return the descriptors to pass on."""
        return [end.fileno() for end in self._theirs]

    def close(self):
        """Let go of QEMU's ends, once it runs."""
        for end in self._theirs:
            end.close()


def share_args(tag, path, readonly):
    """Return the options that share @path over 9p as @tag."""
    fsdev = f"local,id={tag},path={escape(path)},security_model=none,multidevs=remap"
    return ["-fsdev", fsdev + (",readonly=on" if readonly else ""),
            "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]


def link_args(link):
    """Return the options for a NIC the agent configures."""
    return ["-netdev", link.netdev, "-device", f"virtio-net-pci,netdev={link.ident},mac={link.mac},romfile="]


def emulator():
    """The emulator of the hosts: the system's, or the command in OUTLIVE_LAB_QEMU, as tools/newest-qemu prints one."""
    asked = shlex.split(os.environ.get("OUTLIVE_LAB_QEMU", ""))
    return ["env", *asked] if asked else [need_tool("qemu-system-x86_64", "qemu-system-x86")]


def machine_args(kernel, initrd, cpus, memory, cpu, append, console):
    """Return the options for the machine itself, its kernel and its console log."""
    return [
        *emulator(), "-nodefaults", "-no-user-config",
        "-display", "none", "-no-reboot", "-machine", "q35", "-accel", "tcg,thread=multi",
        "-cpu", cpu, "-smp", str(cpus), "-m", f"{memory}M",
        "-kernel", str(kernel.vmlinux), "-initrd", str(initrd), "-append", f"{APPEND} {append}".strip(),
        "-chardev", f"file,id=console,path={escape(console)}", "-serial", "chardev:console",
    ]


def port_args(control, qmp, shell=None):
    """Return the options for the agent's port, QMP and, if asked for, a terminal."""
    args = ["-device", "virtio-serial-pci", "-chardev", f"socket,id=control,fd={control}",
            "-device", "virtserialport,chardev=control,name=lab.control",
            "-chardev", f"socket,id=qmp,fd={qmp}", "-mon", "chardev=qmp,mode=control"]
    if shell is not None:
        args += ["-chardev", f"socket,id=shell,fd={shell}", "-device", "virtconsole,chardev=shell"]
    return args


def start(argv, fds, log):
    """Start QEMU so that it ends with this process; its own messages go to the file @log."""
    guard = [need_tool("setpriv", "util-linux"), "--pdeathsig", "KILL", "--"]
    with open(log, "wb") as out:
        return spawner().popen(guard + argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                               pass_fds=fds)
