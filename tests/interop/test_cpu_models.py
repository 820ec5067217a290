# SPDX-License-Identifier: Apache-2.0
"""CPU models are what QEMU 7.2 makes of the same words: by QMP, and as the guest sees them."""
import os
import re
import subprocess

import pytest
from frame.paths import BUILD
from frame.qemu import HOST_CPU
from frame.rom import cpuid_guest
from frame.vmm import Program, Vmm
from frame.wait import until

pytestmark = pytest.mark.usefixtures("kvm")

# Where some hosts answer a guest by themselves, the guest isn't asked.
LEAVES = [(leaf, 0) for leaf in (0, 2, 6, 0x40000000, 0x40000001, *range(0x80000000, 0x80000005), 0x80000008)]
# What a guest's JSON here can't say: unsigned numbers of 64 bits.
UNSAID = ("lbr-fmt", "lbr_fmt")

CPUS = ["host", "max,migratable=off", "base,fpu=on,cx8=on,msr=on,level=1", "qemu64", "qemu32", "kvm64", "486",
        "pentium3", "n270", "phenom", "Conroe", "Nehalem", "Westmere-IBRS", "Haswell-noTSX", "Broadwell-v4",
        "Skylake-Client",
        "Skylake-Server-v5", "Cascadelake-Server-noTSX", "Cooperlake-v2", "Icelake-Server-v6", "Denverton-v3",
        "Snowridge-v4", "KnightsMill", "Opteron_G3", "Opteron_G5", "EPYC", "EPYC-IBPB", "EPYC-Rome-v2", "EPYC-Milan",
        "Dhyana-v2", "Nehalem,vendor=GenuineIntel", "EPYC,vendor=GenuineIntel", "qemu64,+avx,-apic,x2apic=off,kvm=off",
        "host,-x2apic,pmu=off", "EPYC-Milan,l3-cache=off,legacy-cache=on", "Nehalem,level=4,xlevel=0x80000004",
        "host,phys-bits=44,host-phys-bits=off", "host,host-phys-bits-limit=40,host-cache-info=on",
        "kvm64,model-id=Some CPU,family=6,model=200,stepping=3,min-level=0x16",
        "Nehalem,check=off,+xsave,x-force-features=on"]


MACHINE = ("-M", "pc-q35-7.2", "-accel", "kvm", "-nodefaults", "-display", "none", "-m", 64)


def told(starter, folder, cpu, smp="1"):
    """What a VMM tells KVM about a CPU, {leaf or MSR: values}; and the VMM."""
    path = folder / f"{starter.program}.told"
    env = {**os.environ, **(starter.program.env or {}), "LD_PRELOAD": str(BUILD / "tests" / "libcpuid_told.so"),
           "CPUID_TOLD": str(path)}
    program = Program(starter.program.name, starter.program.argv, env)
    vmm = Vmm(program, [*MACHINE, "-S", "-cpu", cpu, "-smp", smp], folder / f"{starter.program}.log")
    starter.started.append(vmm)
    return dict(line.split(": ", 1) for line in path.read_text().splitlines()), vmm


def read_by_guest(starter, folder, cpu):
    """What CPUID answers a guest, {leaf: registers}."""
    image, dump = folder / "cpuid.rom", folder / f"{starter.program}.dump"
    image.write_bytes(cpuid_guest(LEAVES))
    starter.start(*MACHINE, "-cpu", cpu, "-bios", image, "-chardev", f"file,id=d,path={dump}",
                  "-device", "isa-debugcon,iobase=0x402,chardev=d")
    until(lambda: dump.exists() and dump.stat().st_size >= 16 * len(LEAVES), 60, "the guest tells its CPUID")
    text = dump.read_bytes()
    return {f"{leaf:#x}": text[16 * i:16 * i + 16].hex(" ", 4) for i, (leaf, _) in enumerate(LEAVES)}


def warnings(vmm):
    """What it says the host lacks, each once."""
    return set(re.findall(r"host doesn't support requested feature: .*", vmm.output()))


@pytest.mark.parametrize("cpu", CPUS)
def test_kvm_is_told_the_cpu_that_qemu_tells(outlive, qemu, tmp_path, cpu):
    smp = "cpus=2,maxcpus=12,sockets=1,dies=2,cores=3,threads=2" if "EPYC" in cpu or "host" in cpu else "1"
    cpu += HOST_CPU.removeprefix("host")  # what stock QEMU can't be started with here
    (ours, our), (theirs, their) = (told(one, tmp_path, cpu, smp) for one in (outlive, qemu))
    assert {key: (ours.get(key), theirs.get(key)) for key in {*ours, *theirs}
            if ours.get(key) != theirs.get(key)} == {}
    assert "CPUID 00000001.0" in ours and warnings(our) == warnings(their)


@pytest.mark.parametrize("cpu", ["qemu64", "Nehalem", "EPYC-Rome-v2", "Skylake-Server,model-id=Some CPU"])
def test_the_guest_reads_what_it_reads_under_qemu(outlive, qemu, tmp_path, cpu):
    assert read_by_guest(outlive, tmp_path, cpu) == read_by_guest(qemu, tmp_path, cpu + HOST_CPU.removeprefix("host"))


def expansions(vmm, names):
    """What query-cpu-model-expansion says of models, by (type, name)."""
    found = {}
    for kind in ("static", "full"):
        for name in names:
            model = vmm.qmp.command("query-cpu-model-expansion", type=kind, model={"name": name})["model"]
            for one in UNSAID:
                model["props"].pop(one, None)
            found[kind, name] = model
    return found


@pytest.fixture
def both(outlive, qemu):
    """Both VMMs without a machine, as libvirt probes them."""
    options = ("-machine", "none,accel=kvm", "-nodefaults", "-display", "none", "-S")
    return outlive.start(*options), qemu.start(*options)


def test_definitions_are_qemus(both):
    ours, theirs = (one.qmp.command("query-cpu-definitions") for one in both)
    assert len(ours) > 130 and ours == theirs


def test_expansions_are_qemus(both):
    names = [one["name"] for one in both[0].qmp.command("query-cpu-definitions")]
    ours, theirs = (expansions(one, names) for one in both)
    assert {key: set(map(str, ours[key]["props"].items())) ^ set(map(str, theirs[key]["props"].items()))
            for key in ours if ours[key] != theirs[key]} == {}


@pytest.mark.parametrize("model", [
    {"name": "host", "props": {"migratable": False}}, {"name": "Skylake-Server-v4", "props": {"vmx": True}},
    {"name": "EPYC-Milan", "props": {"svm": True, "xsave": False}},
    {"name": "qemu64", "props": {"avx2": True, "kvm": False}},
    {"name": "base", "props": {"sse4_1": True, "model-id": "x", "family": 6}}], ids=lambda model: model["name"])
def test_properties_change_an_expansion_as_qemus(both, model):
    ours, theirs = (one.qmp.command("query-cpu-model-expansion", type="static", model=model) for one in both)
    assert ours == theirs


def refused(outlive, cpu):
    """What a start with this CPU says."""
    options = ("-M", "q35", "-cpu", cpu, "-nodefaults", "-display", "none")
    ended = subprocess.run([*map(str, outlive.program.argv), *options], check=False, capture_output=True,
                           text=True, timeout=60)
    assert ended.returncode == 1
    return ended.stderr


def test_enforce_refuses_what_the_host_lacks(outlive):
    text = refused(outlive, "KnightsMill,enforce")
    assert "Host doesn't support requested features" in text
    assert "host doesn't support requested feature: CPUID.07H:EBX.avx512pf [bit 26]" in text


def test_what_isnt_there_is_refused_with_the_nearest(outlive):
    assert "CPU model 'Nehalen' not found" in refused(outlive, "Nehalen") and "Nehalem" in refused(outlive, "Nehalen")
    assert "avx512f" in refused(outlive, "host,+avx512ff")
    assert "phys-bits" in refused(outlive, "host,phys-bit=40")
    assert "Hyper-V enlightenments aren't in this build" in refused(outlive, "host,hv-relaxed")
    assert "neither on nor off" in refused(outlive, "host,avx2=maybe")
