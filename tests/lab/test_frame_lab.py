# SPDX-License-Identifier: Apache-2.0
"""The lab as a fixture: an emulated KVM host in which commands run."""


def test_lab_has_kvm_and_returns_output_and_exit_code(lab):
    host = lab(memory=1024)
    code, output = host.run("test -c /dev/kvm && uname -r && exit 3", timeout=60)
    assert code == 3
    assert output.strip() == host.release
