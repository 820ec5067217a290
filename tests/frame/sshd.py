# SPDX-License-Identifier: Apache-2.0
"""Another host behind ssh: Debian's sshd with keys, configuration and environment of its own, and a client for it.

Theory of operation: sshd runs in a mount namespace with an empty /run, as it wants a folder there; its sessions get
their environment from SetEnv, so that guests, rules and programs over there are others than here. Nothing of the
user's own ssh is read or written: the client has its own file of options (`-F`).
"""
import pathlib
import subprocess

import pytest

from frame.paths import outlive, outlive_vmm
from frame.process import Process
from frame.wait import until

SSHD = pathlib.Path("/usr/sbin/sshd")
NAME = "other"  # what ssh calls the host
IN_OWN_RUN = "mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec \"$@\""


def keygen(path):
    """Make a key; gives its path."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


class OtherHost:
    """An sshd on loopback; `guests` is where its guests are, `ssh` the command that reaches it."""

    def __init__(self, folder, guests, port=2222, program=None):
        if not SSHD.exists():
            pytest.skip("no sshd (apt-get install openssh-server)")
        self.folder, self.guests, self.port = folder, guests, port
        folder.mkdir()
        (folder / "config").mkdir()
        self.rules, self.all_rules = folder / "config" / "outlive" / "receive.conf", folder / "receive.conf"
        self.rules.parent.mkdir()
        self.key, self.host_key = keygen(folder / "key"), keygen(folder / "host_key")
        (folder / "authorized").write_text((folder / "key.pub").read_text())
        self.know(folder / "host_key.pub")
        self.client()
        path = f"{program or outlive().parent}:/usr/bin:/bin"
        env = {"PATH": path, "OUTLIVE_RUN_DIR": guests, "OUTLIVE_VMM": outlive_vmm(),
               "XDG_CONFIG_HOME": folder / "config", "OUTLIVE_RECEIVE_CONF": self.all_rules}
        (folder / "sshd_config").write_text("\n".join([
            f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {self.host_key}", "PidFile none", "UsePAM no",
            f"AuthorizedKeysFile {folder}/authorized", "StrictModes no", "PermitRootLogin yes",
            "PasswordAuthentication no", "KbdInteractiveAuthentication no", "SetEnv " + " ".join(
                f"{key}={value}" for key, value in env.items()), ""]))
        self.start()

    def know(self, public):
        """Let the client know this key as the host's."""
        words = public.read_text().split()
        (self.folder / "known").write_text(f"[127.0.0.1]:{self.port} {words[0]} {words[1]}\n")

    def client(self, **more):
        """Write the client's options."""
        options = {"HostName": "127.0.0.1", "Port": self.port, "IdentityFile": self.key, "IdentitiesOnly": "yes",
                   "UserKnownHostsFile": self.folder / "known", "GlobalKnownHostsFile": "/dev/null",
                   "BatchMode": "yes", "IdentityAgent": "none", **more}
        (self.folder / "ssh_config").write_text(f"Host {NAME}\n" + "".join(f"  {k} {v}\n" for k, v in options.items()))
        self.ssh = f"ssh -F {self.folder}/ssh_config"

    def start(self):
        """Start sshd, until it takes connections."""
        self.process = Process([SSHD, "-D", "-e", "-f", self.folder / "sshd_config"], self.folder / "sshd.log",
                               within=("unshare", "-m", "sh", "-c", IN_OWN_RUN, "sshd"))
        until(lambda: "listening" in self.process.output() or not self.process.running(), 60, "sshd listens")
        assert self.process.running(), self.process.output()

    def stop(self):
        """End sshd; sessions that are open stay."""
        self.process.kill()
        self.process.wait()
