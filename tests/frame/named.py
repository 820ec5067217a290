# SPDX-License-Identifier: Apache-2.0
"""Guests by name, as an operator has them: the outlive command, and the witness behind a name."""
import os
import socket
import subprocess

import pytest

import pulse_report
from frame import second
from frame.paths import BUILD, outlive as program, outlive_vmm
from frame.qemu import HOST_CPU
from frame.qmp import Qmp
from frame.witness import CMDLINE

OK = 0
ARGS = "rate=2M ws=4M verify=32M"
DISK_ARGS = "rate=1M ws=2M blk=4 blk_size=4M"
PULSE = BUILD / "guest" / "pulse" / "pulse.bios"


@pytest.fixture
def cli(run_dir, kvm):
    """Runs the command; guests that are left are killed."""
    env = {**os.environ, "OUTLIVE_RUN_DIR": str(run_dir), "OUTLIVE_VMM": str(outlive_vmm())}

    def call(*words, code=OK):
        done = subprocess.run([program(), *map(str, words)], env=env, capture_output=True, text=True,
                              timeout=60, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == code, (done.stdout, done.stderr)
        stream = code == OK and second.written(list(map(str, words)), run_dir)
        if stream:
            second.read(stream)
        return done.stdout if code == OK else done.stderr
    call.env = env
    yield call
    for name in call("ls", "--names").split():
        subprocess.run([program(), "kill", name], env=env, capture_output=True, timeout=60, check=False)


def run_witness(cli, name, memory, args, seconds=60):
    """Start a named guest with the witness in it, and wait until it is ready; gives its name."""
    cli("run", name, "-m", memory, "--bios", PULSE, "--", "-cpu", HOST_CPU, "-fw_cfg", f"name={CMDLINE},string={args}")
    with report_of(cli, name) as source:
        pulse_report.wait(source, "ready", seconds)
    return name


def works_on(cli, name, requests=0):
    """The guest verifies all it wrote to memory, and goes on with its disk for so many requests."""
    with report_of(cli, name) as source:
        before = pulse_report.read(source)

        def done(now):
            return now["passes"] > before["passes"] and (
                not requests or now["device"][0]["in"] > before["device"][0]["in"] + requests)
        now = pulse_report.wait(source, done, 300)
    assert (now["faults"], now["state"]) == (0, "running"), now
    assert all(device["bad"] == device["lost"] == 0 for device in now["device"]), now


def marks(cli, name):
    """How often the guest was marked, as its memory has it; unlike what it does itself, only mark() makes that more."""
    with report_of(cli, name) as source:
        return pulse_report.read(source)["verify_asked"]


def mark(cli, name):
    """Leave a mark in the guest, by which one that went back to before is told from one that didn't; gives how many."""
    before = marks(cli, name)
    with socket.socket(socket.AF_UNIX) as console, report_of(cli, name) as source:
        console.connect(f"{cli.env['OUTLIVE_RUN_DIR']}/{name}/console.sock")
        console.sendall(b"v")
        return pulse_report.wait(source, lambda now: now["verify_asked"] > before, 60)["verify_asked"]


def run_db(cli, image, *words, name="db"):
    """Start a named guest that writes and checks its disk; gives its name, once it works."""
    cli("run", name, "-m", "32M", "--bios", PULSE, "--disk", image, *words, "--", "-cpu", HOST_CPU,
        "-device", "vmgenid", "-fw_cfg", f"name={CMDLINE},string={DISK_ARGS}")
    with report_of(cli, name) as source:
        pulse_report.wait(source, "ready", 60)
    works_on(cli, name, 500)
    return name


def disk_image(path):
    """A disk of 8 MiB, half of it with something in it."""
    path.write_bytes(os.urandom(4 << 20) + bytes(4 << 20))
    return path


@pytest.fixture
def web(cli):
    """A guest with the witness in it; gives its name."""
    return run_witness(cli, "web", "64M", ARGS)


class report_of:
    """The witness of a named guest: reads reports, and asks for a full check."""

    def __init__(self, cli, name):
        self.folder = f"{cli.env['OUTLIVE_RUN_DIR']}/{name}"

    def __enter__(self):
        self.qmp = Qmp(f"{self.folder}/qmp.sock")
        self.source = pulse_report.Qmp(client=self.qmp)
        return self.source

    def __exit__(self, *_):
        self.source.close()
        self.qmp.close()
