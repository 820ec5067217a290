# SPDX-License-Identifier: Apache-2.0
"""The outlive command, on VMMs without a machine: names, states, exit codes, help, completion."""
import json
import os
import pty
import re
import shutil
import subprocess
import termios
from pathlib import Path

import pytest

from frame.paths import outlive, outlive_vmm

TOP = Path(__file__).resolve().parents[2]
OK, FAILED, USAGE, NO_GUEST, REFUSED, TIMEOUT = range(6)


@pytest.fixture
def cli(run_dir):
    """Runs the command; what still runs afterwards is killed."""
    env = {**os.environ, "OUTLIVE_RUN_DIR": str(run_dir), "OUTLIVE_VMM": str(outlive_vmm())}

    def call(*words, code=OK, **how):
        done = subprocess.run([outlive(), *words], env=env, capture_output=True, text=True,
                              timeout=60, check=False, **{"stdin": subprocess.DEVNULL, **how})
        assert done.returncode == code, done.stderr
        return done.stdout if code == OK else done.stderr

    call.env = env
    yield call
    for name in call("ls", "--names").split():
        subprocess.run([outlive(), "kill", name], env=env, capture_output=True, timeout=60,
                       check=False)


@pytest.fixture
def guest(cli):
    """The name of a guest that runs (without a machine)."""
    cli("run", "web", "--machine", "none", "-m", "512M")
    return "web"


def test_a_guest_has_a_name_a_state_and_an_end(cli, guest):
    """run, ls, kill; what ended is shown as ended, and may be started anew."""
    row, = json.loads(cli("ls", "--json"))
    assert (row["name"], row["state"], row["memory"]) == (guest, "prelaunch", "512M")
    assert os.path.exists(f"/proc/{row['pid']}")
    assert "web" in cli("ls").splitlines()[1]
    cli("kill", guest)
    assert not os.path.exists(f"/proc/{row['pid']}/exe")
    row, = json.loads(cli("ls", "--json"))
    assert (row["state"], row["pid"]) == ("ended", None)
    assert "terminating on signal" in cli("logs", guest)
    cli("run", guest, "--machine", "none")


def test_a_stale_pid_file_is_no_guest(cli, guest, run_dir):
    """The lock says who lives, not the number."""
    cli("kill", guest)
    (run_dir / guest / "pid").write_text(f"{os.getpid()}\n")
    assert json.loads(cli("ls", "--json"))[0]["state"] == "ended"
    assert "has ended" in cli("kill", guest, code=NO_GUEST)


@pytest.mark.parametrize("words,code,said", [
    (("info", "nobody"), NO_GUEST, "there is no guest 'nobody'"),
    (("info", "../etc"), USAGE, "is not a name"),
    (("lss",), USAGE, "did you mean 'ls'?"),
    (("run", "x", "--memroy", "1G"), USAGE, "did you mean 'memory'?"),
    (("run",), USAGE, "usage: outlive run NAME"),
    (("device",), USAGE, "outlive device add"),
    (("run", "x", "--net", "wifi=x", "--dry-run"), USAGE, "tap=NAME"),
    (("qmp", "x", "query-status", "novalue"), USAGE, "KEY=VALUE"),
    (("migrate", "x", "tcp:host2:1", "--downtime", "1s"), USAGE, "--downtime 1s: a number is expected"),
    (("adopt", "sock", "--downtime=-5"), USAGE, "--downtime -5: a number is expected"),
    (("migrate", "x", "tcp:host2:1", "--bandwidth", "inf"), USAGE, "--bandwidth inf: a number is expected"),
    (("upgrade", "x", "--timeout", ""), USAGE, "--timeout : a number is expected"),
    (("upgrade", "x", "--pause-timeout", "soon"), USAGE, "--pause-timeout soon: a number is expected"),
    (("run", "x", "--machine", "q53"), FAILED, "did you mean 'q35'?"),
])
def test_errors_have_their_codes_and_words(cli, words, code, said):
    """Documented exit codes, and a hint."""
    assert said in cli(*words, code=code)


def test_a_running_guest_is_not_started_twice(cli, guest):
    """And nothing of it is touched."""
    assert "runs already" in cli("run", guest, "--machine", "none", code=REFUSED)
    assert json.loads(cli("ls", "--json"))[0]["state"] == "prelaunch"


def test_qmp_by_hand(cli, guest):
    """Values are JSON where they can be; errors are the VMM's."""
    assert json.loads(cli("qmp", guest, "query-status"))["status"] == "prelaunch"
    cli("qmp", guest, "chardev-add", "id=r", 'backend={"type":"ringbuf","data":{"size":16}}')
    cli("qmp", guest, "ringbuf-write", '{"device":"r","data":"hi"}')
    assert json.loads(cli("qmp", guest, "ringbuf-read", "device=r", "size=5")) == "hi"
    assert "did you mean 'query-name'" in cli("qmp", guest, "qeury-name", code=FAILED)


def test_dry_run_shows_a_command_line_that_the_shell_takes(cli):
    """Names with commas and blanks are escaped, what follows -- is passed on."""
    line = cli("run", "x", "--dry-run", "-d", "my disk,1.img", "-a", "a b", "--", "-S")
    argv = json.loads(cli("run", "x", "--dry-run", "--json", "-d", "my disk,1.img", "-a", "a b",
                          "--", "-S"))
    assert "file.filename=my disk,,1.img" in argv[argv.index("-blockdev") + 1]
    assert argv[-1] == "-S" and argv[argv.index("-append") + 1] == "a b"
    echoed = subprocess.run(["sh", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True,
                            check=True).stdout.splitlines()
    assert echoed[echoed.index("-append") + 1] == "a b"


def test_the_console_leaves_by_its_escape_and_restores_the_terminal(cli, guest):
    """C-] ends it; the settings are those from before."""
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    with subprocess.Popen([outlive(), "console", guest], env=cli.env, stdin=theirs, stdout=theirs,
                          stderr=subprocess.PIPE, text=True) as console:
        assert "C-] leaves" in console.stderr.readline()
        os.write(ours, b"\x1d")
        assert console.wait(timeout=60) == OK
        console.stderr.read()
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def test_doctor_judges_every_point(cli):
    """Each with a level; what isn't good has a cost."""
    done = subprocess.run([outlive(), "doctor", "--json"], env=cli.env, capture_output=True,
                          text=True, timeout=60, check=False)
    checks = json.loads(done.stdout)
    assert len(checks) >= 12
    for check in checks:
        assert check["level"] in ("good", "could be better", "missing"), check
        assert check["found"] and (check["level"] == "good" or check["cost"]), check
    essential = any(c["essential"] and c["level"] == "missing" for c in checks)
    assert done.returncode == (FAILED if essential else OK)


def test_doctor_tells_missing_rights_from_a_missing_module(cli, tmp_path):
    """As an ordinary user on a /dev with a tun that only root may open, and without vhost-net."""
    if os.geteuid() != 0:
        pytest.skip("another /dev needs root")
    program = tmp_path / "outlive"
    shutil.copy(outlive(), program)
    script = ("mount -t tmpfs none /dev && mkdir /dev/net && mknod -m 0600 /dev/net/tun c 10 200 && "
              f"mount --bind {tmp_path} /mnt && chmod 755 /mnt && exec setpriv --reuid=65534 --regid=65534 "
              "--clear-groups /mnt/outlive doctor --json")
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], env=cli.env, capture_output=True, text=True,
                          timeout=60, check=False)
    mends = {one["check"]: one["mend"] for one in json.loads(done.stdout)}
    assert "chmod" in mends["tun/tap"] and mends["vhost-net"] == "modprobe vhost_net"


def test_every_command_has_help_with_examples(cli):
    """--help of all, from the table."""
    names = cli("--list-words").splitlines()
    assert {"run", "ls", "device add", "doctor"} <= set(names)
    for name in names:
        text = cli(*name.split(), "--help")
        assert f"Usage: outlive {name}" in text and "Examples:" in text
    everything = cli("--help")
    assert all(name in everything for name in names)


def test_the_man_page_names_every_command_and_option(cli):
    """docs/man/outlive.1 against the table."""
    page = (TOP / "docs/man/outlive.1").read_text(encoding="utf-8").replace("\\-", "-")
    for name in cli("--list-words").splitlines():
        assert re.search(rf"^\.BI?R? \"?{name}\b", page, re.M), f"{name} is missing"
        for option in cli("--list-words", *name.split()).split():
            assert option in page, f"{name} {option} is missing"


def test_the_man_page_names_every_option_of_the_vmm():
    """docs/man/outlive-vmm.1 against the option table, with the same arguments."""
    page = (TOP / "docs/man/outlive-vmm.1").read_text(encoding="utf-8").replace("\\-", "-")
    told = subprocess.run([outlive_vmm(), "--help"], capture_output=True, text=True, check=True)
    options = re.findall(r"^  (-\S+)", told.stdout, re.M)
    assert len(options) > 50
    for option in options:
        assert re.search(rf"^\.B {re.escape(option)}( |$)", page, re.M), f"{option} is missing"


def test_completion_offers_commands_options_and_guests(cli, guest, tmp_path):
    """The bash function itself, as a shell would call it."""
    def complete(*words):
        script = (f"PATH={outlive().parent}:$PATH; . {TOP}/packaging/bash-completion/outlive; "
                  f"COMP_WORDS=({' '.join(words)} ''); COMP_CWORD={len(words)}; "
                  'COMP_WORDS[COMP_CWORD]=$LAST; _outlive outlive; printf "%s\\n" "${COMPREPLY[@]}"')
        return lambda last: subprocess.run(
            ["bash", "-c", script], env={**cli.env, "LAST": last}, capture_output=True, text=True,
            check=True).stdout.split()

    assert "doctor" in complete("outlive")("do")
    assert complete("outlive", "device")("") == ["ls", "add", "rm"]
    assert complete("outlive", "stop")("--f") == ["--force"]
    assert complete("outlive", "info")("") == [guest]


@pytest.mark.parametrize("words,said", [
    (("-machine", "help"), "pc-q35-7.2"),
    (("-object", "help"), "memory-backend-memfd"),
    (("-object", "memory-backend-memfd,help"), "hugetlb"),
    (("-chardev", "help"), "ringbuf"),
    (("-chardev", "socket,help"), "reconnect"),
    (("-device", "help"), "isa-serial"),
    (("-device", "isa-serial,help"), "chardev"),
    (("-netdev", "help"), "tap"),
    (("-cpu", "help"), "host"),
    (("--version",), "outlive"),
])
def test_the_vmm_answers_help_everywhere(words, said):
    """Exit code 0, on standard output."""
    done = subprocess.run([outlive_vmm(), *words], capture_output=True, text=True, timeout=60,
                          check=True)
    assert said in done.stdout
