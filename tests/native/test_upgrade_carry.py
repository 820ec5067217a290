# SPDX-License-Identifier: Apache-2.0
"""What was given, set or plugged at run time is there after the VMM was replaced, twice."""
import base64
import fcntl
import hashlib
import json
import os
import re
import socket
import struct
import termios

import pytest

from frame.echo import Echo
from frame.live import descriptors, live  # noqa: F401
from frame.qmp import QmpError
from frame.wait import until

PORTS = [word for n in (1, 2) for word in ("-device", f"pcie-root-port,id=port{n},chassis={n}")]


def twice(guest):
    """To another process, and from a process that took over to the next."""
    guest.upgrade()
    guest.upgrade()


@pytest.mark.parametrize("choice, there", [("off", False), ("auto", True)])
def test_vmwares_port_is_there_or_not_as_before(live, tmp_path, choice, there):
    guest = live("-machine", f"vmport={choice}", memory_mib=64)
    twice(guest)
    guest.qmp.command("migrate", uri=f"exec:cat > {tmp_path / 'stream'}")
    until(lambda: guest.qmp.command("query-migrate").get("status") == "completed", 60, "the stream")
    assert (b"vmmouse" in (tmp_path / "stream").read_bytes()) == there


def test_descriptors_that_clients_gave_are_still_there(live, tmp_path):
    guest = live(memory_mib=64)
    ours, theirs = socket.socketpair()
    with open(tmp_path / "file", "w+b") as file, ours, theirs:
        guest.qmp.command("getfd", fdname="later", fds=[theirs.fileno()])
        for name in ("first", "second"):
            guest.qmp.command("add-fd", fdset_id=7, opaque=name, fds=[file.fileno()])
        before = guest.qmp.command("query-fdsets")
        twice(guest)
        assert guest.qmp.command("query-fdsets") == before
        first = next(one["fd"] for one in before[0]["fds"] if one["opaque"] == "first")
        guest.qmp.command("remove-fd", fdset_id=7, fd=first)
        assert [one["opaque"] for one in guest.qmp.command("query-fdsets")[0]["fds"]] == ["second"]
        guest.qmp.command("getfd", fdname="ring", fds=[file.fileno()])
        guest.qmp.command("chardev-add", id="c", backend={"type": "socket", "data": {
            "addr": {"type": "fd", "data": {"str": "later"}}, "server": False}})
        info = {one["label"]: one["filename"] for one in guest.qmp.command("query-chardev")}
        assert "disconnected" not in info["c"]
        with pytest.raises(QmpError, match="later"):
            guest.qmp.command("closefd", fdname="later")
        guest.qmp.command("chardev-remove", id="c")
        ours.settimeout(60)
        theirs.close()
        assert ours.recv(1) == b"", "the guest's VMM still holds the socket that was removed"


def mux_says(console, key=b"\x01c"):
    """The front end that a mux names after the key that moves its focus."""
    console.sendall(key)
    text = b""
    while not (found := re.search(rb"\r\n\[([a-z]+)\]\r\n", text)):
        text += console.recv(4096)
    return found[1].decode()


def test_the_focus_of_a_mux_stays(live):
    """Serial ports and a monitor share a terminal; monitors attach last in the new process."""
    guest = live("-chardev", "socket,id=m,mux=on,path=@RUN@/mux,server=on,wait=off", "-mon", "chardev=m,mode=control",
                 *[word for n, name in ((1, "one"), (2, "two"))
                   for word in ("-device", f"isa-serial,chardev=m,index={n},id={name}")], memory_mib=64)
    with socket.socket(socket.AF_UNIX) as console:
        console.connect(guest.witness.vmm.path("mux"))
        console.settimeout(60)
        assert {mux_says(console) for _ in range(3)} == {"one", "two", "monitor"}
        while mux_says(console) != "two":
            pass
        twice(guest)
        seen = [mux_says(console)]
        while seen[-1] != "monitor":
            seen.append(mux_says(console))
        assert "two" not in seen, "it was the focus already"
        twice(guest)
        console.sendall(b'{"execute":"qmp_capabilities"}')
        while b'"return"' not in console.recv(4096):
            pass
        console.sendall(b"\x01")  # half of the next key
        until(lambda: not unread(console), 60, "it is read")
        twice(guest)
        assert mux_says(console, b"c") in ("one", "two")


def unread(sock):
    """Bytes that the other end of a unix socket hasn't read yet."""
    return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, struct.pack("i", 0)))[0]


def test_a_pulled_cable_stays_pulled(live, run_dir):
    echo = Echo(f"{run_dir}/net")
    guest = live("-netdev", f"stream,id=n0,server=off,addr.type=unix,addr.path={run_dir}/net",
                 "-device", "virtio-net-pci,netdev=n0,id=nic", cpus=2, memory_mib=64,
                 args="net=16 net_rate=1000", boot="pvh")
    guest.witness.wait(lambda now: now["device"] and now["device"][0]["in"] > 50)
    guest.qmp.raw("set_link", {"name": "nic", "up": False})
    twice(guest)
    before, sent = echo.all_received(), guest.witness.report()["device"][0]["out"]
    guest.witness.wait(lambda now: now["device"][0]["out"] > sent)
    assert echo.all_received() == before
    guest.qmp.raw("set_link", {"name": "nic", "up": True})
    done = guest.witness.report()["device"][0]["in"]
    guest.witness.wait(lambda now: now["device"][0]["in"] > done + 50)
    guest.qmp.command("quit")
    echo.close()


def limits(qmp, node):
    """A disk's limits as QMP tells them."""
    info = next(one for one in qmp.command("query-named-block-nodes") if one["node-name"] == node)
    return {key: info[key] for key in ("iops", "iops_rd", "iops_wr", "bps", "bps_rd", "bps_wr")}


def configure(guest, disk, net):
    """Change everything that can be changed at run time."""
    qmp = guest.qmp
    qmp.raw("blockdev-add", {"driver": "raw", "node-name": "top", "file": {
        "driver": "throttle", "node-name": "limit", "iops-total": 9, "file": {"driver": "file", "filename": disk}}})
    qmp.raw("device_add", {"driver": "virtio-blk-pci", "id": "disk1", "drive": "top", "bus": "port1"})
    qmp.raw("block_set_io_throttle", {"id": "disk1", "bps": 0, "bps_rd": 3 << 20, "bps_wr": 0, "iops": 77,
                                      "iops_rd": 0, "iops_wr": 5})
    qmp.raw("block_resize", {"node-name": "top", "size": 3 << 20})
    qmp.raw("netdev_add", {"type": "stream", "id": "n1", "server": False, "addr": {"type": "unix", "path": net}})
    qmp.raw("device_add", {"driver": "virtio-net-pci", "id": "nic1", "netdev": "n1", "bus": "port2",
                           "mac": "52:54:00:00:00:77"})
    qmp.command("chardev-add", id="ring", backend={"type": "ringbuf", "data": {"size": 4096}})
    qmp.command("ringbuf-write", device="ring", data=base64.b64encode(b"kept").decode(), format="base64")
    qmp.raw("object-add", {"qom-type": "iothread", "id": "io9"})
    qmp.command("migrate-set-parameters", downtime_limit=42, max_bandwidth=12345678)
    qmp.command("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
    qmp.command("set-action", reboot="shutdown", shutdown="pause")
    qmp.command("balloon", value=48 << 20)
    qmp.raw("qom-set", {"path": "/machine/peripheral/balloon", "property": "guest-stats-polling-interval", "value": 7})


def shown(guest):
    """All of it, as clients see it."""
    qmp = guest.qmp
    got = {name: qmp.command(name) for name in (
        "query-named-block-nodes", "query-block", "query-chardev", "query-iothreads", "query-migrate-parameters",
        "query-migrate-capabilities", "query-balloon", "query-memory-size-summary", "query-fdsets",
        "query-hotpluggable-cpus", "query-name", "query-uuid")}
    got["thread-free"] = [{key: one[key] for key in one if key != "thread-id"} for one in got.pop("query-iothreads")]
    got["limits"] = limits(qmp, "limit")
    got["interval"] = qmp.raw("qom-get", {"path": "/machine/peripheral/balloon",
                                          "property": "guest-stats-polling-interval"})
    got["peripherals"] = qmp.raw("qom-list", {"path": "/machine/peripheral"})
    got["objects"] = qmp.raw("qom-list", {"path": "/objects"})
    return got


def test_everything_set_at_once(live, tmp_path, run_dir):
    echo = Echo(f"{run_dir}/net")
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    guest = live(*PORTS, "-device", "virtio-balloon-pci,id=balloon", memory_mib=64)
    configure(guest, str(disk), f"{run_dir}/net")
    before = shown(guest)
    assert before["limits"] == {"iops": 77, "iops_rd": 0, "iops_wr": 5, "bps": 0, "bps_rd": 3 << 20, "bps_wr": 0}
    assert (before["interval"], os.stat(disk).st_size) == (7, 3 << 20)
    for _ in range(2):
        guest.upgrade()
        after = shown(guest)
        assert after.keys() == before.keys()
        for key, value in before.items():
            assert after[key] == value, key
    ring = guest.qmp.command("ringbuf-read", device="ring", size=100, format="base64")
    assert base64.b64decode(ring) == b"kept"
    assert echo.connections == 1
    guest.qmp.raw("block_resize", {"node-name": "top", "size": 4 << 20})
    assert os.stat(disk).st_size == 4 << 20
    guest.witness.console.sendall(b"q")
    until(lambda: guest.qmp.command("query-status")["status"] == "shutdown", 60, "the action that was set")
    guest.qmp.command("quit")
    echo.close()


def digest(data):
    """Short, for messages."""
    return hashlib.sha256(data).hexdigest()


def contents(pid, part, length=None):
    """Digests of the memory files of a process whose names have `part` in them."""
    held = {}
    for number, (link, _) in descriptors(pid).items():
        if link.startswith("/memfd:") and part in link:
            with open(f"/proc/{pid}/fd/{number}", "rb") as file:
                held[link] = digest(file.read(length))
    return held


def test_files_that_are_gone_or_new_don_t_matter(live, tmp_path):
    """Firmware, option ROMs and -fw_cfg files are what the guest has seen, not what the disk has now."""
    rom, extra = tmp_path / "card.rom", tmp_path / "extra"
    rom.write_bytes(os.urandom(5000))
    extra.write_bytes(os.urandom(300000))
    guest = live("-device", f"virtio-net-pci,romfile={rom}", "-fw_cfg", f"name=opt/extra,file={extra}", memory_mib=64)
    assert list(contents(guest.pid, "-pci.rom", 5000).values()) == [digest(rom.read_bytes())]
    assert list(contents(guest.pid, "fw_cfg").values()) == [digest(extra.read_bytes())]
    before = {part: contents(guest.pid, part) for part in ("-pci.rom", "fw_cfg", "pc.bios")}
    rom.write_bytes(os.urandom(100000))
    extra.unlink()
    twice(guest)
    assert {part: contents(guest.pid, part) for part in before} == before
    guest.verify()


@pytest.mark.parametrize("lost_before", [False, True])
def test_a_client_that_reconnects_still_does(live, lost_before):
    """The server of a console goes away: after the upgrade, or before it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        guest = live("-chardev", f"socket,id=c,host=127.0.0.1,port={server.getsockname()[1]},reconnect=1",
                     "-mon", "chardev=c,mode=control", memory_mib=64)
        for _ in range(2):
            console, _ = server.accept()
            with console:
                if not lost_before:
                    guest.upgrade()
                console.settimeout(60)
                assert console.recv(1)
            if lost_before:
                guest.upgrade()
        guest.qmp.command("quit")


def test_a_ring_that_is_written_to_meanwhile_goes_along(live):
    """Output that goes on is no change of the configuration: the upgrade doesn't begin anew for it."""
    guest = live("-chardev", "ringbuf,id=ring,size=1048576", "-device", "isa-serial,chardev=ring,index=1",
                 "-qmp", "unix:@RUN@/second.sock,server=on,wait=off", memory_mib=64)
    second = guest.witness.vmm.connect("second.sock")
    number = guest.qmp.send("outlive-upgrade", {})
    written = 0
    while not any(event["event"] == "OUTLIVE_UPGRADED" for event in second.events):
        second.command("ringbuf-write", device="ring", data="x")
        written += 1
    assert number
    assert guest.qmp.wait_event("OUTLIVE_UPGRADED")["data"]["done"]
    ring = second.command("ringbuf-read", device="ring", size=1 << 20)
    assert ring == "x" * written


def test_a_log_goes_on_whatever_became_of_its_path(live, tmp_path):
    """libvirt passes a log as a set of descriptors; others may have moved the file away."""
    plain = tmp_path / "plain"
    with open(tmp_path / "set", "ab") as log:
        guest = live("-add-fd", f"fd={log.fileno()},set=3",
                     "-chardev", "socket,id=m,path=@RUN@/m,server=on,wait=off,logfile=/dev/fdset/3,logappend=on",
                     "-chardev", f"socket,id=n,path=@RUN@/n,server=on,wait=off,logfile={plain}",
                     "-mon", "chardev=m,mode=control", "-mon", "chardev=n,mode=control", memory_mib=64,
                     pass_fds=(log.fileno(),))
    plain.rename(tmp_path / "moved")
    plain.mkdir()
    clients = [guest.witness.vmm.connect(name) for name in "mn"]
    for name in ("once", "twice"):
        guest.upgrade()
        for client, log in zip(clients, ("set", "moved")):
            assert client.command("object-add", qom_type="iothread", id=name) == {}
            assert f'"id": "{name}"' in json.dumps(client.command("query-iothreads"))
            until(lambda: f'"id": "{name}"'.encode() in (tmp_path / log).read_bytes(), 60, f"{log} has the answer")
            client.command("object-del", id=name)
    assert b'"QMP"' in (tmp_path / "moved").read_bytes()
