# SPDX-License-Identifier: Apache-2.0
"""The target's host has no room for the guest's memory: it refuses, with the reason, and nobody ends."""
import subprocess

import pytest

from frame.moving import awaiting, check, ended, move, send
from frame.qemu import HOST_CPU

LOAD = "rate=1M ws=2M fill=half pattern=random"
MEMORY_MIB, ROOM_MIB = 64, 24
WAYS = {"one stream": ((), {}),
        "channels": (("multifd",), {"multifd-channels": 2}),
        "channels, zstd": (("multifd",), {"multifd-channels": 2, "multifd-compression": "zstd"})}


@pytest.fixture
def small(run_dir):
    """A folder whose file system is smaller than a guest."""
    folder = run_dir / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM_MIB}M", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def machine_in(folder):
    """Options of a machine whose memory is a file there."""
    return ("-M", "pc-q35-7.2,memory-backend=pc.ram", "-accel", "kvm", "-cpu", HOST_CPU, "-nodefaults",
            "-display", "none", "-object",
            f"memory-backend-file,id=pc.ram,size={MEMORY_MIB}M,mem-path={folder},share=on")


@pytest.mark.parametrize("way", list(WAYS))
def test_a_target_without_room_refuses_and_the_guest_goes_elsewhere(outlive, witness, small, way):
    capabilities, parameters = WAYS[way]
    here = witness(outlive, memory_mib=MEMORY_MIB, args=LOAD)
    full = awaiting(outlive, name="full", memory_mib=MEMORY_MIB, args=LOAD, machine=machine_in(small))
    uri = f"unix:{full.vmm.path('migrate.sock')}"
    full.vmm.qmp.command("migrate-incoming", uri=uri)
    send(here.vmm, uri, "return-path", *capabilities, **parameters)
    info = ended(here.vmm)
    assert info["status"] == "failed" and "refused the guest" in info["error-desc"], info
    assert "no room" in info["error-desc"], info
    why = ended(full.vmm)
    assert why["status"] == "failed" and "no room" in why["error-desc"] and "mem-path" in why["error-desc"], why
    check(here)
    full.close()
    full.vmm.quit()
    there = awaiting(outlive, name="there", memory_mib=MEMORY_MIB, args=LOAD)
    move(here.vmm, there.vmm, "return-path")
    here.close()
    check(there)
    there.close()


# In a mount namespace of its own the process finds what the test says of its control groups.
LIMITED = 'mount --bind "$1" /sys/fs/cgroup && mount --bind "$2" /proc/$$/cgroup && shift 2 && exec "$@"'
GROUPS = {"version 2": ("0::/vms/web\n", "vms/memory.max", "max"),
          "version 1": ("5:cpu:/\n4:memory:/vms/web\n", "memory/vms/memory.limit_in_bytes", "9223372036854771712")}


@pytest.mark.parametrize("version", list(GROUPS))
def test_a_target_whose_control_group_is_too_small_says_so_before_anything_is_sent(outlive, witness, tmp_path, version):
    line, file, unlimited = GROUPS[version]
    (tmp_path / "mine").write_text(line)
    limit = tmp_path / "groups" / file
    limit.parent.mkdir(parents=True)
    limit.write_text(f"{40 << 20}\n")
    here = witness(outlive, memory_mib=MEMORY_MIB, args=LOAD)
    there = awaiting(outlive, memory_mib=MEMORY_MIB, args=LOAD,
                     within=("unshare", "-m", "sh", "-c", LIMITED, "sh", tmp_path / "groups", tmp_path / "mine"))
    uri = f"unix:{there.vmm.path('migrate.sock')}"
    there.vmm.qmp.command("migrate-incoming", uri=uri)
    send(here.vmm, uri, "return-path")
    info = ended(here.vmm)
    assert info["status"] == "failed" and "may have 40 MiB" in info["error-desc"], info
    check(here)
    limit.write_text(unlimited + "\n")
    send(here.vmm, uri, "return-path")
    assert ended(here.vmm)["status"] == "completed"
    check(there)
    here.close()
    there.close()
