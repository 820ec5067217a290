# SPDX-License-Identifier: Apache-2.0
"""The QMP server of outlive-vmm, without a guest: what managers rely on."""
import json
import os
import pty
import signal
import socket
import subprocess
import termios

import pytest

from frame.paths import BUILD, outlive_vmm
from frame.qmp import Qmp, QmpError
from frame.wait import until

NONE = ("-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=kvm:tcg")


@pytest.fixture
def vmm(outlive):
    """A VMM without a machine."""
    return outlive.start(*NONE)


def lines(path, *sent, fds=()):
    """Send raw bytes on a fresh connection; a function that reads the next line."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(60)
    sock.connect(path)
    reader = sock.makefile("rb")
    for data in sent:
        sock.sendall(data)
    return sock, reader


def test_probe_as_libvirt_does_it(tmp_path, run_dir):
    """The parent exits 0 only when the socket listens and the pid file is there."""
    sock, pid_file = run_dir / "q", run_dir / "pid"
    subprocess.run([outlive_vmm(), *NONE, "-qmp", f"unix:{sock},server=on,wait=off",
                    "-pidfile", pid_file, "-daemonize"], check=True, timeout=60,
                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    pid = int(pid_file.read_text())
    try:
        with Qmp(str(sock)) as qmp:
            version = qmp.command("query-version")
            assert version["qemu"]["major"] >= 8 and version["package"].startswith("outlive-")
            assert qmp.command("query-target") == {"arch": "x86_64"}
            assert set(qmp.command("query-kvm")) == {"enabled", "present"}
            machines = {m["name"]: m for m in qmp.command("query-machines")}
            assert machines["pc-q35-7.2"]["alias"] == "q35"
            assert machines["pc-q35-7.2"]["default-ram-id"] == "pc.ram"
            names = {t["name"] for t in qmp.command("qom-list-types")}
            assert "memory-backend-memfd" in names and "tcg-accel" not in names
            assert qmp.command("qom-list-properties", typename="none-machine") == []
            with pytest.raises(QmpError) as no_device:
                qmp.command("device-list-properties", typename="virtio-blk-ccw")
            assert no_device.value.error_class == "DeviceNotFound"
            assert {"host"} <= {c["name"] for c in qmp.command("query-cpu-definitions")}
            caps = {c["capability"] for c in qmp.command("query-migrate-capabilities")}
            assert {"events", "return-path"} <= caps
            options = {o["option"] for o in qmp.command("query-command-line-options")}
            assert "machine" in options and "sandbox" in options and "vnc" not in options
    finally:
        os.kill(pid, signal.SIGTERM)
    until(lambda: not pid_file.exists() and not sock.exists(), 60, "the daemon to clean up")


def test_a_daemon_that_fails_says_why_and_exits_1(run_dir):
    """The parent's exit code and stderr are the child's."""
    done = subprocess.run([outlive_vmm(), *NONE, "-qmp", "unix:/nowhere/q,server=on,wait=off",
                           "-daemonize"], timeout=60, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "/nowhere/q: No such file or directory" in done.stderr


def test_lines_end_in_cr_lf_and_carry_ids(vmm):
    """libvirt waits for CR LF for ever."""
    vmm.qmp.close()
    sock, reader = lines(vmm.path("qmp.sock"), b'{"execute":"qmp_capabilities","id":["a",1]}\n')
    assert reader.readline().endswith(b"\r\n")
    answer = reader.readline()
    assert answer.endswith(b"\r\n")
    assert json.loads(answer) == {"return": {}, "id": ["a", 1]}
    sock.close()


def test_nothing_runs_before_negotiation(vmm):
    """And negotiation happens once."""
    vmm.qmp.close()
    qmp = vmm.connect(negotiate=False)
    with pytest.raises(QmpError) as early:
        qmp.command("query-version")
    assert early.value.error_class == "CommandNotFound"
    qmp.command("qmp_capabilities")
    with pytest.raises(QmpError):
        qmp.command("qmp_capabilities")
    qmp.command("query-version")


def test_bad_json_is_an_error_and_the_session_goes_on(vmm):
    """Cut, wrong, and far too deep."""
    vmm.qmp.close()
    sock, reader = lines(vmm.path("qmp.sock"), b'{"execute":"qmp_capabilities"}\n')
    reader.readline(), reader.readline()
    for bad in (b"hello\n", b'{"execute":}\n', b"{" * 1000 + b"\n", b'{"a":"b\n'):
        sock.sendall(bad)
        assert json.loads(reader.readline())["error"]["class"] == "GenericError"
    sock.sendall(b'{"execute":\n"query-status", "id": 7}{"execute":"query-name","id":8}')
    assert json.loads(reader.readline())["id"] == 7
    assert json.loads(reader.readline())["id"] == 8
    sock.close()


@pytest.mark.parametrize("sent, ident", [
    (rb"""{'execute': 'query-name', 'id': 'a"b'}""", 'a"b'),
    (rb"""{'execute': "query-name", 'id': "it's"}""", "it's"),
    (rb"""{'execute': 'query-name', 'id': 'it\'s {'}""", "it's {"),
    (rb"""{"execute": "query-name", "id": "\'\"\\"}""", "'\"\\"),
    (rb"""{'execute': 'query-name', 'id': 'a\\'}""", "a\\"),
])
def test_strings_may_be_in_single_quotes_as_on_qemu(vmm_any, sent, ident):
    vmm = vmm_any.start("-S", "-nodefaults", "-display", "none", "-machine", "none", "-qmp",
                        "unix:@RUN@/second,server=on,wait=off")
    sock, reader = lines(vmm.path("second"), b"{'execute': 'qmp_capabilities'}\n", sent)
    with sock:
        assert "QMP" in json.loads(reader.readline())
        assert json.loads(reader.readline()) == {"return": {}}
        assert json.loads(reader.readline())["id"] == ident


@pytest.mark.parametrize("command,arguments,words", [
    ("quey-status", {}, "did you mean 'query-status'"),
    ("query-status", {"x": 1}, "'x' is unknown"),
    ("closefd", {}, "'fdname' is missing"),
    ("closefd", {"fdname": 3}, "3 is not a string"),
    ("object-add", {"qom-type": "iothred", "id": "a"}, "did you mean 'iothread'"),
    ("netdev_add", {"type": "tap"}, "'id' is missing"),
    ("set_link", {"name": "x", "up": "on"}, "\"on\" is not on or off"),
    ("cont", {}, "this machine doesn't have it"),
])
def test_arguments_are_checked_by_the_schema(vmm, command, arguments, words):
    """The error names the argument, and the nearest known word."""
    with pytest.raises(QmpError) as wrong:
        vmm.qmp.raw(command, arguments)
    assert words in wrong.value.desc


def test_the_schema_covers_every_command_and_resolves(vmm):
    """Each type that is named is there; what libvirt looks up is found."""
    schema = {entry["name"]: entry for entry in vmm.qmp.command("query-qmp-schema")}
    commands = {c["name"] for c in vmm.qmp.command("query-commands")}
    assert commands == {n for n, e in schema.items() if e["meta-type"] == "command"}
    for entry in schema.values():
        named = [entry.get("arg-type"), entry.get("ret-type"), entry.get("element-type")]
        named += [member["type"] for member in entry.get("members", ()) if "type" in member]
        named += [variant["type"] for variant in entry.get("variants", ())]
        for name in named:
            assert name is None or name in schema, f"{entry['name']} names {name}"
    assert "json-cli-hotplug" in schema["device_add"]["features"]

    def member(command, name):
        fields = schema[schema[command]["arg-type"]]["members"]
        return schema[next(f["type"] for f in fields if f["name"] == name)]

    add = schema[schema["blockdev-add"]["arg-type"]]
    file, = (schema[v["type"]] for v in add["variants"] if v["case"] == "file")
    aio = next(f["type"] for f in file["members"] if f["name"] == "aio")
    assert "io_uring" in schema[aio]["values"]
    assert "dgram" in member("netdev_add", "type")["values"]
    assert "secret" in member("object-add", "qom-type")["values"]


def test_the_man_page_names_every_command_and_event(vmm):
    """outlive-qmp(7), written from the tables at build time."""
    page = (BUILD / "src/control/outlive-qmp.7").read_text(encoding="utf-8")
    for command in vmm.qmp.command("query-commands"):
        assert f"\n.B {command['name']}\n" in page
    assert "\n.B SHUTDOWN\n" in page and "exec-oob" in page


def ask(*options):
    """What the VMM prints for options that only ask."""
    return subprocess.run([outlive_vmm(), *options], check=True, capture_output=True, text=True).stdout


def test_the_man_page_tells_each_device_and_each_of_its_properties():
    """outlive-devices(7); what all devices of a kind have is told once, at the kind."""
    page = (BUILD / "src/control/outlive-devices.7").read_text(encoding="utf-8").replace("\\-", "-")
    shared = page[page.index(".SH EVERY PCI DEVICE"):]
    names = [line.split('"')[1] for line in ask("-device", "help").splitlines()]
    assert "virtio-blk-pci" in names
    for name in [name for name in names if "transitional" not in name]:
        own = page[page.index(f"\n.B {name}\n"):].split("\n.TP\n")[0].split("\n.SH ")[0]
        for line in ask("-device", f"{name},help").splitlines()[1:]:
            row = f"\\fB{line.split('=')[0].strip()}\\fR="
            assert (row in own) != ("on bus PCI" in own and row in shared), (name, row)


def test_stdio_is_raw_and_given_back():
    """A terminal as the serial port has its settings back at the end."""
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    with subprocess.Popen([outlive_vmm(), *NONE[:-2], "-machine", "none", "-serial", "stdio"],
                          stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL) as vmm:
        until(lambda: not termios.tcgetattr(theirs)[3] & termios.ICANON, 60, "raw mode")
        assert termios.tcgetattr(theirs)[3] & termios.ISIG
        vmm.terminate()
        assert vmm.wait() == 0
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def test_a_tcp_back_end_names_both_ends(vmm):
    """As QEMU shows it in query-chardev."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    vmm.qmp.command("chardev-add", id="t", backend={"type": "socket", "data": {
        "addr": {"type": "inet", "data": {"host": "127.0.0.1", "port": str(port)}}}})

    def name():
        return next(c["filename"] for c in vmm.qmp.command("query-chardev") if c["label"] == "t")

    assert name() == f"disconnected:tcp:127.0.0.1:{port},server=on"
    with socket.create_connection(("127.0.0.1", port)) as client:
        mine = client.getsockname()[1]
        until(lambda: name() == f"tcp:127.0.0.1:{port},server=on <-> 127.0.0.1:{mine}", 60, "both")


def test_descriptors_are_kept_by_name_and_in_sets(vmm):
    """getfd, closefd, add-fd, query-fdsets, remove-fd."""
    qmp = vmm.qmp
    with open("/dev/null", "rb") as null:
        qmp.command("getfd", fdname="migrate", fds=[null.fileno()])
        qmp.command("closefd", fdname="migrate")
        with pytest.raises(QmpError):
            qmp.command("closefd", fdname="migrate")
        with pytest.raises(QmpError) as none:
            qmp.command("getfd", fdname="migrate")
        assert "SCM_RIGHTS" in none.value.desc
        added = qmp.command("add-fd", opaque="log", fds=[null.fileno()])
        sets = qmp.command("query-fdsets")
        assert sets == [{"fdset-id": added["fdset-id"],
                         "fds": [{"fd": added["fd"], "opaque": "log"}]}]
        qmp.raw("remove-fd", {"fdset-id": added["fdset-id"]})
        assert qmp.command("query-fdsets") == []


def test_an_inherited_fdset_takes_a_log(outlive, tmp_path):
    """-add-fd and /dev/fdset/N as a manager uses them for console logs."""
    log = tmp_path / "console.log"
    with open(log, "wb", buffering=0) as file:
        vmm = outlive.start(*NONE, "-add-fd", f"set=0,fd={file.fileno()},opaque=x",
                            "-chardev", "null,id=c,logfile=/dev/fdset/0,logappend=on",
                            pass_fds=[file.fileno()])
    assert {c["label"] for c in vmm.qmp.command("query-chardev")} == {"c", "compat_monitor0"}


def test_character_back_ends_come_and_go(vmm):
    """chardev-add in QMP's nested form, ring buffers, pseudo terminals."""
    qmp = vmm.qmp
    qmp.command("chardev-add", id="r", backend={"type": "ringbuf", "data": {"size": 16}})
    qmp.raw("ringbuf-write", {"device": "r", "data": "aGVsbG8=", "format": "base64"})
    assert qmp.raw("ringbuf-read", {"device": "r", "size": 100}) == "hello"
    pty = qmp.command("chardev-add", id="p", backend={"type": "pty", "data": {}})["pty"]
    assert os.path.exists(pty)
    path = vmm.path("s")
    qmp.command("chardev-add", id="s", backend={"type": "socket", "data": {
        "addr": {"type": "unix", "data": {"path": path}}, "server": True, "wait": False}})
    names = {c["label"]: c["filename"] for c in qmp.command("query-chardev")}
    assert names["s"] == f"disconnected:unix:{path},server=on"
    for name in ("r", "p", "s"):
        qmp.command("chardev-remove", id=name)
    assert not os.path.exists(path)
    with pytest.raises(QmpError) as busy:
        qmp.command("chardev-remove", id="compat_monitor0")
    assert "busy" in busy.value.desc


def test_several_monitors_and_a_client_after_the_other(outlive):
    """Events go to all; a monitor takes its next client after the last went."""
    vmm = outlive.start(*NONE, "-chardev", "socket,id=m,path=@RUN@/two,server=on,wait=off",
                        "-mon", "chardev=m,mode=control")
    for _ in range(3):
        vmm.connect("two").close()
    second = vmm.connect("two")
    vmm.qmp.command("quit")
    assert second.wait_event("SHUTDOWN")["data"] == {"guest": False, "reason": "host-qmp-quit"}
    assert vmm.wait() == 0


def test_out_of_band_needs_its_capability(vmm):
    """exec-oob is refused without it, and for commands that can't."""
    with pytest.raises(QmpError):
        vmm.qmp.command("query-version", oob=True)
    vmm.qmp.close()
    qmp = vmm.connect(negotiate=False)
    qmp.command("qmp_capabilities", enable=["oob"])
    assert qmp.command("query-version", oob=True)
    with pytest.raises(QmpError) as no_oob:
        qmp.command("query-status", oob=True)
    assert "does not support OOB" in no_oob.value.desc


def test_a_signal_ends_it_with_an_event(vmm):
    """SIGTERM: SHUTDOWN, exit code 0, nothing left."""
    os.kill(vmm.pid, signal.SIGTERM)
    assert vmm.qmp.wait_event("SHUTDOWN")["data"]["reason"] == "host-signal"
    assert vmm.wait() == 0
    assert not os.path.exists(vmm.path("qmp.sock"))


def test_a_client_that_does_not_read_is_bounded(vmm):
    """Its answers wait, its commands too; others are served."""
    vmm.qmp.close()
    sock, _ = lines(vmm.path("qmp.sock"), b'{"execute":"qmp_capabilities"}\n')
    sock.settimeout(2)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 64 << 20:
            sent += sock.send(b'{"execute":"query-qmp-schema"}\n' * 100)
    with open(f"/proc/{vmm.pid}/status", encoding="ascii") as status:
        rss = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    assert rss < 512 << 10  # a sanitizer keeps what is freed for a while
    sock.close()
