# SPDX-License-Identifier: Apache-2.0
"""Trees of bad samples for the checks."""
import subprocess

import pytest

from frame.paths import ROOT

ROOMS = "base\nkvm\ndevice\nmigrate\nupgrade: -migrate\ncli: base\n"
SPDX = "/* SPDX-License-Identifier: Apache-2.0 */\n"


class Tree:
    """A small tree; run(CHECK) runs tools/check-CHECK on it."""

    def __init__(self, top):
        self.top = top
        self.write("src/ROOMS", ROOMS)

    def write(self, name, text):
        """Write a file of the tree."""
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def c(self, name, text):
        """Write a C file with its SPDX line."""
        self.write(name, SPDX + text)

    def run(self, check, *args):
        """(exit status, output) of a check."""
        done = subprocess.run([ROOT / "tools" / f"check-{check}", str(self.top), *args],
                              check=False, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60)
        return done.returncode, done.stdout

    def complains(self, check, *lines):
        """The check fails, and each of these is in its output."""
        status, output = self.run(check)
        assert status == 1, output
        for line in lines:
            assert line in output, output

    def agrees(self, check):
        """The check has nothing to say."""
        status, output = self.run(check)
        assert status == 0, output


@pytest.fixture
def tree(tmp_path):
    """An empty Tree with a ROOMS file."""
    return Tree(tmp_path)
