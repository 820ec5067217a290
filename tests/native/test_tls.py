# SPDX-License-Identifier: Apache-2.0
"""Migration by TLS: who fits goes encrypted, who doesn't is refused with a reason, and stays."""
import base64
import json
import os
import re
import shutil
import socket
import subprocess
import time

import pytest

from frame.certificates import HOST, SERVER, Authority, keys
from frame.live import Live
from frame.moving import awaiting, check, ended, send, status
from frame.named import ARGS
from frame.paths import ROOT
from frame.qmp import QmpError
from frame.wait import until

FAILED = 1
FILTER = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
DIRTYING = "rate=1M ws=4M fill=half"


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """The CA that both sides trust."""
    return Authority(tmp_path_factory.mktemp("ca") / "ours")


@pytest.fixture(scope="module")
def both(ours):
    """Folder with all that both sides need."""
    return ours.folder_for(ours.folder.parent / "both", "server", "client")


def creds(vmm, folder, endpoint, kind="tls-creds-x509", hostname="", **more):
    """Give a VMM credentials, and have its migrations use them."""
    try:
        vmm.qmp.command("object-del", id="tls0")
    except QmpError:
        pass  # its first
    vmm.qmp.command("object-add", **{"qom-type": kind, "id": "tls0", "dir": str(folder),
                                     "endpoint": endpoint, **more})
    vmm.qmp.command("migrate-set-parameters", **{"tls-creds": "tls0", "tls-hostname": hostname})


def listen(there, **how):
    """Have a target wait; the URI."""
    uri = f"unix:{there.vmm.path('migrate.sock')}"
    there.vmm.qmp.command("migrate-incoming", uri=uri, **how)
    return uri


@pytest.fixture
def sides(outlive, witness):
    """Function that starts a guest, and a VMM that waits for it."""
    made = []

    def make():
        made.append(witness(outlive, args=DIRTYING))
        made.append(awaiting(outlive, args=DIRTYING))
        return made[-2], made[-1]
    yield make
    for one in made:
        one.close()


def arrives(here, there):
    """The migration under way ends with the guest over there."""
    info = ended(here.vmm)
    assert info["status"] == "completed", (info, there.vmm.output())
    assert ended(there.vmm)["status"] == "completed"
    check(there)


def test_a_guest_goes_by_tcp_and_four_channels_that_the_target_was_not_told_of(sides, both):
    here, there = sides()
    creds(there.vmm, both, "server")
    creds(here.vmm, both, "client")  # the certificate has the address
    there.vmm.qmp.command("migrate-incoming", uri="tcp:127.0.0.1:4790")
    send(here.vmm, "tcp:127.0.0.1:4790", "return-path", "multifd",
         **{"multifd-channels": 4, "multifd-compression": "zstd"})
    arrives(here, there)


def refused(here, uri, sentence, *capabilities):
    """The migration fails with this reason, and the guest runs on here."""
    send(here.vmm, uri, *capabilities)
    info = ended(here.vmm)
    assert info["status"] == "failed" and sentence in info["error-desc"], info
    check(here)


@pytest.mark.parametrize("return_path", (True, False), ids=("return-path", "one-way"))
def test_each_misfit_is_named_and_the_target_still_waits(sides, ours, both, tmp_path, return_path):
    here, there = sides()
    how = ("return-path",) if return_path else ()
    theirs = Authority(tmp_path / "theirs", "another CA")
    creds(there.vmm, both, "server")
    uri = listen(there)

    creds(here.vmm, theirs.folder_for(tmp_path / "foreign", "client"), "client", hostname=HOST)
    refused(here, uri, "the target's certificate isn't signed by a CA of", *how)
    creds(here.vmm, both, "client", hostname="elsewhere.example")
    refused(here, uri, f"is for {HOST}, not for elsewhere.example", *how)
    creds(here.vmm, ours.folder_for(tmp_path / "bare"), "client", hostname=HOST)
    refused(here, uri, "wants a certificate", *how)
    mixed = theirs.folder_for(tmp_path / "mixed", "client")
    creds(here.vmm, mixed, "client", hostname=HOST)
    shutil.copy(both / "ca-cert.pem", mixed)  # trusts the target, which doesn't trust it
    creds(here.vmm, mixed, "client", hostname=HOST, **{"sanity-check": False})
    refused(here, uri, "it doesn't take this side's certificate", *how)
    creds(here.vmm, keys(tmp_path / "psk"), "client", kind="tls-creds-psk")
    refused(here, uri, "tls-creds of the same kind", *how)
    here.vmm.qmp.command("migrate-set-parameters", **{"tls-creds": ""})
    refused(here, uri, "the target speaks TLS" if return_path else "", *how)

    creds(here.vmm, both, "client", hostname=HOST)
    send(here.vmm, uri, *how)
    arrives(here, there)
    log = there.vmm.output()
    for sentence in ("the source refuses", "the source shows no certificate",
                     "the source's certificate isn't signed by a CA of",
                     "the source doesn't speak TLS"):
        assert sentence in log, (sentence, log)


def test_a_target_without_tls_says_what_came_and_still_waits(sides, both):
    here, there = sides()
    creds(here.vmm, both, "client", hostname=HOST)
    uri = listen(there)
    refused(here, uri, "see that its tls-creds are set")
    assert "the source speaks TLS: set tls-creds here" in there.vmm.output()
    here.vmm.qmp.command("migrate-set-parameters", **{"tls-creds": ""})
    send(here.vmm, uri, "return-path")
    arrives(here, there)


def test_wrong_keys_are_named_on_both_sides(sides, tmp_path):
    here, there = sides()
    creds(there.vmm, keys(tmp_path / "there"), "server", kind="tls-creds-psk")
    uri = listen(there)
    creds(here.vmm, keys(tmp_path / "here"), "client", kind="tls-creds-psk")
    refused(here, uri, "keys.psk must be the same on both sides")
    creds(here.vmm, keys(tmp_path / "user", "eve"), "client", kind="tls-creds-psk", username="eve")
    refused(here, uri, "keys.psk")
    creds(here.vmm, tmp_path / "there", "client", kind="tls-creds-psk")
    send(here.vmm, uri, "return-path")
    arrives(here, there)


def not_taken(vmm, sentence, **properties):
    """object-add is refused with this reason."""
    with pytest.raises(QmpError) as error:
        vmm.qmp.command("object-add", **{"id": "bad", **properties})
    assert sentence in str(error.value), error.value


def test_credentials_are_judged_when_they_are_added(outlive, witness, ours, both, tmp_path):
    vmm = witness(outlive).vmm
    x509 = {"qom-type": "tls-creds-x509", "endpoint": "server"}
    over = ours.folder_for(tmp_path / "over", "server", over=True)
    not_taken(vmm, "server-cert.pem has expired on 2020-02-01", dir=str(over), **x509)
    not_taken(vmm, "/ca-cert.pem can't be read: No such file", dir=str(tmp_path), **x509)
    bare = ours.folder_for(tmp_path / "bare")
    not_taken(vmm, "/server-cert.pem can't be read: No such file", dir=str(bare), **x509)
    shutil.copy(both / "server-cert.pem", bare)
    not_taken(vmm, "/server-key.pem can't be read: No such file", dir=str(bare), **x509)
    shutil.copy(both / "client-key.pem", bare / "server-key.pem")
    not_taken(vmm, "server-key.pem: ", dir=str(bare), **x509)
    swapped = ours.folder_for(tmp_path / "swapped", "client", template=SERVER)
    not_taken(vmm, "isn't for a TLS client", dir=str(swapped), **{**x509, "endpoint": "client"})
    not_taken(vmm, "priority 'NORMAL:+WHAT'", dir=str(both), priority="NORMAL:+WHAT", **x509)
    not_taken(vmm, "there is no secret 'nobody'", dir=str(both), passwordid="nobody", **x509)
    not_taken(vmm, "/keys.psk can't be read", dir=str(both), **{"qom-type": "tls-creds-psk"})


def test_parameters_that_cannot_be_met_are_refused_before_anything_is_connected(sides, both):
    here, there = sides()
    qmp = here.vmm.qmp
    with pytest.raises(QmpError, match="a CA of its own"):
        qmp.command("migrate-set-parameters", **{"tls-authz": "auth0"})
    for name, endpoint, sentence in (("none", "client", "there is no object 'none'"),
                                     ("tls0", "server", "needs one with endpoint=client")):
        creds(here.vmm, both, endpoint)
        qmp.command("migrate-set-parameters", **{"tls-creds": name})
        with pytest.raises(QmpError, match=sentence):
            qmp.command("migrate", uri="unix:/nowhere")
        qmp.command("migrate-set-parameters", **{"tls-creds": "tls0"})
    creds(here.vmm, both, "client")
    with pytest.raises(QmpError, match="can't have TLS"):
        qmp.command("migrate", uri="exec:cat > /dev/null")
    creds(there.vmm, both, "client")
    with pytest.raises(QmpError, match="needs one with endpoint=server"):
        listen(there)
    check(here)


def test_keys_may_be_encrypted_and_so_may_their_password(sides, ours, tmp_path):
    here, there = sides()
    folder = ours.folder_for(tmp_path / "locked", "server", "client", password="open sesame")
    there.vmm.qmp.command("object-add", **{"qom-type": "secret", "id": "pw", "data": "open sesame"})
    with pytest.raises(QmpError, match="passwordid must name a secret"):
        creds(there.vmm, folder, "server")
    creds(there.vmm, folder, "server", passwordid="pw")
    master, vector = os.urandom(32), os.urandom(16)
    (tmp_path / "master").write_bytes(master)
    text = subprocess.run(["openssl", "enc", "-aes-256-cbc", "-K", master.hex(), "-iv", vector.hex()],
                          input=b"open sesame", capture_output=True, check=True).stdout
    qmp = here.vmm.qmp
    qmp.command("object-add", **{"qom-type": "secret", "id": "master", "file": str(tmp_path / "master")})
    qmp.command("object-add", **{"qom-type": "secret", "id": "pw", "keyid": "master", "format": "base64",
                                 "data": base64.b64encode(text).decode(),
                                 "iv": base64.b64encode(vector).decode()})
    creds(here.vmm, folder, "client", hostname=HOST, passwordid="pw")
    send(here.vmm, listen(there), "return-path")
    arrives(here, there)


def test_a_handshake_that_hangs_can_be_cancelled_and_ends_by_itself(sides, both):
    here, there = sides()
    creds(there.vmm, both, "server")
    uri = listen(there)
    creds(here.vmm, both, "client", hostname=HOST)
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as dumb:
        silent.bind(here.vmm.path("silent"))
        silent.listen()
        dumb.connect(there.vmm.path("migrate.sock"))
        send(here.vmm, f"unix:{here.vmm.path('silent')}", "return-path")
        accepted = silent.accept()[0]
        assert accepted.recv(1)  # it is in its handshake
        begin = time.monotonic()
        here.vmm.qmp.command("migrate_cancel")
        assert ended(here.vmm)["status"] == "cancelled"
        assert time.monotonic() - begin < 5
        accepted.close()
        refused(here, f"unix:{here.vmm.path('silent')}", "no handshake with the target within 30 s")
        until(lambda: "without a handshake within 30 s" in there.vmm.output(), 60, "the dumb one is closed")
    send(here.vmm, uri, "return-path")
    arrives(here, there)


def test_a_passed_descriptor_can_be_encrypted(sides, both):
    here, there = sides()
    ends = socket.socketpair()
    for side, end, endpoint in ((here, ends[0], "client"), (there, ends[1], "server")):
        creds(side.vmm, both, endpoint, hostname=HOST)
        side.vmm.qmp.command("getfd", fds=[end.fileno()], fdname="mig")
        end.close()
    there.vmm.qmp.command("migrate-incoming", uri="fd:mig")
    send(here.vmm, "fd:mig", "return-path")
    arrives(here, there)


def test_a_target_may_be_told_on_its_command_line_and_be_asked(outlive, witness, both):
    here = witness(outlive, args=DIRTYING)
    there = awaiting(outlive, "-object", f"tls-creds-x509,id=tls0,dir={both},endpoint=server",
                     "-global", "migration.tls-creds=tls0", *FILTER, incoming="unix:@RUN@/migrate.sock", args=DIRTYING)
    uri = f"unix:{there.vmm.path('migrate.sock')}"
    creds(here.vmm, both, "client", hostname=HOST)
    for _ in range(2):
        answer = here.vmm.qmp.command("outlive-check-migration", uri=uri)
        assert answer["mismatches"] == answer["unchecked"] == [], answer
    assert status(there.vmm) == "setup"
    send(here.vmm, uri, "return-path")
    arrives(here, there)
    there.close()


def recipe():
    """The commands that docs/migration.md has for certificates and keys."""
    text = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8").split("### Encrypted")[1]
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.M)
    return "".join(block for block in blocks if "certtool" in block or "psktool" in block)


def test_the_command_and_the_recipe_of_the_docs_encrypt(cli, web, outlive, tmp_path):
    subprocess.run(["/bin/bash", "-euc", recipe()], cwd=tmp_path, check=True, capture_output=True)
    there = awaiting(outlive, args=ARGS)
    creds(there.vmm, tmp_path / "host2.example", "server")
    uri = listen(there)
    words = (web, uri, "--tls-dir", tmp_path / "host1.example")
    assert "tls-hostname must say" in cli("migrate", *words, code=FAILED)
    assert "isn't for" not in cli("check", *words, "--tls-hostname", "host2.example")
    error = cli("migrate", *words, "--tls-hostname", "host3.example", code=FAILED)
    assert "is for host2.example, not for host3.example" in error
    assert "No such file" in cli("migrate", web, uri, "--tls-dir", tmp_path / "none", code=FAILED)
    left = json.loads(cli("qmp", web, "query-migrate-parameters"))
    assert (left["tls-creds"], left["tls-hostname"]) == ("", "")  # put back
    assert "migrated in" in cli("migrate", *words, "--tls-hostname", "host2.example")
    assert ended(there.vmm)["status"] == "completed"
    check(there)
    there.close()
    assert (tmp_path / "keys.psk").read_text(encoding="ascii").startswith("qemu:")


def test_credentials_follow_the_guest_through_an_upgrade(outlive, witness, both, tmp_path):
    here = witness(outlive, args=DIRTYING)
    live = Live(here)
    folder = shutil.copytree(both, tmp_path / "folder")
    creds(here.vmm, folder, "client", hostname=HOST)
    shutil.rmtree(folder)  # it isn't looked at before it is needed
    live.upgrade()
    kept = here.vmm.qmp.command("query-migrate-parameters")
    assert (kept["tls-creds"], kept["tls-hostname"]) == ("tls0", HOST)
    with pytest.raises(QmpError, match="ca-cert.pem can't be read"):
        here.vmm.qmp.command("migrate", uri="unix:/nowhere")
    shutil.copytree(both, folder)
    there = awaiting(outlive, args=DIRTYING)
    creds(there.vmm, both, "server")
    send(here.vmm, listen(there), "return-path")
    arrives(here, there)
    live.end()
    there.close()


def test_without_tls_the_library_is_not_loaded(outlive, witness, both):
    vmm = witness(outlive).vmm
    maps = f"/proc/{vmm.pid}/maps"
    with open(maps, encoding="ascii") as file:
        assert "gnutls" not in file.read()
    creds(vmm, both, "client")
    with open(maps, encoding="ascii") as file:
        assert "gnutls" in file.read()
