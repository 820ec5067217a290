# SPDX-License-Identifier: Apache-2.0
"""Guests by name, as an operator has them: the outlive command, and the witness behind a name."""
import os
import subprocess

import pytest

import pulse_report
from frame.paths import BUILD, outlive as program, outlive_vmm
from frame.qemu import HOST_CPU
from frame.qmp import Qmp
from frame.witness import CMDLINE

OK = 0
ARGS = "rate=2M ws=4M verify=32M"
PULSE = BUILD / "guest" / "pulse" / "pulse.bios"


@pytest.fixture
def cli(run_dir, kvm):
    """Runs the command; guests that are left are killed."""
    env = {**os.environ, "OUTLIVE_RUN_DIR": str(run_dir), "OUTLIVE_VMM": str(outlive_vmm())}

    def call(*words, code=OK):
        done = subprocess.run([program(), *map(str, words)], env=env, capture_output=True, text=True,
                              timeout=60, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout if code == OK else done.stderr
    call.env = env
    yield call
    for name in call("ls", "--names").split():
        subprocess.run([program(), "kill", name], env=env, capture_output=True, timeout=30, check=False)


def run_witness(cli, name, memory, args, seconds=60):
    """Start a named guest with the witness in it, and wait until it is ready; gives its name."""
    cli("run", name, "-m", memory, "--bios", PULSE, "--", "-cpu", HOST_CPU, "-fw_cfg", f"name={CMDLINE},string={args}")
    with report_of(cli, name) as source:
        pulse_report.wait(source, "ready", seconds)
    return name


@pytest.fixture
def web(cli):
    """A guest with the witness in it; gives its name."""
    return run_witness(cli, "web", "64M", ARGS)


class report_of:
    """The witness of a named guest: reads reports, and asks for a full check."""

    def __init__(self, cli, name):
        self.folder = f"{cli.env['OUTLIVE_RUN_DIR']}/{name}"

    def __enter__(self):
        self.qmp = Qmp(f"{self.folder}/qmp.sock", 10)
        self.source = pulse_report.Qmp(client=self.qmp)
        return self.source

    def __exit__(self, *_):
        self.source.close()
        self.qmp.close()
