# SPDX-License-Identifier: Apache-2.0
"""tools/setup installs what is missing, once, or says what to type; with a made-up Debian."""
import os
import shutil
import subprocess

import pytest

from frame.paths import ROOT

PACKAGES = """# comment
build gcc    compiler
build meson  build
test  socat  peers
"""


class Debian:
    """A folder of programs that stand for Debian's, and the tree's set-up step."""

    def __init__(self, top):
        self.top = top
        self.bin = top / "bin"
        self.log = top / "log"
        (top / "tools").mkdir()
        self.bin.mkdir()
        shutil.copy(ROOT / "tools" / "setup", top / "tools")
        (top / "tools" / "packages.txt").write_text(PACKAGES)
        self.log.touch()

    def program(self, name, body):
        """A program made up by shell text; its arguments are logged."""
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.log}\n{body}\n')
        path.chmod(0o755)

    def installed(self, *names):
        """What dpkg says is installed."""
        lines = "".join(f'echo "installed {name}"\n' for name in names)
        self.program("dpkg-query", lines + 'echo "config-files socat"')

    def run(self, *groups, uid=0):
        """Run tools/setup as a user; (exit status, output, log)."""
        self.program("id", f"echo {uid}")
        self.log.write_text("")
        done = subprocess.run(["/bin/sh", self.top / "tools" / "setup", *groups], check=False,
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.top)})
        log = "".join(line for line in self.log.read_text().splitlines(keepends=True)
                      if line.startswith("apt-get"))
        return done.returncode, done.stdout, log


@pytest.fixture
def debian(tmp_path):
    """A made-up Debian without any package; apt-get succeeds, sudo asks for a password."""
    made = Debian(tmp_path)
    made.installed()
    made.program("apt-get", "")
    made.program("sudo", "exit 1")
    return made


def test_nothing_is_done_when_all_is_there(debian):
    debian.installed("gcc", "meson")
    assert debian.run("build", uid=1000) == (0, "", "")


def test_root_installs_what_is_missing_in_one_go(debian):
    debian.installed("gcc")
    status, _, log = debian.run("build", "test")
    update, install = log.splitlines()
    assert status == 0 and update == "apt-get -q update"
    assert install.endswith("install --no-install-recommends meson socat")


def test_a_removed_package_with_its_files_left_is_missing(debian):
    debian.installed("gcc", "meson")
    assert "socat" in debian.run("test")[2]


def test_a_user_without_sudo_is_told_what_to_type(debian):
    status, output, log = debian.run("build", uid=1000)
    assert status == 1 and "apt-get" not in log
    assert "sudo apt-get update && sudo apt-get install --no-install-recommends gcc meson" in output


def test_a_user_with_sudo_installs_by_it(debian):
    debian.program("sudo", '[ "$1" = -n ] && shift; exec "$@"')
    status, _, log = debian.run("build", uid=1000)
    assert status == 0 and "install --no-install-recommends gcc meson" in log


def test_a_failed_installation_fails(debian):
    debian.program("apt-get", 'case "$*" in *install*) exit 100;; esac')
    status, output, _ = debian.run("build")
    assert status == 1 and "could not install: gcc meson" in output


def test_an_unknown_group_is_refused(debian):
    status, output, _ = debian.run("kitchen")
    assert status == 2 and "no group 'kitchen'" in output


def test_every_group_of_the_list_is_one_the_makefile_knows():
    groups = {line.split()[0] for line in (ROOT / "tools/packages.txt").read_text().splitlines()
              if line and not line.startswith("#")}
    assert groups == {"build", "test", "lab", "dev"}
    assert os.access(ROOT / "tools" / "setup", os.X_OK)
