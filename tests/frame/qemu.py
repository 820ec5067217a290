# SPDX-License-Identifier: Apache-2.0
"""The stock QEMUs that tests compare and talk with: Debian 12's, and Debian's newest."""
import functools
import json
import os
import subprocess

from frame.paths import ROOT
from frame.vmm import Program

SYSTEM = "/usr/bin/qemu-system-x86_64"

# Some KVM hosts list MSR 0x10a (IA32_ARCH_CAPABILITIES) but refuse to set it; QEMU then aborts.
HOST_CPU = "host,-arch-capabilities"


class Missing(Exception):
    """A program is not on this machine; the text says how to get it."""


def version(argv, env=None):
    """The version that a QEMU reports, such as "7.2.22"."""
    text = subprocess.run([*argv, "--version"], check=True, capture_output=True, text=True,
                          env=env).stdout
    return text.split("version ")[1].split()[0].split("(")[0]


@functools.cache
def qemu_system():
    """QEMU of the system (7.2 in Debian 12)."""
    if not os.path.exists(SYSTEM):
        raise Missing(f"{SYSTEM} is missing: run `tools/setup test`")
    return Program("qemu-7.2", (SYSTEM,))


@functools.cache
def qemu_newest():
    """The newest QEMU of Debian, unpacked by tools/newest-qemu."""
    asked = subprocess.run([str(ROOT / "tools" / "newest-qemu"), "--json", "--no-download"],
                           check=False, capture_output=True, text=True)
    if asked.returncode:
        raise Missing(asked.stderr.strip() or "tools/newest-qemu failed")
    answer = json.loads(asked.stdout)
    return Program("qemu-new", tuple(answer["argv"]), {**os.environ, **answer["env"]})


QEMUS = {"qemu-7.2": qemu_system, "qemu-new": qemu_newest}
