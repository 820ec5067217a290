# SPDX-License-Identifier: Apache-2.0
"""Each option of QEMU's is taken, or refused with the reason."""
import re
import subprocess

import pytest

from frame.paths import outlive_vmm

KNOWN_HERE = {"h", "help", "version"}  # they answer at once, whatever follows


def options_of(program):
    """What -help lists."""
    text = subprocess.run([program, "-help"], check=True, capture_output=True, text=True, timeout=60).stdout
    words = [word for line in text.splitlines() if line.startswith("-")
             for word in re.findall(r"(?:^|/| or )--?([A-Za-z0-9][-A-Za-z0-9_]*)", line)]
    return sorted(set(words) - KNOWN_HERE)


def said(*options):
    """What the VMM says of a command line whose last word is wrong in any case."""
    done = subprocess.run([outlive_vmm(), *options, "-no-such-option"], check=False, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 1
    return done.stderr


def test_every_option_of_qemu_is_known_or_refused_with_a_reason():
    options = options_of("qemu-system-x86_64")
    assert len(options) > 100 and {"hdb", "machine", "cdrom"} <= set(options)
    for option in options:
        assert f"(-{option}): there is no such option" not in said(f"-{option}", "x"), option


@pytest.mark.parametrize("option, way", [("cdrom", "-drive file=FILE"), ("net", "-nic none"), ("s", "no GDB server"),
                                         ("mem-path", "memory-backend-file")])
def test_a_refusal_names_the_other_way(option, way):
    assert re.search(rf"argument 1 \(-{option}\): QEMU's option isn't here: .*{way}", said(f"-{option}", "x"))


def test_an_unknown_machine_names_those_that_are_there():
    done = subprocess.run([outlive_vmm(), "-nodefaults", "-machine", "pc"], check=False, capture_output=True, text=True,
                          timeout=60)
    assert "argument 2 (-machine pc): 'pc' is not a machine type (known: " in done.stderr
    assert "pc-q35-7.2" in done.stderr
