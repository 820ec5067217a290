# SPDX-License-Identifier: Apache-2.0
"""Migration by TLS between Outlive and stock QEMU, there and back, while the guest writes."""
import pytest

from frame.certificates import HOST, Authority, keys
from frame.moving import awaiting, check, move, switch_on

DIRTYING = "rate=1M ws=4M fill=half"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """{kind of object: folder with what both sides need}."""
    top = tmp_path_factory.mktemp("tls")
    both = Authority(top / "ca").folder_for(top / "x509", "server", "client")
    return {"tls-creds-x509": both, "tls-creds-psk": keys(top / "psk")}


def encrypt(vmm, kind, folder, endpoint):
    """Have a VMM protect its next migration; what it had for that before is forgotten."""
    if vmm.qmp.command("query-migrate-parameters").get("tls-creds"):
        vmm.qmp.command("object-del", id="tls0")
    vmm.qmp.command("object-add", **{"qom-type": kind, "id": "tls0", "dir": str(folder),
                                     "endpoint": endpoint})
    host = HOST if endpoint == "client" else ""
    vmm.qmp.command("migrate-set-parameters", **{"tls-creds": "tls0", "tls-hostname": host})


def channels(vmm, number):
    """Have a VMM use that many channels beside the stream; 0: none."""
    if number:
        switch_on(vmm, "multifd")
        vmm.qmp.command("migrate-set-parameters", **{"multifd-channels": number})


@pytest.mark.parametrize("number", (0, 2))
@pytest.mark.parametrize("kind", ("tls-creds-x509", "tls-creds-psk"))
def test_a_guest_goes_to_qemu_and_back_encrypted(outlive, vmm_any, witness, folders, kind, number):
    guest = witness(outlive, args=DIRTYING)
    for stay, starter in enumerate((vmm_any, outlive, vmm_any, outlive)):
        there = awaiting(starter, name=f"stay-{stay}", args=DIRTYING)
        for vmm, endpoint in ((there.vmm, "server"), (guest.vmm, "client")):
            encrypt(vmm, kind, folders[kind], endpoint)
            channels(vmm, number)
        info = move(guest.vmm, there.vmm, "return-path", uri=f"tcp:127.0.0.1:{4750 + stay}")
        assert bool(info["ram"]["multifd-bytes"] > 1 << 20) == bool(number), info
        guest.close()
        guest.vmm.quit()
        guest = there
        check(guest)
    guest.close()
