# SPDX-License-Identifier: Apache-2.0
"""An unmodified libvirt with outlive-vmm as a domain's <emulator>.

Each virsh has a libvirt of its own inside (the URI qemu:///embed), which keeps everything below one
folder. So each call is also a restart of libvirt: it finds the domain again by the commands of its
reconnect phase, and kills it if one fails. Debian's libvirt wants its user to exist, which here it
does only in virsh's mount namespace. An embedded libvirt 9.0 that ends while its threads are at work
may crash: a mark behind the command says that it was done.
"""
import json
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest

from frame.paths import BUILD, outlive_vmm
from frame.rom import acpi_guest, vcpu_guest
from frame.wait import until

CALL_SECONDS = 120
END = "that-was-all"
DRIVER = pathlib.Path("/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so")
USER = "libvirt-qemu:x:64055:64055::/nonexistent:/bin/false\n"
GROUP = "libvirt-qemu:x:64055:\n"
SETTINGS = """
stdio_handler = "file"
namespaces = []
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = []
security_driver = "none"
"""
DOMAIN = """
<domain type='kvm'>
  <name>guest</name><memory unit='MiB'>128</memory><vcpu current='{vcpus[0]}'>{vcpus[1]}</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type>{boot}</os>
  <features><acpi/></features>
  {cpu}
  <devices>
    <emulator>{emulator}</emulator>
    {disk}
    <serial type='file'><source path='{root}/serial'/></serial>
    <memballoon model='virtio'/>
  </devices>
</domain>
"""
DISK = """<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{path}'/>
<target dev='{name}' bus='virtio'/></disk>"""
NIC = "<interface type='ethernet'><target dev='oltap0'/><model type='virtio'/></interface>"


class Libvirt:
    """virsh with a root folder of its own."""

    def __init__(self, root):
        self.root = root
        (root / "etc").mkdir()
        (root / "etc" / "qemu.conf").write_text(SETTINGS, encoding="utf-8")
        for name, line in (("passwd", USER), ("group", GROUP)):
            known = pathlib.Path("/etc", name).read_text(encoding="utf-8")
            (root / name).write_text(known + ("" if "libvirt-qemu:" in known else line), encoding="utf-8")

    def file(self, name, content):
        """A file below the root; its path."""
        path = self.root / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def disk(self, name, size=4 << 20):
        """XML of a disk with an image of its own."""
        return DISK.format(path=self.file(f"{name}.raw", bytes(size)), name=name)

    def virsh(self, *words, check=True):
        """Run a command; what it prints."""
        return self.virsh_all(words, check=check)

    def virsh_all(self, *commands, check=True):
        """Run commands, each a list of words, under one libvirt; what they print."""
        binds = " && ".join(f"mount --bind '{self.root}/{name}' /etc/{name}" for name in ("passwd", "group"))
        line = "; ".join(" ".join(shlex.quote(str(word)) for word in words) for words in commands)
        done = subprocess.run(["unshare", "-m", "sh", "-c", f'{binds} && exec stdbuf -oL virsh -q -c "$@"', "sh",
                               f"qemu:///embed?root={self.root}", f"{line}; echo {END}"],
                              capture_output=True, text=True, timeout=CALL_SECONDS, check=False)
        text = done.stdout + ("" if check else done.stderr)
        assert END in done.stdout or not check, f"virsh {line}: {text}{done.stderr}{self.log()}"
        return text.replace(END, "")

    def log(self):
        """What the domain's VMM said."""
        logs = sorted((self.root / "log" / "qemu").glob("*.log")) if (self.root / "log").exists() else []
        return "\n".join(log.read_text(encoding="utf-8", errors="replace")[-3000:] for log in logs)

    def qmp(self, command, **arguments):
        """A QMP command past libvirt."""
        text = json.dumps({"execute": command, "arguments": arguments})
        return json.loads(self.virsh("qemu-monitor-command", "guest", text))["return"]

    def create(self, boot, cpu="<cpu mode='host-passthrough'/>", vcpus=(2, 2)):
        """Start the domain."""
        xml = DOMAIN.format(boot=boot, cpu=cpu, vcpus=vcpus, emulator=outlive_vmm(), disk=self.disk("vda"),
                            root=self.root)
        self.virsh("create", self.file("guest.xml", xml))

    def state(self):
        """The domain's state as virsh names it."""
        return self.virsh("domstate", "guest").strip()


@pytest.fixture(name="libvirt")
def _libvirt(run_dir, kvm):
    if not shutil.which("virsh") or not DRIVER.exists():
        pytest.skip("libvirt-clients and libvirt-daemon-driver-qemu are not installed")
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("libvirt's embedded driver needs root here, for a mount namespace")
    made = Libvirt(run_dir)
    yield made
    made.virsh("destroy", "guest", check=False)


@pytest.fixture(name="pulse")
def _pulse(libvirt):
    """A domain with the witness, by -kernel."""
    libvirt.create(f"<kernel>{BUILD}/guest/pulse/pulse.elf</kernel><cmdline>pulse</cmdline>")
    return libvirt


@pytest.fixture(name="acpi")
def _acpi(libvirt):
    """A domain with a guest that does ACPI's part of hot-plug, and nothing else."""
    libvirt.create(f"<loader readonly='yes' type='rom'>{libvirt.file('acpi.rom', acpi_guest())}</loader>")
    return libvirt


def test_domcapabilities_offer_a_q35_with_the_hosts_cpu(libvirt):
    text = libvirt.virsh("domcapabilities", "--emulatorbin", outlive_vmm(), "--machine", "q35", "--virttype", "kvm")
    assert "<machine>pc-q35-7.2</machine>" in text
    assert "<mode name='host-passthrough' supported='yes'>" in text
    assert re.search(r"<enum name='bus'>[^/]*.*<value>virtio</value>", text, re.S)
    assert "<value>virtio-non-transitional</value>" in text


def test_a_domain_starts_pauses_and_ends(pulse):
    info = pulse.virsh("dominfo", "guest")
    assert re.search(r"^State: +running$", info, re.M) and re.search(r"^CPU\(s\): +2$", info, re.M)
    pulse.virsh("suspend", "guest")
    assert pulse.state() == "paused" and not pulse.qmp("query-status")["running"]
    pulse.virsh("resume", "guest")
    assert pulse.state() == "running" and pulse.qmp("query-status")["running"]
    pulse.virsh("reset", "guest")
    assert pulse.state() == "running"
    pulse.virsh("destroy", "guest")
    assert "guest" not in pulse.virsh("list", "--all")


def filters_of(thread):
    """The kernel's word about a thread's system call filter: its mode, and how many there are."""
    lines = pathlib.Path(f"/proc/{thread}/status").read_text(encoding="ascii").splitlines()
    return [line.split()[1] for line in lines if line.startswith("Seccomp")]


def threads(text):
    """Ids of vCPU threads in what virsh printed; the numbers in a topology, of the same name, are small."""
    return re.findall(r'"thread-id":(\d{2,})', text)


def test_a_domain_has_its_system_call_filter_and_is_upgraded_with_it(pulse):
    ask, upgrade, leave = (("qemu-monitor-command", "guest", json.dumps({"execute": command, "arguments": arguments}))
                           for command, arguments in (("query-cpus-fast", {}),
                                                      ("outlive-upgrade", {"pause-timeout": 60000}), ("quit", {})))
    assert "spawn=deny" in pulse.log()
    before = threads(pulse.virsh(*ask))
    assert [filters_of(thread) for thread in before] == [["2", "1"]] * 2
    text = pulse.virsh_all(upgrade, ("domstate", "guest"), ask, upgrade, ask, leave)
    first, second = threads(text)[:2], threads(text)[2:]
    assert text.count('"done":true') == 2 and "running" in text
    assert len({*before, *first, *second}) == 6


def test_domstats_know_vcpus_disks_and_the_balloon(pulse):
    stats = dict(line.strip().split("=", 1) for line in pulse.virsh("domstats", "guest").splitlines() if "=" in line)
    assert stats["vcpu.current"] == "2" and int(stats["vcpu.0.time"]) > 0
    assert stats["balloon.current"] == str(128 << 10)
    assert stats["block.0.capacity"] == str(4 << 20) and stats["block.0.rd.reqs"] == "0"
    pulse.virsh("setmem", "guest", "64M")
    pulse.virsh("blockresize", "guest", "vda", "8M")
    assert re.search(r"Capacity: +8388608", pulse.virsh("domblkinfo", "guest", "vda"))


def test_a_disk_comes_and_goes(acpi):
    xml = acpi.file("vdb.xml", acpi.disk("vdb"))
    for _ in range(2):
        acpi.virsh("attach-device", "guest", xml)
        assert "vdb" in acpi.virsh("domblklist", "guest")
        assert len(acpi.qmp("query-block")) == 2
        acpi.virsh("detach-device", "guest", xml)
        until(lambda: "vdb" not in acpi.virsh("domblklist", "guest"), 60, "the disk is gone")
        assert len(acpi.qmp("query-block")) == 1
        assert len(acpi.qmp("query-named-block-nodes")) == 2


def test_vcpus_come_and_go(libvirt):
    rom = libvirt.file("vcpu.rom", vcpu_guest())
    libvirt.create(f"<loader readonly='yes' type='rom'>{rom}</loader>", vcpus=(1, 3))
    for count in (3, 1, 2):
        libvirt.virsh("setvcpus", "guest", count, "--live")
        until(lambda: len(libvirt.qmp("query-cpus-fast")) == count, 60, f"{count} vCPUs")
        assert libvirt.virsh("vcpucount", "guest", "--live", "--current").split()[-1:] == [str(count)]


def test_a_nic_comes_and_goes(acpi):
    if not pathlib.Path("/dev/net/tun").exists():
        pytest.skip("there is no /dev/net/tun")
    xml = acpi.file("nic.xml", NIC)
    acpi.virsh("attach-device", "guest", xml)
    mac = re.search(r"oltap0 +ethernet .* (52:54:[0-9a-f:]+)", acpi.virsh("domiflist", "guest"))
    assert mac and acpi.qmp("qom-get", path="/machine/peripheral/net0", property="mac") == mac[1]
    acpi.virsh("domif-setlink", "guest", mac[1], "down")
    assert "down" in acpi.virsh("domif-getlink", "guest", mac[1])
    acpi.virsh("detach-interface", "guest", "ethernet", "--mac", mac[1])
    until(lambda: "oltap0" not in acpi.virsh("domiflist", "guest"), 60, "the interface is gone")


def test_a_saved_domain_is_restored(pulse):
    saved = pulse.root / "saved"
    pulse.virsh("suspend", "guest")
    uuid = pulse.virsh("domuuid", "guest")
    pulse.virsh("save", "guest", saved)
    assert "guest" not in pulse.virsh("list", "--all")
    pulse.virsh("restore", saved, "--running")
    assert pulse.state() == "running" and pulse.virsh("domuuid", "guest") == uuid
    assert pulse.qmp("query-status")["status"] == "running"


def test_a_domain_with_a_named_cpu_model_starts(libvirt):
    """Its features are added and taken away as the domain says."""
    libvirt.create(f"<kernel>{BUILD}/guest/pulse/pulse.elf</kernel><cmdline>pulse</cmdline>",
                   "<cpu mode='custom' match='exact' check='none'><model fallback='forbid'>Nehalem</model>"
                   "<feature policy='disable' name='sse4.2'/></cpu>")
    assert libvirt.qmp("query-hotpluggable-cpus")[0]["type"] == "Nehalem-x86_64-cpu"
    assert ",sse4.2=off" in (libvirt.root / "log" / "qemu" / "guest.log").read_text(encoding="utf-8")


def test_a_domain_without_a_cpu_gets_the_hosts(libvirt):
    libvirt.create(f"<kernel>{BUILD}/guest/pulse/pulse.elf</kernel><cmdline>pulse</cmdline>", "")
    assert libvirt.qmp("query-hotpluggable-cpus")[0]["type"] == "host-x86_64-cpu"
    assert "host-passthrough" in libvirt.virsh("dumpxml", "guest")


def test_a_domain_has_the_nodes_it_is_given(libvirt):
    cells = "".join(f"<cell id='{n}' cpus='{n}' memory='64' unit='MiB'><distances><sibling id='{1 - n}' value='21'/>"
                    f"</distances></cell>" for n in (0, 1))
    libvirt.create(f"<kernel>{BUILD}/guest/pulse/pulse.elf</kernel><cmdline>pulse</cmdline>",
                   f"<cpu mode='host-passthrough'><numa>{cells}</numa></cpu>")
    places = libvirt.qmp("query-hotpluggable-cpus")
    assert {one["props"]["socket-id"]: one["props"]["node-id"] for one in places} == {0: 0, 1: 1}


def test_what_the_vmm_refuses_is_libvirts_message(libvirt):
    xml = DOMAIN.format(boot="<kernel>/dev/null</kernel>", cpu="", vcpus=(2, 2), emulator=outlive_vmm(),
                        disk=libvirt.disk("vda"), root=libvirt.root)
    said = libvirt.virsh("create", libvirt.file("guest.xml", xml), check=False)
    assert "/dev/null" in said and "outlive-vmm" in said
