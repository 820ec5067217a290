# SPDX-License-Identifier: Apache-2.0
"""outlive migrate NAME ssh://HOST/NAME: another host's VMM is started by ssh, and the guest goes there."""
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

import pulse_report
from frame.moving import check
from frame.named import PULSE, report_of
from frame.paths import outlive
from frame.process import alive, command_line, descendants
from frame.qemu import HOST_CPU
from frame.sshd import NAME, OtherHost, keygen
from frame.standing import Command, StandingWitness
from frame.wait import until
from frame.witness import CMDLINE

OK, FAILED, USAGE, REFUSED = 0, 1, 2, 4
URI = f"ssh://{NAME}/web"
WRITES = "rate=2M ws=4M verify=32M fill=half"
MANY = "rate=200M ws=48M fill=all"  # more than a slow link takes
RELAY = pathlib.Path(__file__).with_name("ssh_relay.py")


@pytest.fixture
def other(run_dir, tmp_path, kvm):
    """The other host."""
    (run_dir / "there").mkdir()
    host = OtherHost(tmp_path / "other", run_dir / "there")
    yield host
    host.stop()


@pytest.fixture
def here(run_dir, other):
    """The outlive command on this host, which reaches the other one."""
    (run_dir / "here").mkdir()
    command = Command(run_dir / "here")
    command.env["OUTLIVE_SSH"] = other.ssh
    yield command
    command.end()


@pytest.fixture
def there(other, here):
    """The outlive command on the other host."""
    command = Command(other.guests)
    command.env["OUTLIVE_SSH"] = other.ssh
    yield command
    command.end()


def run(here, *options, args=WRITES, memory="64M", name="web", more=()):
    """Start the witness by name, and wait until it is ready."""
    here("run", name, "-m", memory, "--bios", PULSE, *options, "--", "-cpu", HOST_CPU,
         "-fw_cfg", f"name={CMDLINE},string={args}", *more)
    with report_of(here, name) as source:
        pulse_report.wait(source, "ready", 60)


def state(command, name="web"):
    """What ls says of a guest, or None."""
    rows = [row for row in json.loads(command("ls", "--json")) if row["name"] == name]
    return rows[0]["state"] if rows else None


def verify(command, name="web"):
    """The guest runs there, and has verified all of its memory."""
    folder = command.folder / name
    with StandingWitness(folder / "qmp.sock", folder / "log", folder / "console.sock") as witness:
        return check(witness)


def stays(here, there):
    """Nothing has changed: the guest runs here, and nothing is over there."""
    until(lambda: not any(there.folder.iterdir()), 60, "nothing is left over there")
    assert state(here) == "running"
    verify(here)


def mismatches(here, *words):
    """What "outlive check" finds over there."""
    done = subprocess.run([outlive(), "check", "web", URI, "--json", *map(str, words)], env=here.env, text=True,
                          capture_output=True, check=False)
    found = json.loads(done.stdout)["mismatches"]
    assert done.returncode == (REFUSED if found else OK), done
    return found


def image(path, size=1 << 20):
    """An empty disk."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    return path


@pytest.fixture
def taps():
    """Taps tap0 and tap1."""
    names = ("tap0", "tap1")
    for name in names:
        subprocess.run(["ip", "tuntap", "add", name, "mode", "tap"], check=True)
    yield names
    for name in names:
        subprocess.run(["ip", "link", "delete", name], check=True)


def test_a_guest_goes_to_another_host_and_lives_on_when_ssh_has_ended(here, there, other, tmp_path):
    run(here, "-d", image(tmp_path / "disk"))
    said = here("migrate", "web", URI)
    assert "web: migrated in" in said
    assert (state(here), state(there)) == ("ended", "running")
    other.stop()
    pid = json.loads(there("ls", "--json"))[0]["pid"]
    assert os.getsid(pid) == pid
    verify(there)


def test_a_guest_that_came_goes_on_with_what_was_plugged_since(here, there):
    run(here, more=("-device", "pcie-root-port,id=port,chassis=1"))
    here("migrate", "web", URI)
    there("device", "add", "web", "virtio-rng-pci,id=rng,bus=port")
    lines = there("migrate", "web", f"ssh://{NAME}/again", "--json").splitlines()
    assert json.loads(lines[-1])["status"] == "completed"
    assert (state(there), state(there, "again")) == ("ended", "running")
    assert "rng" in there("device", "ls", "again")
    verify(there, "again")


def test_what_is_missing_over_there_is_listed_with_the_way_to_name_it(taps, here, there, tmp_path):
    disk = image(tmp_path / "disk")
    run(here, "-d", disk, "-n", "tap=tap0")
    maps = ("--map", f"path:{disk}=/nowhere/disk", "--map", "tap:tap0=tap9")
    said = here("migrate", "web", URI, *maps, code=REFUSED)
    assert f"disk disk0 /nowhere/disk (there {disk}): it isn't here" in said
    assert f"--map path:{disk}=" in said and "netdev net0: tap tap9 (there tap0)" in said
    assert "2 reasons" in said and "nothing has changed" in said
    assert len(mismatches(here, *maps)) == 2
    stays(here, there)


def test_rules_of_the_target_name_disks_and_taps(taps, here, there, other, tmp_path):
    disk = image(tmp_path / "a" / "disk")
    (tmp_path / "b").mkdir()
    os.link(disk, tmp_path / "b" / "disk")  # what shared storage looks like under another path
    run(here, "-d", disk, "-n", "tap=tap0")
    other.all_rules.write_text(f"# storage\npath {tmp_path}/a = /nowhere\ntap tap0 = tap1\n")
    assert "/nowhere/disk" in mismatches(here)[0]
    other.rules.write_text(f"path {tmp_path}/a/ = {tmp_path}/b/\n")
    here("migrate", "web", URI)
    argv = json.loads((there.folder / "web" / "launch.json").read_text())["argv"]
    assert any(f"filename={tmp_path}/b/disk" in word for word in argv), argv
    assert any("ifname=tap1" in word for word in argv), argv
    verify(there)


def test_a_rule_that_cannot_be_understood_is_named_with_its_line(here, there, other):
    run(here)
    other.rules.write_text("\n# fine\npth /a = /b\n")
    said = here("migrate", "web", URI, code=FAILED)
    assert "receive.conf:3" in said and "did you mean 'path'" in said
    stays(here, there)


def test_a_disk_of_the_same_name_that_is_another_file_is_refused(here, there, tmp_path):
    disk, copy = image(tmp_path / "disk"), image(tmp_path / "copy")
    run(here, "-d", disk)
    said = here("migrate", "web", URI, "--map", f"path:{disk}={copy}", code=REFUSED)
    assert "another file" in said and "--copied" in said
    stays(here, there)
    here("migrate", "web", URI, "--map", f"path:{disk}={copy}", "--copied")
    verify(there)


def test_check_asks_and_moves_nothing(here, there, tmp_path):
    disk, small = image(tmp_path / "disk"), image(tmp_path / "small", 1 << 19)
    run(here, "-d", disk)
    assert "nothing stands in the way" in here("check", "web", URI)
    found = mismatches(here, "--copied", "--map", f"path:{disk}={small}")
    assert "1048576 bytes, the target's 524288" in found[0]
    stays(here, there)


def began(here):
    """A migration that takes its time; memory goes over when this returns."""
    job = here.begin("migrate", "web", URI, "--bandwidth", 60, "--json")
    for line in job.stdout:
        if json.loads(line).get("ram", {}).get("transferred"):
            return job
    raise AssertionError(job.communicate())


def command_name(pid):
    """A process's own name."""
    return pathlib.Path(f"/proc/{pid}/comm").read_text() if alive(pid) else ""


def test_ctrl_c_cancels_and_leaves_nothing_over_there(here, there):
    run(here, args=MANY)
    job = began(here)
    job.send_signal(signal.SIGINT)
    _, complaint = job.communicate(timeout=60)
    assert job.returncode == FAILED and "cancelled; the guest runs on here" in complaint, complaint
    stays(here, there)
    here("migrate", "web", URI, "--downtime", 2000)
    verify(there)


def test_ssh_killed_on_the_way_leaves_the_guest_here(here, there):
    run(here, args=MANY)
    job = began(here)
    for pid in descendants(job.pid):
        if command_name(pid).startswith("ssh"):
            os.kill(pid, signal.SIGKILL)
    _, complaint = job.communicate(timeout=60)
    assert job.returncode == FAILED, complaint
    stays(here, there)


def test_ctrl_c_while_ssh_hangs_ends_it(here, there):
    run(here)
    job = here.begin("migrate", "web", URI, "--ssh", "sleep 600 #")
    until(lambda: "sleep" in "".join(map(command_name, descendants(job.pid))), 60, "ssh has begun")
    job.send_signal(signal.SIGINT)
    _, complaint = job.communicate(timeout=60)
    assert job.returncode == FAILED and "cancelled; the guest runs on here" in complaint, complaint
    stays(here, there)


def test_the_receiver_killed_on_the_way_leaves_the_guest_here(here, there):
    run(here)
    job = began(here)
    for pid in descendants():
        if command_line(pid).endswith("receive web") and command_name(pid).strip() == "outlive":
            os.kill(pid, signal.SIGKILL)
    job.communicate(timeout=60)
    assert job.returncode == FAILED
    until(lambda: state(there) == "ended", 60, "the VMM over there ends by itself")
    assert state(here) == "running"
    verify(here)


def test_an_upgraded_guest_goes_to_another_host(here, there, tmp_path):
    run(here, "-d", image(tmp_path / "disk"))
    here("upgrade", "web", "--pause-timeout", 60)
    here("migrate", "web", URI)
    verify(there)
    there("upgrade", "web", "--pause-timeout", 60)
    verify(there)


def test_the_command_killed_on_the_way_leaves_the_guest_in_one_place(here, there):
    run(here)
    job = began(here)
    job.kill()
    job.communicate()
    until(lambda: state(there) == "running", 60, "the guest arrives without the command")
    until(lambda: state(here) == "postmigrate", 60, "the word that it has arrived gets here, by ssh")
    verify(there)


def test_a_word_lost_at_the_last_moment_is_asked_for(here, there, other, tmp_path):
    run(here)
    said = here("migrate", "web", URI, "--ssh", f"{sys.executable} {RELAY} word {tmp_path}/flag {other.ssh}")
    assert "migrated" in said
    assert (state(here), state(there)) == ("ended", "running")
    verify(there)


def test_a_guest_whose_last_bytes_were_lost_runs_on_here(here, there, other, tmp_path):
    run(here, args="rate=1M ws=1M verify=8M")
    said = here("migrate", "web", URI, "--ssh",
                f"{sys.executable} {RELAY} rest {tmp_path}/flag {other.ssh}", code=FAILED)
    assert "the guest runs on here" in said, said
    stays(here, there)


def test_a_host_that_cannot_say_leaves_the_guest_stopped_with_what_to_do(here, there, other, tmp_path):
    run(here)
    script = tmp_path / "ssh"
    script.write_text(f"#!/bin/sh\n[ -e {tmp_path}/flag ] && exit 255\n"
                      f"exec {sys.executable} {RELAY} word {tmp_path}/flag {other.ssh} \"$@\"\n")
    script.chmod(0o755)
    said = here("migrate", "web", URI, "--ssh", script, code=FAILED)
    assert "stays stopped here" in said and "outlive resume web" in said, said
    assert (state(here), state(there)) == ("postmigrate", "running")


@pytest.mark.parametrize("break_it, words", [
    (lambda o, t: o.client(HostName="no-such-host.invalid"), ("ssh to other failed", "~/.ssh/config")),
    (lambda o, t: o.client(Port=2223), ("Connection refused", "is sshd running there")),
    (lambda o, t: o.client(IdentityFile=keygen(t / "stranger")), ("Permission denied", "ssh-copy-id")),
    (lambda o, t: o.know(pathlib.Path(f"{keygen(t / 'impostor')}.pub")),
     ("Host key verification failed", "ssh-keygen -R")),
], ids=["unknown-host", "no-sshd", "key-refused", "host-key"])
def test_what_ssh_complains_of_comes_with_a_remedy(here, there, other, tmp_path, break_it, words):
    run(here)
    break_it(other, tmp_path)
    said = here("migrate", "web", URI, code=FAILED)
    assert all(word in said for word in words), said
    stays(here, there)


@pytest.mark.parametrize("script, words", [
    (None, ("no outlive was found on other", "--program PATH")),
    ("echo '{\"outlive-receive\": 7, \"version\": \"9.0\"}'", ("(9.0) speaks version 7", "the same version")),
    ("echo \"outlive: there is no command 'receive'\" >&2; exit 2", ("too old to receive",)),
    ("echo 'Welcome to my shell'; exit 3", ("exit status 3",)),
], ids=["none", "newer", "older", "something-else"])
def test_another_outlive_over_there_is_named(here, there, tmp_path, script, words):
    run(here)
    program = tmp_path / "outlive"
    if script:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    said = here("migrate", "web", URI, "--program", program, code=FAILED)
    assert all(word in said for word in words), said
    stays(here, there)


def test_what_a_shell_prints_before_is_not_taken_for_an_answer(here, there, tmp_path):
    run(here)
    program = tmp_path / "outlive"
    program.write_text(f"#!/bin/sh\necho 'Have a nice day'; echo; exec {outlive()} \"$@\"\n")
    program.chmod(0o755)
    here("migrate", "web", URI, "--program", program)
    verify(there)


def test_a_guest_of_that_name_over_there_is_left_alone(here, there):
    run(there)
    run(here)
    assert "runs already" in here("migrate", "web", URI, code=FAILED)
    verify(here)
    verify(there)


def test_memory_goes_directly_over_several_connections_if_asked_for(here, there):
    run(here)
    said = here("migrate", "web", URI, "--channels", 2, code=USAGE)
    assert "--direct tcp:HOST:PORT" in said
    lines = here("migrate", "web", URI, "--direct", "tcp:127.0.0.1:4715", "--channels", 2, "--json").splitlines()
    assert json.loads(lines[-1])["ram"]["multifd-bytes"] > 1 << 20
    verify(there)


def test_an_address_that_the_target_has_not_leaves_nothing(here, there):
    run(here)
    assert "192.0.2.1" in here("migrate", "web", URI, "--direct", "tcp:192.0.2.1:4716", code=FAILED)
    stays(here, there)


def test_options_for_ssh_are_refused_without_it(here):
    run(here)
    assert "--map is for ssh://HOST/NAME only" in here("migrate", "web", "tcp:a:1", "--map", "tap:a=b", code=USAGE)
    for uri in ("ssh://host", "ssh:///web", "ssh://host/a/b", "ssh://-oProxyCommand=x/web", "ssh://h:x/web"):
        assert "isn't ssh://" in here("migrate", "web", uri, code=USAGE), uri
