# SPDX-License-Identifier: Apache-2.0
"""A Debian guest at work in the lab, and the world outside of it, which watches: for what it must not notice.

    seen = Watched(host, "10.77.1.2", "10.77.1.1")
    guest = linux.Guest(host, [*linux.machine(2), *seen.boot(), *seen.devices()])
    seen.begin()
    with seen.phase("upgrade"):
        ...
    assert seen.end()["lost"] == []

Theory of operation: the guest runs fio, which writes to its disk with four requests in flight and reads back what it
wrote, and sends numbered lines over one connection. A process on the host (tests/lab/outside.py) is the other end of
that connection and pings the guest every 10 ms. What it saw it tells by phases, which the test names, so that what
happened while the guest was on its way compares with the minutes beside that. The guest answers for its files by HTTP.
"""
import contextlib
import json
import pathlib
import re
import time

from lab import image, programs
from lab.paths import PROJECT

from . import linux

LAB = PROJECT / "tests" / "lab"
PHASE = pathlib.Path("/tmp/phase")  # in the host: what happens at the moment
MAC = "52:54:00:12:34:56"
CLOCK_MS = 10  # a guest's wall clock may be off by this much, besides what can't be measured
REQUESTS = 32  # of the disk, written and read, are enough to say that it goes on
DISK_MIB = 32
FIO = r"""sh /programs/enter /programs
(fio --name=v --filename=/dev/DISK --direct=1 --rw=randwrite --bs=16k --size=16m --ioengine=libaio --iodepth=4 \
--thread --verify=crc32c --verify_backlog=32 --verify_fatal=1 --rate_iops=32 --time_based --runtime=1d >/tmp/fio 2>&1
echo fio: $? >>/tmp/ended) &
"""
# Without any program but busybox: noise is written, what is cached is dropped, and it is read back.
DD = """(n=0; while :; do dd if=/dev/urandom of=/tmp/noise bs=64k count=4 2>/dev/null
dd if=/tmp/noise of=/dev/DISK bs=64k seek=$((n % 32 * 4)) conv=fsync 2>/dev/null; echo 3 >/proc/sys/vm/drop_caches
dd if=/dev/DISK of=/tmp/back bs=64k skip=$((n % 32 * 4)) count=4 2>/dev/null
cmp /tmp/noise /tmp/back || echo $n read wrong >>/tmp/ended; n=$((n + 1)); done) &
"""
LOAD = """dmesg -c >/dev/null; : >/tmp/ended
VERIFY(n=0; while :; do echo $n; n=$((n + 1)); usleep 20000; done | nc PEER 7000; echo nc: $? >>/tmp/ended) &
httpd -p 8080 -h /tmp; (while :; do cp /sys/block/DISK/stat /tmp/now; mv /tmp/now /tmp/stat
dmesg -r | grep '^<[0-4]>' | grep -v 'hrtimer: interrupt took' >/tmp/new; mv /tmp/new /tmp/complaints; sleep 1; done) &
"""


def ahead(host, address):
    """How far the wall clock at an address is ahead of a host's, in ms, and how far that may be off."""
    code, text = host.run(["/usr/bin/python3", str(LAB / "wallclock.py"), address], timeout=300)
    assert code == 0, text
    offset, way = re.search(r"offset (\S+) way (\S+)", text).groups()
    return float(offset), float(way) / 2


class Watched:
    """A guest at @address, seen from @host, which has the address @peer.

    @folder: where the files of its disks are, seen by all hosts; without one they are in this host's memory. @disk: the
    guest's name of the one that is worked on. @fio: by fio, which takes half a minute to start in an emulated guest;
    else by dd.
    """

    def __init__(self, host, address, peer, folder=None, disk="vda", fio=True):
        self.host, self.address, self.peer, self.disk = host, address, peer, disk
        files = [image.make_disk((folder or host.work) / "data.img", DISK_MIB)]
        files += [programs.disk((folder or host.work) / "programs.img", {"fio": "fio"})] if fio else []
        self.files = files if folder else [self.nearer(path) for path in files]
        self.outside = host.spawn(["/usr/bin/python3", str(LAB / "outside.py"), address, "7000", str(PHASE)])
        self.moves, self.offset, self.where = [], None, host

    def nearer(self, path):
        """A copy of a file in the host's own memory."""
        assert self.host.run(f"cp --sparse=always {path} /tmp/{path.name}", timeout=120)[0] == 0
        return pathlib.Path("/tmp") / path.name

    def script(self):
        """Shell text that the guest runs."""
        text = LOAD.replace("VERIFY", FIO if len(self.files) > 1 else DD)
        return text.replace("DISK", self.disk).replace("PEER", self.peer)

    def words(self):
        """For the guest's kernel command line."""
        after = chr(ord(self.disk[-1]) + 1)
        mount = f" guest.mount=vd{after}:/programs" if len(self.files) > 1 else ""
        return f"guest.ip=eth0:{self.address}/24{mount}"

    def boot(self, then="sleep 100000"):
        """Options that boot it."""
        return linux.kernel(image.guest_image("6.1"), self.script() + then, self.words())

    def devices(self, tap="tap0"):
        """Options of its disks and its network."""
        more = ["-blockdev", f"driver=file,node-name=pf,read-only=on,filename={self.files[-1]}", "-blockdev",
                "driver=raw,node-name=p,read-only=on,file=pf", "-device", "virtio-blk-pci,drive=p"]
        return [*linux.disk(self.files[0]), *(more if len(self.files) > 1 else []),
                "-netdev", f"tap,id=n0,ifname={tap},script=no,downscript=no",
                "-device", f"virtio-net-pci,netdev=n0,mac={MAC},romfile="]

    def until_said(self, text, seconds=420):
        """Wait for a line of who watches."""
        end = time.monotonic() + seconds
        while text not in self.outside.output():
            assert self.outside.code is None and time.monotonic() < end, self.outside.output()
            self.host.pump(0.1)

    def begin(self):
        """Wait until it works."""
        self.until_said("outside: watching")
        self.goes_on()
        self.offset = self.clock()

    def get(self, name):
        """A file of its /tmp, once it is there."""
        end = time.monotonic() + 180
        while True:
            code, text = self.host.run(f"wget -q -T 60 -O - http://{self.address}:8080/{name}", timeout=120)
            if code == 0:
                return text.strip()
            assert time.monotonic() < end, f"{name}: {text}"

    def clock(self):
        """Its wall clock minus that of the host it is on, in ms, and how far that may be off."""
        return ahead(self.where, self.address)

    def requests(self):
        """How often its disk has been (read, written), see the kernel's Documentation/block/stat.rst."""
        words = self.get("stat").split()
        return int(words[0]), int(words[4])

    def goes_on(self):
        """Its disk is written and read back, fio and the connection are there, and the kernel has no complaint."""
        before, end = self.requests(), time.monotonic() + 240
        while any(now < was + REQUESTS for now, was in zip(self.requests(), before)):
            self.is_quiet()
            assert time.monotonic() < end, "the disk stands still"
            self.host.pump(0.5)
        self.is_quiet()

    def is_quiet(self):
        """What runs in it has not ended, and its kernel has no complaint."""
        ended, complaints = self.get("ended"), self.get("complaints")
        assert (ended, complaints) == ("", ""), f"ended: {ended}; dmesg: {complaints}"

    @contextlib.contextmanager
    def phase(self, name):
        """What happens in the body counts for a phase of this name."""
        self.say(name)
        yield
        self.say("between")

    def say(self, name):
        """Another phase begins."""
        assert self.host.run(f"echo {name} >{PHASE}.new; mv {PHASE}.new {PHASE}", timeout=120)[0] == 0
        self.until_said(f"outside: phase {name}\n")

    def moved(self, how, pause_ms, stands=True, where=None):
        """It has been moved, to the host @where: all is as it was.

        @stands: its clocks stood still over the pause, or a part of it that nobody knows, as with QEMU; else they went
        on with the host's.
        """
        (before, unsure), self.where = self.offset, where or self.where
        self.offset = self.clock()
        behind, unsure = before - self.offset[0], unsure + self.offset[1]
        self.moves.append((how, round(pause_ms, 1), round(behind, 1)))
        print(f"{how}: paused for {pause_ms:.1f} ms, wall clock behind by {behind:.1f} ms more than before, "
              f"give or take {unsure:.1f} ms", flush=True)
        self.goes_on()
        assert abs(behind) < CLOCK_MS + unsure + (pause_ms if stands else 0), self.moves

    def end(self):
        """What was seen from outside: nothing lost on the connection, no answer twice."""
        self.say("stop")
        assert self.outside.wait(180) == 0, self.outside.output()
        seen = json.loads(self.outside.output().split("outside: ")[-1])
        print(f"moves: {self.moves}; disk (read, written): {self.requests()}; outside: {seen}")
        assert (seen["twice"], seen["wrong"], seen["connections"], seen["ended"]) == ([], None, 1, False), seen
        return seen
