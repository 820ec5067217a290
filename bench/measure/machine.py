# SPDX-License-Identifier: Apache-2.0
"""What was measured on, and what else it was doing."""
import mmap
import os
import platform
import re
import resource
import subprocess

HERTZ = os.sysconf("SC_CLK_TCK")


def first(path, pattern):
    """The first group of a pattern in a file, or an empty text."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            match = re.search(pattern, file.read(), re.M)
    except OSError:
        return ""
    return match.group(1) if match else ""


def revision(root):
    """The commit of the tree, with a "+" when files differ from it."""
    def git(*words):
        return subprocess.run(["git", "-C", root, *words], capture_output=True, text=True,
                              check=False).stdout.strip()
    return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain") else "")


def describe(root):
    """The machine and the tree."""
    return {
        "cpu": first("/proc/cpuinfo", r"^model name\s*:\s*(.*)$"),
        "cpus": os.cpu_count(),
        "memory_mib": int(first("/proc/meminfo", r"^MemTotal:\s+(\d+)") or 0) // 1024,
        "kernel": platform.release(),
        "kvm_modules": [name for name in ("kvm_intel", "kvm_amd", "kvm_pvm")
                        if os.path.isdir(f"/sys/module/{name}")],
        "hugepages": first("/sys/kernel/mm/transparent_hugepage/shmem_enabled", r"\[(\w+)\]"),
        "virtual": bool(first("/proc/cpuinfo", r"^flags\s*:.*\b(hypervisor)\b")),
        "revision": revision(root),
    }


class ReadyMemory:
    """Memory that the machine has at hand when measuring begins.

    A virtual machine's host may take free memory back; the first touch then costs more than all else (some
    seconds a GiB), at random. What was touched a moment ago and is free now is there: take, and give() last.
    """

    POPULATE_WRITE = 23  # MADV_POPULATE_WRITE, Linux 5.14

    def __init__(self, mib):
        """Take `mib` MiB; as much as is free is enough."""
        self.taken = mmap.mmap(-1, mib << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.taken.madvise(mmap.MADV_HUGEPAGE)
        self.taken.madvise(self.POPULATE_WRITE)

    def give(self):
        """Free it."""
        self.taken.close()


def version(program):
    """The first line of a VMM's --version."""
    done = subprocess.run([*program.argv, "--version"], capture_output=True, text=True,
                          check=False, env=program.env)
    return (done.stdout or done.stderr).strip().partition("\n")[0]


def busy():
    """(seconds all CPUs worked, seconds stolen by the host, seconds this process tree worked)."""
    words = [int(word) for word in first("/proc/stat", r"^cpu +(.*)$").split()]
    user, nice, system, _, _, irq, softirq, steal = words[:8]
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return ((user + nice + system + irq + softirq) / HERTZ, steal / HERTZ,
            sum(usage.ru_utime + usage.ru_stime for usage in own))


class Load:
    """What else the machine did over a stretch of time: CPUs in use by others, and load."""

    def __init__(self, now):
        """Begin at monotonic time `now`."""
        self.start, self.before = now, busy()

    def until(self, now):
        """The stretch that ends now; processes we still wait for count as others'."""
        worked, stolen, own = (after - before for after, before in zip(busy(), self.before))
        seconds = max(now - self.start, 1e-9)
        return {"seconds": seconds, "other_cpus": max(worked - own, 0) / seconds,
                "stolen_cpus": stolen / seconds, "load": os.getloadavg()[0]}
