# SPDX-License-Identifier: Apache-2.0
"""Debian packages, fetched with an apt state of the lab's own.

Theory of operation: apt-get and apt-cache run with their lists, cache and
sources in the lab's folder, so the system's sources and package state are
neither read nor changed and nothing is installed. apt checks signatures (with
Debian's own key ring) and hashes; the packages are unpacked with dpkg-deb.
The mirror is the system's own; OUTLIVE_LAB_MIRROR and OUTLIVE_LAB_SECURITY_MIRROR
name others.
"""

import functools
import os
import re
import subprocess
import tempfile
import time

from .paths import LabError, locked, need_tool, sub_dir

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
LISTS_FRESH_S = 3600	# so that what they name is still there


def _system_mirror():
    """Return the Debian mirror that the system's own apt uses."""
    asked = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI)",
                            "Created-By: Packages", "Codename: bookworm", "Component: main"],
                           capture_output=True, text=True, check=False)
    if not asked.stdout.split():
        raise LabError("apt knows no mirror of Debian 12: run `apt-get update`, "
                       "or name one in OUTLIVE_LAB_MIRROR")
    return asked.stdout.split()[0].rstrip("/")


def _sources():
    mirror = os.environ.get("OUTLIVE_LAB_MIRROR") or _system_mirror()
    security = os.environ.get("OUTLIVE_LAB_SECURITY_MIRROR", f"{mirror}-security")
    lines = [(mirror, "bookworm"), (mirror, "bookworm-updates"),
             (security, "bookworm-security"), (mirror, "bookworm-backports")]
    return "".join(f"deb [signed-by={KEYRING}] {uri} {suite} main\n" for uri, suite in lines)


def _options(state):
    """Return apt's options that keep it inside @state."""
    values = {
        "Dir::State": state / "state",
        "Dir::State::status": state / "status",
        "Dir::State::lists": state / "lists",
        "Dir::Cache": state / "cache",
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::preferences": "-",
        "Dir::Etc::preferencesparts": "-",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
        "APT::Sandbox::User": "",
        "Debug::NoLocking": "1",
    }
    return [arg for key, value in values.items() for arg in ("-o", f"{key}={value}")]


def _state_dir():
    state = sub_dir("apt")
    for name in ("state", "lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    text = _sources()
    file = state / "sources.list"
    if not file.exists() or file.read_text() != text:
        file.write_text(text)
        (state / "updated").unlink(missing_ok=True)
    return state


def _apt(tool, *args, cwd=None):
    """Run apt-get or apt-cache in the private state and return its output."""
    with locked("apt"):
        argv = [need_tool(tool, "apt"), *_options(_state_dir()), *args]
        done = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              env=dict(os.environ, LC_ALL="C"))
    if done.returncode:
        raise LabError(f"{tool} {' '.join(args)} failed:\n{(done.stderr or done.stdout).strip()}")
    return done.stdout


def refresh(force=False):
    """Bring the package lists up to date, unless they are fresh; @force: in any case."""
    stamp = _state_dir() / "updated"
    if force or not stamp.exists() or time.time() - stamp.stat().st_mtime >= LISTS_FRESH_S:
        _apt("apt-get", "-q", "update")
        stamp.touch()


def _compare(a, b):
    """Compare two Debian versions as dpkg does."""
    less = subprocess.run(["dpkg", "--compare-versions", a, "lt", b]).returncode == 0
    return -1 if less else int(a != b)


def candidates(package):
    """Return [(version, stanza as a dict)] of @package, newest first."""
    stanzas = []
    for text in _apt("apt-cache", "show", package).split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", text, re.M))
        if fields.get("Package") == package:
            stanzas.append((fields["Version"], fields))
    return sorted(stanzas, key=lambda s: functools.cmp_to_key(_compare)(s[0]), reverse=True)


def resolve_metapackage(package, prefix):
    """Find what the newest @package whose version starts with @prefix depends on.

    Return (package name, exact version) of its first dependency.
    """
    refresh()
    for version, fields in candidates(package):
        match = re.match(r"(\S+) \(= ([^)]+)\)", fields.get("Depends", ""))
        if version.startswith(prefix) and match:
            return match.group(1), match.group(2)
    raise LabError(f"no version {prefix}* of {package} in Debian's archive")


def unpack(package, version, target):
    """Download a package (any version if @version is None) and unpack it into @target."""
    refresh()
    with tempfile.TemporaryDirectory(dir=sub_dir("apt")) as temp:
        _apt("apt-get", "-q", "download", f"{package}={version}" if version else package, cwd=temp)
        (deb,) = os.listdir(temp)
        subprocess.run([need_tool("dpkg", "dpkg"), "-x", os.path.join(temp, deb), str(target)], check=True)
