# SPDX-License-Identifier: Apache-2.0
"""The lab's parts that need no emulated host."""

import lzma
import os
import pathlib
import select
import signal
import stat
import struct
import subprocess
import sys
import threading

import pytest

PROJECT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from lab import cpio, image, initramfs, job, network, paths, qemu, vmlinux  # noqa: E402

ELF = b"\x7fELF" + bytes(range(256)) * 40


def bzimage(compressed, size=len(ELF), version=0x20f):
    """Make the smallest file with the boot protocol's header and a payload."""
    payload = compressed + struct.pack("<I", size)
    head = bytearray(5 * 512)
    head[0x1f1] = 4
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, version)
    struct.pack_into("<II", head, 0x248, 32, len(payload))
    return bytes(head) + b"\x90" * 32 + payload + b"tail"


def write(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("pack", [
    lambda data: lzma.compress(data, check=lzma.CHECK_CRC32),
    lambda data: subprocess.run(["lz4", "-l", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout,
    lambda data: subprocess.run(["zstd", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout,
], ids=["xz", "lz4", "zstd"])
def test_kernel_comes_out_of_a_bzimage(tmp_path, pack):
    assert vmlinux.extract(write(tmp_path / "k", bzimage(pack(ELF)))) == ELF


@pytest.mark.parametrize("data, why", [
    (b"\0" * 4096, "HdrS"),
    (bzimage(lzma.compress(ELF), version=0x207), "2.08"),
    (bzimage(lzma.compress(ELF))[:-40], "outside"),
    (bzimage(lzma.compress(ELF), size=7), "7 expected"),
    (bzimage(b"\x1f\x8b\x08" + b"\0" * 60), "compression"),
])
def test_broken_bzimage_is_named(tmp_path, data, why):
    with pytest.raises(paths.LabError, match=why):
        vmlinux.extract(write(tmp_path / "k", data))


def test_archive_is_read_by_cpio(tmp_path):
    out = cpio.Archive()
    out.file("a/b/file", b"12345", 0o755)
    out.folder("a/b")
    out.link("l", "a/b/file")
    out.char_device("dev/null", 1, 3)
    box = initramfs.busybox()
    write(tmp_path / "busybox", box).chmod(0o755)
    target = tmp_path / "out"
    target.mkdir()
    subprocess.run([tmp_path / "busybox", "cpio", "-idm"], input=bytes(out), cwd=target, check=True)
    assert (target / "l").read_bytes() == b"12345"
    assert stat.S_IMODE((target / "a/b/file").stat().st_mode) == 0o755
    listed = subprocess.run([tmp_path / "busybox", "cpio", "-t"], input=bytes(out), capture_output=True, check=True)
    assert listed.stdout.split() == [b"a", b"a/b", b"a/b/file", b"l", b"dev", b"dev/null"]


def test_cached_archive_is_built_once_for_the_same_content(tmp_path, monkeypatch):
    monkeypatch.setenv("OUTLIVE_LAB_DIR", str(tmp_path))
    built = []

    def build():
        built.append(1)
        return cpio.Archive()

    paths_seen = [initramfs.cached("x", parts, build) for parts in (["a", "b"], ["a", "b"], ["ab"], ["a", b"c"])]
    assert len(built) == 3 and paths_seen[0] == paths_seen[1] and len(set(paths_seen)) == 3


def test_archives_out_of_use_make_room(tmp_path, monkeypatch):
    monkeypatch.setenv("OUTLIVE_LAB_DIR", str(tmp_path))
    old, used = (initramfs.cached("x", [part], cpio.Archive) for part in "ab")
    for path in (old, used):
        os.utime(path, (0, 0))
    initramfs.cached("x", ["b"], cpio.Archive)
    new = initramfs.cached("x", ["c"], cpio.Archive)
    assert (old.exists(), used.exists(), new.exists()) == (False, True, True)


def test_failed_folder_leaves_the_old_one(tmp_path):
    target = tmp_path / "t"
    with paths.new_dir(target) as temp:
        (temp / "x").write_text("old")
    with pytest.raises(ZeroDivisionError):
        with paths.new_dir(target) as temp:
            (temp / "x").write_text("new")
            raise ZeroDivisionError
    assert (target / "x").read_text() == "old" and os.listdir(tmp_path) == ["t"]


@pytest.mark.parametrize("net", [
    "user,id=n,restrict=off", "user,id=n,hostfwd=tcp::1-:1", "socket,id=n,connect=192.0.2.1:1", "l2tpv3,id=n",
    "socket,id=n,mcast=230.0.0.1:1", "stream,id=n,addr.type=inet,addr.host=h,addr.port=1", "bridge,id=n"])
def test_net_that_reaches_outside_is_refused(net):
    with pytest.raises(paths.LabError):
        network.split([net])


def test_user_net_is_restricted():
    assert network.split(["user,id=n"])[1] == ["user,id=n,restrict=on"]
    (link,), raw = network.split(["user,tftp=/x"])
    assert link.netdev == "user,id=lab0,tftp=/x,restrict=on" and not raw
    assert network.split(["socket,id=n,listen=127.0.0.1:0"])[1]


def test_known_hang_needs_silence_and_its_sign(tmp_path):
    console = write(tmp_path / "console", b"watchdog: BUG: soft lockup\n")
    progress = job.Progress(console, stall_s=0)
    assert progress.stalled() is None	# it was there before
    with open(console, "ab") as file:
        file.write(b"rcu: rcu_preempt kthread timer wakeup didn't happen for 1 jiffies\n")
    assert "timer wakeup" in progress.stalled()
    progress.note()
    assert progress.stalled() is None
    slow = job.Progress(console, stall_s=1000)
    with open(console, "ab") as file:
        file.write(b"soft lockup\n")
    assert slow.stalled() is None and slow.stalled(at_limit=True) == "soft lockup"


def test_process_started_by_a_thread_outlives_the_thread():
    started = []
    thread = threading.Thread(target=lambda: started.append(qemu.start(["sleep", "60"], [], os.devnull)))
    thread.start()
    thread.join()
    with pytest.raises(subprocess.TimeoutExpired):	# no death signal comes
        started[0].wait(0.2)
    started[0].kill()
    started[0].wait()


def test_process_ends_with_the_one_that_started_it():
    program = ("import os, sys; sys.path.insert(0, sys.argv[1]); from lab import qemu; "
               "print(qemu.start(['sleep', '600'], [], os.devnull).pid, flush=True); sys.stdin.read()")
    with subprocess.Popen([sys.executable, "-c", program, PROJECT], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as starter:
        pidfd = os.pidfd_open(int(starter.stdout.readline()))
        starter.kill()
    try:
        ended = select.select([pidfd], [], [], 60)[0]
        if not ended:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        assert ended, "it still ran after 60 s"
    finally:
        os.close(pidfd)


def test_disk_holds_the_folder(tmp_path):
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "f").write_text("inside\n")
    disk = image.make_disk(tmp_path / "d", 8, tree=tmp_path / "tree")
    assert image.read_file(disk, "/sub/f") == b"inside\n" and disk.stat().st_size == 8 << 20
    with pytest.raises(paths.LabError, match="not found"):
        image.read_file(disk, "/sub/g")


def test_long_script_is_refused_for_the_command_line(tmp_path):
    guest = image.GuestImage("r", tmp_path, tmp_path, tmp_path)
    assert guest.command_line("true").startswith(image.APPEND)
    with pytest.raises(paths.LabError, match="guest/run"):
        guest.command_line("x" * 3000)
