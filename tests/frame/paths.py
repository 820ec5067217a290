# SPDX-License-Identifier: Apache-2.0
"""Where the tree, the build and its programs are."""
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("OUTLIVE_BUILD", ROOT / "build")).resolve()


def outlive_vmm():
    """The VMM under test."""
    return BUILD / "src" / "vmm" / "outlive-vmm"


def outlive():
    """The command for people."""
    return BUILD / "src" / "cli" / "outlive"
