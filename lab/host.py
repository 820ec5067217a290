# SPDX-License-Identifier: Apache-2.0
"""class Lab: an emulated KVM host to start, run commands in, and stop.

    with Lab(kernel="6.1", memory=2048) as lab:
        code, out = lab.run("ls -l /dev/kvm", timeout=60)

Theory of operation: the host's root is this machine's own file system, read-only
over 9p, so every program installed here is there, at the same path. A folder of
the run's own (lab.work) is writable on both sides, at the same path, and so is each
share that isn't given as "PATH:ro". The agent in the host takes commands over a
virtio-serial port and answers with their exit codes; their output grows in files
below the run's folder. The kernel console goes to a log of its own.
"""

import itertools
import os
import select
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from . import initramfs, kernels, network, qemu
from .job import STALL_S, Job, LabDied, LabStall, LabTimeout, Progress, read_from
from .paths import PROJECT, LabError, sub_dir
from .qmp import Qmp

BOOT_LIMIT_S = 240
CRASH_SIGNS = ("Kernel panic", "Oops:", "BUG:", "sysrq: Trigger")
JOB_PATH = "/run/lab/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/lab/applets"


class Lab:
    """One emulated KVM host. Use from one thread at a time, or through the lock it takes."""

    def __init__(self, kernel="6.1", memory=2048, cpus=2, devices=(), nets=(), shares=(), modules=(), env=None,
                 append="", cpu=qemu.CPU, qemu_args=(), overlay=True, name="lab", keep=False, shell=False, fds=(),
                 boot_limit_s=BOOT_LIMIT_S, stall_s=STALL_S):
        """
        @kernel: "6.1" or "6.12". @memory: MiB. @devices: -device texts. @nets: see network.py.
        @shares: "PATH" (writable) or "PATH:ro", at the same path inside. @modules: kernel modules
        to load at boot. @env: environment of all commands. @append: for the kernel command line.
        @qemu_args: further QEMU arguments. @overlay: the root is writable, in memory (else read-only). @name: host
        name. @keep: leave the run's folder. @shell: with a terminal for shell(). @fds: file
        descriptors that @nets refer to. @boot_limit_s, @stall_s: seconds.
        """
        self.kernel_name, self.memory, self.cpus, self.cpu = kernel, memory, cpus, cpu
        self.devices, self.nets, self.shares, self.modules = list(devices), list(nets), list(shares), list(modules)
        self.env, self.append, self.qemu_args, self.overlay = dict(env or {}), append, list(qemu_args), overlay
        self.name, self.keep, self.with_shell, self.fds = name, keep, shell, list(fds)
        self.boot_limit_s, self.stall_s = boot_limit_s, stall_s
        self.ready_s = None		# from QEMU's start to the agent's answer
        self.release = None		# uname -r of the host
        self.retries = []		# why a boot was tried again
        self._lock = threading.RLock()
        self._process = None
        self._reset()

    def _reset(self):
        self.dir = self.terminal = self.qmp = self.boot = self._control = None
        self._jobs, self._numbers, self._rest, self._readies = {}, itertools.count(1), b"", 0

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()

    @property
    def work(self):
        """The writable folder both sides see at the same path."""
        return self.dir / "work"

    @property
    def console_log(self):
        """The kernel console's log."""
        return self.dir / "console.log"

    @property
    def pid(self):
        """QEMU's process id."""
        return self._process.pid

    def console(self):
        """Return what the kernel printed so far."""
        return read_from(self.console_log).replace("\r", "")

    # -- start and stop ------------------------------------------------------

    def start(self):
        """Start the host and wait until it is ready; the known hang is tried again once."""
        try:
            return self.launch().wait_ready()
        except LabStall as e:
            self.retries.append(str(e).splitlines()[0])
            self.stop()
            return self.launch().wait_ready()
        except BaseException:
            self.stop()
            raise

    def launch(self):
        """Start the host without waiting for it."""
        if self._process:
            raise LabError("this host runs already")
        kernel = kernels.fetch(self.kernel_name, "generic")
        links, raw = network.split(self.nets)
        modules = ["virtio_net"] * bool(links) + self.modules
        archive = initramfs.host_archive(kernel, modules)
        sweep()
        self.dir = Path(tempfile.mkdtemp(prefix=f"{self.name}.{os.getpid()}.", dir=sub_dir("run")))
        try:
            self._launch(kernel, archive, links, raw)
        except BaseException:
            self.stop()
            raise
        return self

    def _launch(self, kernel, archive, links, raw):
        for name in ("work", "jobs"):
            (self.dir / name).mkdir()
        shares = self._shares(kernel)
        conf = self._conf(kernel, links, shares)
        self.boot = kernel, initramfs.with_files(archive, {"lab/conf": (conf, 0o644)}, self.dir)
        ports = qemu.Ports()
        self._control, control = ports.make()
        qmp, qmp_fd = ports.make()
        self.terminal, shell = ports.make() if self.with_shell else (None, None)
        argv = qemu.machine_args(*self.boot, self.cpus, self.memory, self.cpu, self.append, self.console_log)
        argv += qemu.port_args(control, qmp_fd, shell)
        for tag, path, readonly in [("root", "/", True), *shares]:
            argv += qemu.share_args(tag, path, readonly)
        for link in links:
            argv += qemu.link_args(link)
        argv += [arg for net in raw for arg in ("-netdev", net)]
        argv += [arg for device in self.devices for arg in ("-device", device)] + self.qemu_args
        (self.dir / "command").write_text(shlex.join(argv) + "\n")
        self._started = time.monotonic()
        self._process = qemu.start(argv, ports.fds() + self.fds, self.dir / "qemu.log")
        ports.close()
        self.qmp = Qmp(qmp)

    def _shares(self, kernel):
        """Return [(tag, path, read-only)], folders above before those below."""
        wanted = {str(PROJECT): True, str(self.dir): False}
        if hidden(kernel.root):
            wanted[str(kernel.root)] = True
        for text in self.shares:
            path, _, mode = str(text).partition(":")
            if mode not in ("", "ro", "rw") or not os.path.isdir(path):
                raise LabError(f"share {text}: not a folder, or not PATH, PATH:ro or PATH:rw")
            wanted[os.path.realpath(path)] = mode == "ro"
        return [(f"share{i}", path, wanted[path]) for i, path in enumerate(sorted(wanted))]

    def _conf(self, kernel, links, shares):
        return initramfs.conf({
            "LAB_HOSTNAME": self.name,
            "LAB_OVERLAY": "y" if self.overlay else "n",
            "LAB_JOBS": self.dir / "jobs",
            "LAB_MODULES_ROOT": kernel.root,
            "LAB_MOUNTS": "".join(f"{tag}\t{path}\t{'ro' if ro else 'rw'}\n" for tag, path, ro in shares),
            "LAB_ADDRESSES": "".join(f"{link.mac} {link.name} {link.address}\n" for link in links),
        })

    def wait_ready(self):
        """Wait until the agent answers (again, after a kexec); sets ready_s."""
        seen, progress, began = self._readies, Progress(self.console_log, self.stall_s), time.monotonic()
        while self._readies == seen:
            self.pump(0.05)
            late = time.monotonic() - began > self.boot_limit_s
            sign = progress.stalled(at_limit=late)
            if sign or late:
                why = f"the host hangs while it boots ({sign})" if sign else f"not up within {self.boot_limit_s} s"
                raise (LabStall if sign else LabTimeout)(f"{why}\n{self.last_seen()}")
        return self

    def stop(self):
        """End the host and remove the run's folder (unless keep=True)."""
        if self._process:
            self.qmp.quit()
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for end in (self._control, self.terminal, self.qmp):
            if end:
                end.close()
        if self.dir and self.keep:
            (self.dir / "keep").touch()
        elif self.dir:
            shutil.rmtree(self.dir, ignore_errors=True)
        self._process = None
        if not self.keep:
            self._reset()

    # -- talk with the agent -------------------------------------------------

    def tell(self, line):
        """Send the agent a line."""
        with self._lock:
            try:
                self._control.sendall(line.encode() + b"\n")
            except OSError as e:
                raise LabDied(f"the emulated host ended: {e}\n{self.last_seen()}") from e

    def pump(self, seconds):
        """Take in what the agent says, waiting for it at most so long."""
        with self._lock:
            if not select.select([self._control], [], [], seconds)[0]:
                return
            data = self._control.recv(4096)
            if not data:
                self._process.wait()
                raise LabDied(f"the emulated host ended (QEMU's exit code {self._process.returncode})\n"
                              f"{self.last_seen()}")
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._heard(line.decode(errors="replace").split())

    def _heard(self, words):
        if words[:1] == ["ready"]:
            self._readies += 1
            self.release = words[2]
            if self._readies == 1:
                self.ready_s = time.monotonic() - self._started
        elif words[:1] == ["done"] and words[1] in self._jobs:
            self._jobs.pop(words[1]).code = int(words[2])

    def last_seen(self, job=None):
        """Return the last lines of output, console and QEMU's messages, for a person."""
        parts = [("console", self.console()), ("qemu", read_from(self.dir / "qemu.log"))]
        if job:
            parts.insert(0, ("output", job.output()))
        return "".join(f"--- last of {name} ---\n{_tail(text)}" for name, text in parts if text.strip())

    # -- commands ------------------------------------------------------------

    def _script(self, command, env, cwd):
        """Return the shell text a job runs. @command: a shell text, or a list of words."""
        text = command if isinstance(command, str) else shlex.join(map(str, command))
        values = {"PATH": JOB_PATH, "HOME": "/tmp", "LANG": "C.UTF-8", "TERM": "dumb", "LAB": self.name,
                  "LAB_WORK": self.work, "LAB_KERNEL": self.boot[0].vmlinuz, "LAB_INITRD": self.boot[1],
                  **self.env, **(env or {})}
        exports = "".join(f"export {k}={shlex.quote(str(v))}\n" for k, v in values.items())
        return f"{exports}cd {shlex.quote(str(cwd or self.work))} || exit 125\n{text}\n"

    def spawn(self, command, env=None, cwd=None):
        """Start a command in the host; return its Job at once."""
        ident = str(next(self._numbers))
        jobs = self.dir / "jobs"
        (jobs / f"{ident}.sh").write_text(self._script(command, env, cwd))
        out = jobs / f"{ident}.out"
        out.touch()
        self._jobs[ident] = job = Job(self, ident, out)
        self.tell(f"run {ident}")
        return job

    def run(self, command, timeout=60, sink=None, env=None, cwd=None):
        """Run a command in the host and return (exit code, output).

        @command: a shell text or a list of words. @timeout: seconds. @sink: gets output (bytes)
        as it comes. Raises LabTimeout, LabStall (the known hang), LabDied.
        """
        job = self.spawn(command, env, cwd)
        return job.wait(timeout, sink), job.output()

    def shell(self, rows=24, cols=80, term="linux", cwd=None):
        """Start a login shell on self.terminal; return its Job."""
        self._jobs["shell"] = job = Job(self, "shell", self.dir / "jobs" / "shell.out")
        job.out.touch()
        script = self._script("exec /bin/bash -i", {"TERM": term, "PS1": f"{self.name}:\\w\\$ "}, cwd)
        (self.dir / "jobs" / "shell.sh").write_text(script)
        self.tell(f"shell {rows} {cols}")
        return job

    # -- files ---------------------------------------------------------------

    def put(self, source, name=None):
        """Copy a file or folder into lab.work; return its path, the same inside."""
        target = self.work / (name or Path(source).name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if Path(source).is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)
        return target

    def get(self, name, target=None):
        """Return the bytes of a file in lab.work; also copy it to @target if given."""
        source = self.work / name
        if target:
            shutil.copy(source, target)
        return source.read_bytes()


def hidden(path):
    """Say whether the host sees a folder of its own in place of this machine's @path."""
    return any(Path(path).is_relative_to(top) for top in ("/tmp", "/run", "/dev", "/proc", "/sys"))


def sweep():
    """Remove what hosts left behind whose program was killed."""
    for path in sub_dir("run").iterdir():
        owner = path.name.split(".")[-2] if path.name.count(".") >= 2 else ""
        if owner.isdigit() and not os.path.exists(f"/proc/{owner}") and not (path / "keep").exists():
            shutil.rmtree(path, ignore_errors=True)


def _tail(text, lines=30, crash_lines=120):
    """Return the last lines, from the start of a kernel crash on if there is one."""
    last = text.rstrip().splitlines()[-crash_lines:]
    crash = next((i for i, line in enumerate(last) if any(sign in line for sign in CRASH_SIGNS)), len(last))
    return "".join(f"  {line}\n" for line in last[min(crash, max(0, len(last) - lines)):])
