# SPDX-License-Identifier: Apache-2.0
"""Certificates and keys for TLS, made by certtool and psktool as docs/migration.md has it."""
import pathlib
import shutil
import subprocess

HOST = "target.example"

CA = "cn = {name}\nca\ncert_signing_key\n"
SERVER = "cn = {name}\ndns_name = {name}\nip_address = 127.0.0.1\ntls_www_server\nencryption_key\nsigning_key\n"
CLIENT = "cn = {name}\ntls_www_client\nencryption_key\nsigning_key\n"
DAYS = "expiration_days = 30\n"
OVER = 'activation_date = "2020-01-01 00:00:00"\nexpiration_date = "2020-02-01 00:00:00"\n'


def run(*argv):
    """A command that must succeed, quietly."""
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"


class Authority:
    """A CA in a folder of its own, which signs certificates for other folders."""

    def __init__(self, folder, name="CA of the tests"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self._key("ca")
        self._sign(self.folder / "ca-cert.pem", self.folder / "ca-key.pem", CA.format(name=name) + DAYS,
                   "--generate-self-signed")

    def _key(self, name, folder=None, password=None):
        key = (folder or self.folder) / f"{name}-key.pem"
        words = ["--password", password, "--pkcs8"] if password else []
        run("certtool", "--generate-privkey", "--key-type", "ecdsa", "--outfile", key, *words)
        return key

    def _sign(self, cert, key, template, *how):
        text = cert.with_suffix(".info")
        text.write_text(template, encoding="ascii")
        run("certtool", *how, "--load-privkey", key, "--template", text, "--outfile", cert)

    def folder_for(self, folder, *sides, name=HOST, over=False, password=None, template=None):
        """A folder with the CA and certificates for these sides ("server", "client"); its path."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.folder / "ca-cert.pem", folder)
        for side in sides:
            key = self._key(side, folder, password)
            text = (template or {"server": SERVER, "client": CLIENT}[side]).format(name=name)
            words = ["--password", password] if password else []
            self._sign(folder / f"{side}-cert.pem", key, text + (OVER if over else DAYS), *words,
                       "--generate-certificate", "--load-ca-certificate", self.folder / "ca-cert.pem",
                       "--load-ca-privkey", self.folder / "ca-key.pem")
        return folder


def keys(folder, user="qemu"):
    """A folder with keys.psk of one user; its path."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    run("psktool", "-u", user, "-p", folder / "keys.psk")
    return folder
