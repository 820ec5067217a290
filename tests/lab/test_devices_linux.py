# SPDX-License-Identifier: Apache-2.0
"""Debian's drivers and tools on Outlive's devices: fio, iperf3, hot-plug, balloon, ports.

One boot serves many tests: the guests below stay for the module, with a shell on the console; what they need
besides busybox is on a disk (lab/programs.py). The host has an ext4 disk for files that take O_DIRECT and discard.
"""
import json
import re

import pytest
from frame import linux
from frame.paths import outlive_vmm
from frame.wait import until

from lab import image, programs

pytestmark = [pytest.mark.skipif(not outlive_vmm().exists(), reason="outlive-vmm isn't built"), pytest.mark.soak,
              pytest.mark.timeout(900)]
MIB = 1 << 20
TOOLS = {"fio": "fio", "iperf3": "iperf3", "blkdiscard": "util-linux", "fallocate": "util-linux"}
JOBS = """[global]
ioengine=libaio
direct=1
rw=randrw
bsrange=4k-32k
iodepth=16
numjobs=3
size=8m
offset_increment=8m
offset=8m
verify=crc32c
verify_backlog=64
verify_fatal=1
randseed=%d
group_reporting
"""
STORES = {"packed": "vdb", "split": "vdc", "scsi": "sda"}
PORTS = [word for n in range(3) for word in ("-device", f"pcie-root-port,id=rp{n},chassis={n + 1},addr={0x10 + n:x}")]
NETS = {"tap0": ("10.77.1", "vhost=on,queues=4", "mq=on,packed=on,vectors=10"),
        "tap1": ("10.77.2", "vhost=off,queues=2", "mq=on,vectors=6")}


def tools_disk(host):
    """A disk with the programs and fio's jobs; made outside, its path is the same in the host."""
    files = {f"{name}.fio": JOBS % n + f"[{name}]\nfilename=/dev/{disk}\n"
             for n, (name, disk) in enumerate(STORES.items(), 1)}
    return programs.disk(host.work / "tools.img", TOOLS, files)


def started(host, options):
    """A guest with its tools, a shell on its console and somebody who listens to its events."""
    tools, events = tools_disk(host), linux.Events(host)
    boot = linux.kernel(image.guest_image("6.1"), f"sh /tools/enter /tools; {linux.LISTEN}",
                        "guest.mount=vda:/tools")
    guest = linux.Guest(host, [*linux.machine(4, 640), *boot, *linux.disk(tools), *PORTS, *events.options,
                               *options])
    guest.expect("LISTENS")
    guest.events = events
    return guest


def disk(host, name, size_mib, store, device):
    """Options for a disk on the host's file system."""
    host.run(f"truncate -s {size_mib}M /run/disks/{name}", timeout=60)
    return ["-blockdev", f"driver=file,node-name={name}f,filename=/run/disks/{name},discard=unmap,{store}",
            "-blockdev", f"driver=raw,node-name={name},file={name}f,discard=unmap", "-device", f"{device},drive={name}"]


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A host with vhost, taps with queues, and a file system on a disk of its own."""
    from lab.host import Lab
    path = tmp_path_factory.mktemp("store") / "store.img"
    image.make_disk(path, 512)
    drive = f"if=none,id=store,format=raw,file={path},cache=unsafe,discard=unmap"
    with Lab(memory=3072, modules=("vhost_net", "virtio_blk", "ext4"), qemu_args=["-drive", drive],
             devices=["virtio-blk-pci,drive=store"]) as made:
        code, out = made.run("modprobe vhost_net; mkdir -p /run/disks && mount -t ext4 /dev/vda /run/disks", timeout=60)
        assert code == 0, out
        for name, (net, _, _) in NETS.items():
            code, out = made.run(f"ip tuntap add {name} mode tap multi_queue && ip addr add {net}.1/24 dev {name} && "
                                 f"ip link set {name} up", timeout=60)
            assert code == 0, out
        yield made


@pytest.fixture(scope="module")
def guest(host):
    """A guest of the cloud kernel with a device of each kind."""
    direct = "cache.direct=on,aio=io_uring"
    options = ["-object", "iothread,id=io0",
               *disk(host, "packed", 40, direct, "virtio-blk-pci,packed=on,num-queues=4,iothread=io0"),
               *disk(host, "split", 40, "cache.direct=off", "virtio-blk-pci,num-queues=2"),
               "-device", "virtio-scsi-pci,id=scsi0,num_queues=2",
               *disk(host, "scsi", 40, direct, "scsi-hd,bus=scsi0.0"),
               "-device", "virtio-balloon-pci,id=balloon,free-page-reporting=on",
               "-device", "virtio-rng-pci", "-device", "virtio-serial-pci,id=ports",
               "-chardev", "socket,id=port,path=/run/guest.port,server=on,wait=off",
               "-device", "virtserialport,chardev=port,name=org.outlive.test"]
    for n, (name, (_, queues, device)) in enumerate(NETS.items()):
        options += ["-netdev", f"tap,id=n{n},ifname={name},script=no,downscript=no,{queues}",
                    "-device", f"virtio-net-pci,netdev=n{n},{device},romfile="]
    made = started(host, options)
    for n, (net, _, _) in enumerate(NETS.values()):
        made.ask(f"ip addr add {net}.2/24 dev eth{n}; ip link set eth{n} up")
    yield made
    made.qmp("quit")
    assert made.wait() == 0


def note(record_property, text):
    """Say a figure in the summary and in the test's output."""
    record_property("note", text)
    print(text)


def figures(text):
    """fio's lines of rates."""
    return re.findall(r"(?:READ|WRITE): bw=\S+", text)


def test_fio_reads_back_what_it_wrote_on_three_disks_at_once(guest, record_property):
    jobs = " & ".join(f"fio --output=/tmp/{name}.out /tools/{name}.fio; echo $? >/tmp/{name}.code" for name in STORES)
    guest.ask(f"({jobs} & wait)", 600)
    for name in STORES:
        said = guest.ask(f"cat /tmp/{name}.code; grep -E 'err=|bw=' /tmp/{name}.out")
        assert re.search(r"err= 0", said) and said.startswith("0"), guest.ask(f"tail -40 /tmp/{name}.out")
        note(record_property, f"fio {name}: {figures(said)}")


@pytest.mark.parametrize("name", STORES)
def test_discarded_and_zeroed_ranges_read_as_zero_and_free_the_file(host, guest, name):
    device = f"/dev/{STORES[name]}"

    def allocated():
        return int(host.run(f"sync; stat -c %b /run/disks/{name}", timeout=60)[1])
    guest.ask(f"yes | dd of={device} bs=1M count=8 iflag=fullblock conv=fsync 2>/dev/null", 120)
    full = allocated()
    discard = f"/usr/bin/blkdiscard -l 2097152 {device}"
    guest.ask(f"{discard} -o 0 && {discard} -z -o 2097152 && "
              f"/usr/bin/fallocate -p -o 4194304 -l 2097152 {device} && sync && echo 3 >/proc/sys/vm/drop_caches", 120)
    guest.ask(f"cmp -n 6291456 /dev/zero {device}", 120)
    assert guest.ask(f"dd if={device} bs=1M skip=6 count=2 2>/dev/null | tr -d 'y\\n' | wc -c", 120).strip() == "0"
    # Linux writes zeroes to a SCSI disk that doesn't say that unmapped blocks read as zero, as QEMU's doesn't either
    assert allocated() <= full - (2 if name == "scsi" else 4) * MIB // 512


@pytest.mark.parametrize("name", STORES)
def test_a_new_size_is_seen(guest, name):
    size = 64 * MIB
    guest.qmp(json.dumps({"execute": "block_resize", "arguments": {"node-name": name, "size": size}}))
    guest.ask(f"i=0; until [ $(cat /sys/block/{STORES[name]}/size) = {size // 512} ] || [ $i = 300 ]; do "
              f"i=$((i + 1)); usleep 100000; done; [ $i -lt 300 ]", 120)
    guest.ask(f"echo end | dd of=/dev/{STORES[name]} bs=1M seek=63 conv=fsync 2>/dev/null")


def counters(host, tap):
    """(frames, bytes) that went (to, from) the guest."""
    out = host.run(f"cd /sys/class/net/{tap}/statistics; cat tx_packets tx_bytes rx_packets rx_bytes", timeout=60)[1]
    return [int(word) for word in out.split()]


@pytest.mark.parametrize("tap", NETS)
def test_iperf3_both_ways_through_several_queues_with_large_frames(host, guest, tap, record_property):
    net, queues = NETS[tap][0], int(NETS[tap][1][-1])
    guest.ask("pidof iperf3 || iperf3 -s -D")
    for way, at in ((("to",), 0), (("from", "-R"), 2)):
        before = counters(host, tap)
        code, out = host.run(f"iperf3 -J -c {net}.2 -P 8 -t 4 {' '.join(way[1:])}", timeout=120)
        assert code == 0, out
        now = counters(host, tap)
        frames, size = now[at] - before[at], now[at + 1] - before[at + 1]
        rate = json.loads(out)["end"]["sum_received"]["bits_per_second"] / 1e6
        note(record_property, f"iperf3 {tap} {way[0]} guest: {rate:.0f} Mbit/s, {size // frames} bytes a frame")
        assert size / frames > 3000, "no segmentation offload"
    lines = guest.ask("cat /proc/interrupts").splitlines()
    device = guest.ask(f"basename $(readlink /sys/class/net/eth{list(NETS).index(tap)}/device)").strip()
    busy = {way: sum(any(int(n) for n in line.split()[1:5]) for line in lines if f"{device}-{way}." in line)
            for way in ("input", "output")}
    note(record_property, f"{tap}: queues with interrupts {busy}")
    assert busy["input"] >= min(queues, 3), "\n".join(lines)


@pytest.mark.parametrize("tap", NETS)
def test_a_file_arrives_as_it_was_sent(host, guest, tap):
    net = NETS[tap][0]
    host.run("head -c 16777216 /dev/urandom >/run/noise", timeout=60)
    want = host.run("sha256sum </run/noise", timeout=60)[1].split()[0]
    serve = host.spawn(f"socat -u FILE:/run/noise TCP-LISTEN:9000,bind={net}.1,reuseaddr")
    guest.ask(f"until nc {net}.1 9000 >/tmp/noise && [ -s /tmp/noise ]; do usleep 100000; done", 120)
    assert serve.wait(60) == 0
    assert guest.ask("sha256sum /tmp/noise", 120).split()[0] == want
    take = host.spawn(f"socat -u TCP-LISTEN:9001,bind={net}.1,reuseaddr CREATE:/run/back")
    guest.ask(f"until nc {net}.1 9001 </tmp/noise; do usleep 100000; done; rm /tmp/noise", 120)
    assert take.wait(60) == 0
    assert host.run("sha256sum </run/back", timeout=60)[1].split()[0] == want


def appears(guest, path):
    """Wait until the guest has a file."""
    guest.ask(f"i=0; until [ -e {path} ] || [ $i = 600 ]; do i=$((i + 1)); usleep 100000; done; [ -e {path} ]", 180)


def test_disk_and_nic_come_and_go_by_acpi(host, guest):
    host.run("head -c 8388608 /dev/urandom >/run/disks/hot", timeout=60)
    want = host.run("sha256sum </run/disks/hot", timeout=60)[1].split()[0]
    host.run("ip tuntap add hot0 mode tap; ip addr replace 10.77.3.1/24 dev hot0; ip link set hot0 up", timeout=60)
    eth = "eth" + guest.ask("ls /sys/class/net | grep -c eth || true").strip()
    nic = f"/sys/class/net/{eth}"
    letter = guest.ask("ls /sys/block | grep -c vd").strip()
    path = f"/dev/vd{'abcdef'[int(letter)]}"
    for n in range(5):
        guest.qmp(*(json.dumps({"execute": name, "arguments": arguments}) for name, arguments in (
            ("blockdev-add", {"driver": "raw", "node-name": "hot",
                              "file": {"driver": "file", "filename": "/run/disks/hot"}}),
            ("device_add", {"driver": "virtio-blk-pci", "id": "hotdisk", "bus": "rp0", "drive": "hot"}),
            ("netdev_add", {"type": "tap", "id": "hotnet", "ifname": "hot0", "script": "no", "downscript": "no"}),
            ("device_add", {"driver": "virtio-net-pci", "id": "hotnic", "bus": "rp1", "netdev": "hotnet"}))))
        appears(guest, path)
        assert guest.ask(f"sha256sum {path}", 120).split()[0] == want
        appears(guest, nic)
        guest.ask(f"ip addr add 10.77.3.2/24 dev {eth}; ip link set {eth} up; ping -c 2 -W 20 10.77.3.1", 120)
        seen = guest.events.count("DEVICE_DELETED", '"device": "hot')
        guest.qmp(*(json.dumps({"execute": "device_del", "arguments": {"id": name}}) for name in ("hotdisk", "hotnic")))
        until(lambda: guest.events.count("DEVICE_DELETED", '"device": "hot') == seen + 2, 120, f"removal {n}")
        guest.ask(f"[ ! -e {path} ] && [ ! -e {nic} ]")
        guest.qmp(json.dumps({"execute": "blockdev-del", "arguments": {"node-name": "hot"}}),
                  json.dumps({"execute": "netdev_del", "arguments": {"id": "hotnet"}}))
    host.run("ip link del hot0", timeout=60)
    assert guest.ask("dmesg -r | grep '^<[0-3]>' || true").strip() == ""



def resident(host, guest):
    """MiB of guest memory that the VMM has in use."""
    return int(host.run(f"grep RssShmem /proc/$(pidof outlive-vmm)/status", timeout=60)[1].split()[1]) >> 10


def test_balloon_says_statistics_shrinks_the_guest_and_free_pages_go_back(host, guest, record_property):
    path = {"path": "/machine/peripheral/balloon"}
    guest.qmp(json.dumps({"execute": "qom-set", "arguments": {
        **path, "property": "guest-stats-polling-interval", "value": 1}}))

    def stats():
        out = guest.qmp(json.dumps({"execute": "qom-get", "arguments": {**path, "property": "guest-stats"}}))
        return json.loads(out.splitlines()[-1])["return"]
    until(lambda: stats()["last-update"] != 0, 60, "statistics")
    total = int(guest.ask("grep MemTotal /proc/meminfo").split()[1]) * 1024
    assert stats()["stats"]["stat-total-memory"] == total
    guest.qmp(json.dumps({"execute": "balloon", "arguments": {"value": 512 * MIB}}))
    until(lambda: json.loads(guest.qmp("query-balloon").splitlines()[-1])["return"]["actual"] == 512 * MIB, 120,
          "the guest gives up memory")
    assert int(guest.ask("grep MemTotal /proc/meminfo").split()[1]) * 1024 <= total - 100 * MIB
    guest.qmp(json.dumps({"execute": "balloon", "arguments": {"value": 640 * MIB}}))
    until(lambda: json.loads(guest.qmp("query-balloon").splitlines()[-1])["return"]["actual"] == 640 * MIB, 120,
          "the guest has it back")
    guest.ask("dd if=/dev/zero of=/tmp/fill bs=1M count=200 2>/dev/null", 120)
    full = resident(host, guest)
    guest.ask("rm /tmp/fill")
    until(lambda: resident(host, guest) <= full - 150, 120, "free pages are reported")
    note(record_property, f"resident {full} MiB with 200 MiB filled, {resident(host, guest)} MiB after")


def test_random_numbers_come_from_the_host(guest):
    assert "virtio_rng" in guest.ask("cat /sys/class/misc/hw_random/rng_current")
    first, second = (guest.ask("dd if=/dev/hwrng bs=64 count=1 2>/dev/null | sha256sum") for _ in range(2))
    assert first != second


def test_a_named_port_carries_bytes_both_ways(host, guest):
    assert guest.ask("cat /sys/class/virtio-ports/*/name").strip() == "org.outlive.test"
    host.run("head -c 300000 /dev/urandom >/run/noise", timeout=60)
    want = host.run("sha256sum </run/noise", timeout=60)[1].split()[0]
    give = host.spawn("socat -u FILE:/run/noise UNIX-CONNECT:/run/guest.port")
    guest.ask(": >/tmp/port; until [ $(stat -c %s /tmp/port) = 300000 ]; do cat /dev/vport*p1 >>/tmp/port; done", 120)
    assert give.wait(60) == 0
    assert guest.ask("sha256sum /tmp/port").split()[0] == want
    take = host.spawn("socat -u UNIX-CONNECT:/run/guest.port STDOUT | head -c 300000 | sha256sum")
    guest.ask("cat /tmp/port >/dev/vport*p1", 60)
    assert take.wait(60) == 0 and take.output().split()[0] == want
