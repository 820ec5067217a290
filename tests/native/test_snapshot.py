# SPDX-License-Identifier: Apache-2.0
"""Snapshots and moves as an operator has them: by the command, with a guest that notices everything."""
import json
import os
import signal
import subprocess

import pytest

import pulse_report
from frame.moving import awaiting, check, ended
from frame.named import ARGS, PULSE, mark, marks, report_of, run_witness
from frame.paths import ROOT, outlive as program, outlive_vmm
from frame.qemu import HOST_CPU
from frame.wait import until
from frame.witness import CMDLINE

OK, FAILED, USAGE, NO_GUEST, REFUSED, TIMEOUT = range(6)


def goes_on_well(cli, name):
    """The guest writes and verifies, and finds nothing wrong."""
    with report_of(cli, name) as source:
        before = pulse_report.read(source)
        now = pulse_report.wait(source, lambda now: now["passes"] > before["passes"], 60)
    assert (now["faults"], now["state"]) == (0, "running"), now


def test_a_snapshot_is_a_step_back(cli, web):
    told = json.loads(cli("snapshot", "save", web, "before", "--json"))
    assert told["pause-ms"] > 0 and os.path.exists(told["file"])
    goes_on_well(cli, web)
    assert mark(cli, web) == 1
    assert "it runs" in cli("snapshot", "restore", web, "before", code=REFUSED)
    cli("pause", web)
    cli("snapshot", "restore", web, "before", "--force")
    assert marks(cli, web) == 0
    goes_on_well(cli, web)


def test_snapshots_are_listed_shown_and_deleted(cli, web, tmp_path):
    for name in ("one", "two"):
        cli("snapshot", "save", web, name, "--dir", tmp_path)
    rows = json.loads(cli("snapshot", "list", web, "--dir", tmp_path, "--json"))
    assert sorted(row["name"] for row in rows) == ["one", "two"] and all(row["size"] > 0 for row in rows)
    assert json.loads(cli("snapshot", "show", web, "one", "--dir", tmp_path))["guest"] == web
    cli("snapshot", "delete", web, "one", "--dir", tmp_path)
    assert "there is no snapshot 'one'" in cli("snapshot", "restore", web, "one", "--dir", tmp_path, code=FAILED)
    assert sorted(os.listdir(tmp_path)) == ["two.json", "two.snapshot"]


def test_a_guest_saved_with_stop_is_gone_until_it_is_restored(cli, web):
    cli("snapshot", "save", web, "night", "--stop")
    until(lambda: json.loads(cli("ls", "--json"))[0]["state"] == "ended", 60, "the guest has ended")
    cli("snapshot", "restore", web, "night")
    goes_on_well(cli, web)


FORMS = pytest.mark.parametrize("form", [(), ("--mapped",), ("--stream",), ("--compress", "zstd")],
                                ids=["packed", "mapped", "stream", "zstd"])


PAGED = ((), ("--mapped",))  # each page has a checksum


@FORMS
def test_a_snapshot_of_any_form_is_read_by_both_readers_and_restored(cli, web, form, tmp_path):
    path = json.loads(cli("snapshot", "save", web, "s", "--stop", "--json", *form))["file"]
    if "zstd" in form:
        subprocess.run(["zstd", "-dqo", tmp_path / "plain", path], check=True)
        path = tmp_path / "plain"
    ours = json.loads(cli("inspect", "--json", path))
    second = subprocess.run([ROOT / "tools" / "stream-reader", "--json", path], check=True, capture_output=True)
    assert json.loads(second.stdout) == ours
    assert ours["ram"]["pc.ram"]["normal"] > 20
    cli("snapshot", "restore", web, "s")
    goes_on_well(cli, web)


def flip(path, at):
    """One byte of a file is another."""
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0xFF]))


def test_forms_that_exclude_each_other_are_refused(cli, web):
    for other in (("--stream",), ("--compress", "zstd")):
        assert "--mapped" in cli("snapshot", "save", web, "s", "--mapped", *other, code=FAILED)
    words = ("uri=file:/dev/null", "outlive-packed=true")
    assert "only with outlive-mapped" in cli("qmp", web, "migrate", *words, code=FAILED)
    goes_on_well(cli, web)


def a_byte_of_a_page(cli, path):
    """Where in the file a page of guest RAM is that isn't zeros."""
    ours = json.loads(cli("inspect", "--json", path))["ram"]["pc.ram"]
    with open(path, "rb") as file:
        file.seek(ours["bitmap_at"])
        bitmap = int.from_bytes(file.read(ours["bytes"] // 4096 // 8), "little")
    page = bitmap.bit_length() - 1
    if ours["packed"]:
        page -= page % 256  # the first of its MiB, whichever that is
    return ours["pages_at"] + 4096 * page + 77


@pytest.mark.parametrize("where", ["ram", "end"])
@FORMS
def test_a_damaged_snapshot_is_refused_with_what_and_where(cli, web, form, where):
    path = json.loads(cli("snapshot", "save", web, "bad", "--stop", "--json", *form))["file"]
    at = int(os.path.getsize(path) * (0.98 if where == "end" else 0.3))
    if form in PAGED:
        at = a_byte_of_a_page(cli, path) if where == "ram" else json.loads(
            cli("inspect", "--json", path))["sections"][-1]["offset"]
    flip(path, at)
    message = cli("snapshot", "restore", web, "bad", code=FAILED)
    assert path in message, message
    if form in PAGED and where == "ram":
        assert "ram/pc.ram: damaged: the page at" in message and f"(byte {at - 77})" in message, message
    assert json.loads(cli("ls", "--json"))[0]["state"] == "ended"


@pytest.fixture
def full(cli):
    """A guest whose memory is full of what it checks; gives its name."""
    return run_witness(cli, "full", "32M", "rate=2M ws=4M fill=random verify=16M", 120)


def lazy_of(cli, name):
    """What query-migrate says of memory that is still missing; None: nothing is."""
    with report_of(cli, name) as source:
        return source.client.command("query-migrate").get("outlive-lazy")


def test_a_lazily_restored_guest_has_all_its_memory(cli, full):
    cli("snapshot", "save", full, "s", "--stop")
    cli("snapshot", "restore", full, "s", "--lazy")
    until(lambda: lazy_of(cli, full) is None, 60, "all memory is read")
    goes_on_well(cli, full)
    cli("upgrade", full, "--pause-timeout", 60)
    goes_on_well(cli, full)


def test_what_needs_all_memory_waits_for_a_lazy_restore(cli, full):
    cli("snapshot", "save", full, "s", "--stop")
    cli("snapshot", "restore", full, "s", "--lazy")
    cli("snapshot", "save", full, "again", "--stop")
    cli("snapshot", "restore", full, "again")
    goes_on_well(cli, full)


def test_damage_found_late_ends_a_lazily_restored_guest(cli, full):
    path = json.loads(cli("snapshot", "save", full, "s", "--stop", "--json"))["file"]
    at = a_byte_of_a_page(cli, path)
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(b"damage")
    subprocess.run([program(), "snapshot", "restore", full, "s", "--lazy"], env=cli.env, capture_output=True,
                   timeout=60, check=False)
    until(lambda: json.loads(cli("ls", "--json"))[0]["state"] == "ended", 60, "the guest has ended")
    assert f"damaged: the page at 0x1f00000 (byte {at - 77})" in cli("logs", full)


@pytest.mark.parametrize("form", [("--stream",), ("--compress", "zstd")], ids=["stream", "zstd"])
def test_only_pages_at_fixed_places_can_be_restored_lazily(cli, web, form):
    cli("snapshot", "save", web, "s", "--stop", *form)
    assert "can't be restored lazily" in cli("snapshot", "restore", web, "s", "--lazy", code=FAILED)


def test_a_half_written_snapshot_has_no_name_and_leaves_nothing(cli, web, tmp_path):
    cli("qmp", web, "migrate-set-parameters", "max-bandwidth=1000000")
    cli("qmp", web, "migrate", f"uri=file:{tmp_path / 'x.snapshot'}")
    until(lambda: json.loads(cli("qmp", web, "query-migrate"))["status"] == "active", 60, "it is being written")
    pid = json.loads(cli("ls", "--json"))[0]["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: json.loads(cli("ls", "--json"))[0]["state"] == "ended", 60, "the guest has ended")
    assert os.listdir(tmp_path) == []


def test_a_guest_that_no_file_describes_runs_on(cli, web, tmp_path):
    """--stop ends the guest only when its snapshot is known: without a description nobody finds it."""
    (tmp_path / "s.json.new").mkdir()
    assert "s.json" in cli("snapshot", "save", web, "s", "--stop", "--dir", tmp_path, code=FAILED)
    goes_on_well(cli, web)
    (tmp_path / "s.json.new").rmdir()
    cli("snapshot", "delete", web, "s", "--dir", tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_guest_that_runs_is_not_ended_for_a_file_that_cannot_be_it(cli, web):
    path = json.loads(cli("snapshot", "save", web, "s", "--json"))["file"]
    os.truncate(path, os.path.getsize(path) - 4096)
    assert "isn't what s.json describes" in cli("snapshot", "restore", web, "s", "--force", code=FAILED)
    os.unlink(path)
    assert "No such file" in cli("snapshot", "restore", web, "s", "--force", code=FAILED)
    goes_on_well(cli, web)


@FORMS
def test_a_guest_that_runs_is_not_ended_for_a_damaged_file(cli, web, form):
    path = json.loads(cli("snapshot", "save", web, "s", "--json", *form))["file"]
    vmm = [outlive_vmm(), "-verify-snapshot", path]
    assert subprocess.run(vmm, check=True, capture_output=True).stdout == b""
    places = [os.path.getsize(path) // 3, os.path.getsize(path) - 5000]
    if form in PAGED:
        places = [a_byte_of_a_page(cli, path), json.loads(cli("inspect", "--json", path))["sections"][-1]["offset"]]
    for at in places:
        flip(path, at)
        assert path in cli("snapshot", "restore", web, "s", "--force", code=FAILED)
        flip(path, at)
    if form in PAGED:
        flip(path, places[0])
        assert f"(byte {places[0] - 77}" in cli("snapshot", "restore", web, "s", "--force", "--lazy", code=FAILED)
        flip(path, places[0])
    goes_on_well(cli, web)
    cli("snapshot", "restore", web, "s", "--force")
    goes_on_well(cli, web)


@pytest.mark.parametrize("mapped", ["true", "false"], ids=["mapped", "stream"])
def test_a_stream_behind_something_else_in_a_file(cli, web, mapped, tmp_path):
    """As programs have it that put a header of their own in front: file:PATH,offset=N."""
    path = tmp_path / "image"
    path.write_bytes(b"header" * 1000)
    cli("qmp", web, "migrate", f"uri=file:{path},offset=5000", "outlive-continue=true", f"outlive-mapped={mapped}")
    until(lambda: json.loads(cli("qmp", web, "query-migrate"))["status"] == "completed", 60, "it is written")
    assert path.read_bytes()[:5000] == (b"header" * 1000)[:5000]
    ours = json.loads(cli("inspect", "--json", "--offset", 5000, path))
    second = subprocess.run([ROOT / "tools" / "stream-reader", "--json", "--offset", "5000", path], check=True,
                            capture_output=True)
    assert json.loads(second.stdout) == ours
    assert "not a migration stream" in cli("inspect", path, code=FAILED)
    cli("kill", web)
    for kind in ("file", "lazy") if mapped == "true" else ("file",):
        cli("run", "again", "-m", "64M", "--bios", PULSE, "--", "-cpu", "host", "-incoming",
            f"{kind}:{path},offset=5000")
        until(lambda: json.loads(cli("qmp", "again", "query-status"))["status"] == "running", 60, "it has arrived")
        goes_on_well(cli, "again")
        cli("kill", "again")


def main(**addr):
    """The only channel of a migration, as QEMU from 8.2 on has them."""
    return {"channels": [{"channel-type": "main", "addr": addr}]}


def test_channels_say_where_to_and_where_from(cli, web, tmp_path):
    quoted = tmp_path / "a 'quoted' name"
    for to in (main(transport="file", filename=f"{tmp_path}/plain", offset=4096),
               main(transport="exec", args=["/bin/sh", "-c", 'cat > "$0"', str(quoted)])):
        cli("qmp", web, "migrate", json.dumps(to))
        until(lambda: json.loads(cli("qmp", web, "query-migrate"))["status"] == "completed", 60, "it is written")
        cli("resume", web)
    goes_on_well(cli, web)
    for said, words in (("one of them must be given", {}),
                        ("one of them must be given", {"uri": "unix:/x", **main(transport="file", filename="/x")}),
                        ("one is needed", {"channels": []}),
                        ("addr.port' is missing", main(transport="socket", type="inet", host="::1"))):
        assert said in cli("qmp", web, "migrate", json.dumps(words), code=FAILED)
    for said, words in (("::1", main(transport="socket", type="inet", host="::1", port="1")),
                        ("No such file", main(transport="socket", type="unix", path="/nowhere/at.all"))):
        cli("qmp", web, "migrate", json.dumps(words))
        until(lambda: json.loads(cli("qmp", web, "query-migrate"))["status"] == "failed", 60, "nobody is there")
        assert said in json.loads(cli("qmp", web, "query-migrate"))["error-desc"]
    cli("kill", web)
    for number, origin in enumerate((main(transport="file", filename=f"{tmp_path}/plain", offset=4096),
                                     main(transport="exec", args=["cat", str(quoted)]))):
        name = f"again{number}"
        cli("run", name, "-m", "64M", "--bios", PULSE, "--", "-cpu", HOST_CPU, "-incoming", "defer")
        cli("qmp", name, "migrate-incoming", json.dumps(origin))
        until(lambda name=name: json.loads(cli("qmp", name, "query-status"))["status"] == "running", 60, "it is here")
        goes_on_well(cli, name)


def test_paths_begin_where_the_guest_was_started(cli, tmp_path):
    (tmp_path / "disk.img").write_bytes(bytes(1 << 20))
    subprocess.run([program(), "run", "far", "-m", "32M", "--bios", PULSE, "--disk", "disk.img", "--", "-cpu", "host",
                    "-fw_cfg", f"name={CMDLINE},string={ARGS}"], env=cli.env, cwd=tmp_path, check=True, timeout=60)
    with report_of(cli, "far") as source:
        pulse_report.wait(source, "ready", 60)
    cli("snapshot", "point", "far", "p")
    cli("snapshot", "save", "far", "s", "--stop")
    cli("snapshot", "restore", "far", "s")
    goes_on_well(cli, "far")
    cli("kill", "far")
    cli("snapshot", "rollback", "far", "p")
    cli("snapshot", "clone", "far", "p", "twin")
    goes_on_well(cli, "twin")
    assert sorted(os.listdir(tmp_path)) == ["disk.img", "twin-disk.img"]


def test_what_is_no_file_is_left_as_it_is(cli, web, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real").write_bytes(b"old")
    for uri, said in ((f"file:{tmp_path}/pipe", "is no regular file"), (f"file:{tmp_path}", "is no regular file"),
                      (f"file:{tmp_path}/real,offset=soon", "is no size")):
        assert said in cli("migrate", web, uri, code=FAILED)
    assert (tmp_path / "real").read_bytes() == b"old"
    cli("qmp", web, "migrate", f"uri=file:{tmp_path}/link", "outlive-continue=true")
    until(lambda: json.loads(cli("qmp", web, "query-migrate"))["status"] == "completed", 60, "it is written")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").stat().st_size > 100000
    goes_on_well(cli, web)


def test_inspect_shows_what_there_is_of_a_stream(cli, web, tmp_path):
    path = json.loads(cli("snapshot", "save", web, "s", "--stream", "--json"))["file"]
    with open(path, "rb") as file:
        piped = subprocess.run([program(), "inspect", "--json", "-"], input=file.read(), check=True,
                               capture_output=True)
    assert json.loads(piped.stdout) == json.loads(cli("inspect", "--json", path))
    os.truncate(path, os.path.getsize(path) - 200000)
    cut = subprocess.run([program(), "inspect", path], check=False, capture_output=True, text=True)
    assert cut.returncode == FAILED and "block pc.ram, 67108864 bytes" in cut.stdout and "cut short" in cut.stderr
    packed = tmp_path / "packed"
    subprocess.run(["zstd", "-qo", packed, path], check=True)
    assert "zstd -dc FILE | outlive inspect -" in cli("inspect", packed, code=FAILED)
    packed.write_bytes(os.urandom(100000))
    assert "not a migration stream" in cli("inspect", packed, code=FAILED)


def test_the_command_moves_a_guest_and_ends_what_it_left(cli, web, outlive):
    there = awaiting(outlive, args=ARGS)
    try:
        uri = f"unix:{there.vmm.path('migrate.sock')}"
        there.vmm.qmp.command("migrate-incoming", uri=uri)
        assert "migrated in" in cli("migrate", web, uri)
        assert ended(there.vmm)["status"] == "completed"
        check(there)
        assert json.loads(cli("ls", "--json"))[0]["state"] == "ended"
    finally:
        there.close()


def test_an_interrupt_cancels_and_the_guest_runs_on(cli, web, outlive):
    there = awaiting(outlive, args=ARGS)
    try:
        uri = f"unix:{there.vmm.path('migrate.sock')}"
        there.vmm.qmp.command("migrate-incoming", uri=uri)
        with subprocess.Popen([program(), "migrate", web, uri, "--bandwidth", "1", "--json"], env=cli.env,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as moving:
            assert json.loads(moving.stdout.readline())["status"] in ("setup", "active")
            moving.send_signal(signal.SIGINT)
            out, err = moving.communicate(timeout=60)
        assert json.loads(out.splitlines()[-1])["status"] == "cancelled"
        assert moving.returncode == FAILED and "the guest runs on here" in err
        goes_on_well(cli, web)
    finally:
        there.close()


def test_the_command_says_why_it_failed(cli, web):
    assert "No such file" in cli("migrate", web, "unix:/nowhere/at.all", code=FAILED)
    assert "isn't tcp:" in cli("migrate", web, "carrier:pigeon", code=FAILED)
    goes_on_well(cli, web)
