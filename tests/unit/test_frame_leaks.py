# SPDX-License-Identifier: Apache-2.0
"""The leak guard fails a test that leaves something behind, and names it.

Each case runs one bad test in a pytest of its own, with the frame loaded as a plugin.
"""
import os
import signal
import subprocess
import sys
import tempfile

import pytest

from frame import leaks
from frame.paths import ROOT
from frame.process import command_line
from frame.wait import until

BAD = {
    "a child process": ("""
        subprocess.Popen(["sleep", "77.5"])
        """, ["processes: ", "sleep 77.5"]),
    "an orphan in a session of its own": ("""
        subprocess.run("setsid sleep 77.5 & echo $! > /dev/null", shell=True, check=True)
        """, ["processes: ", "sleep 77.5"]),
    "a file in the run folder": ("""
        open(os.environ["XDG_RUNTIME_DIR"] + "/forgotten", "w").close()
        """, ["files: ", "/forgotten"]),
    "a temporary file": ("""
        os.close(tempfile.mkstemp(prefix="scratch")[0])
        """, ["files: ", "/scratch"]),
    "a network namespace": ("""
        subprocess.run(["ip", "netns", "add", "ol-left"], check=True)
        """, ["namespaces: /run/netns/ol-left"]),
    "a tap": ("""
        subprocess.run(["ip", "tuntap", "add", "mode", "tap", "name", "oltap9"], check=True)
        """, ["interfaces: oltap9"]),
    "shared memory": ("""
        open("/dev/shm/ol-left", "w").close()
        """, ["shared_memory: /dev/shm/ol-left"]),
}
NEEDS_ROOT = {"a network namespace", "a tap", "shared memory"}


def inner(tmp_path, body, *options):
    """Run a file with one bad test and a good one after it; returns the finished process."""
    path = tmp_path / "test_inner.py"
    path.write_text("import os, subprocess, tempfile\nfrom frame import leaks\nleaks.END_SECONDS = 2\n"
                    f"def test_bad(tmp_path):\n{body}\n"
                    "def test_good(tmp_path):\n    pass\n")
    return subprocess.run(
        [sys.executable, "-B", "-m", "pytest", "-c", str(ROOT / "tests" / "pytest.ini"),
         "--rootdir", str(tmp_path), "-p", "frame.plugin",
         "--basetemp", str(tmp_path / "inner"), *options, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests"), "PYTHONWARNINGS": "ignore"},
        check=False, text=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("what", BAD)
def test_guard_names_what_was_left_and_removes_it(tmp_path, what):
    if what in NEEDS_ROOT and os.geteuid():
        pytest.skip("needs root for namespaces of its own")
    body, words = BAD[what]
    done = inner(tmp_path, body, "-W", "ignore")
    assert done.returncode == 1, done.stdout
    assert "2 passed, 1 error" in done.stdout, "the bad test is blamed, and it alone"
    message = done.stdout[done.stdout.index("left behind by the test"):]
    assert all(word in message for word in words), message


def test_guard_is_content_with_files_in_tmp_path(tmp_path):
    done = inner(tmp_path, "        (tmp_path / 'log').write_text('x')")
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout


def test_children_end_with_a_killed_pytest(tmp_path, leak_guard):
    (tmp_path / "pid").touch()
    done = inner(tmp_path, f"""
        from frame.process import Process
        child = Process(["sleep", "77.5"], tmp_path / "log")
        open({str(tmp_path / 'pid')!r}, "w").write(str(child.pid))
        os.kill(os.getpid(), {int(signal.SIGKILL)})
        """)
    assert done.returncode == -signal.SIGKILL
    pid = int((tmp_path / "pid").read_text())
    until(lambda: "sleep" not in command_line(pid), 60, "the parent-death signal ends it")
    assert len(os.listdir(leak_guard)) == 1
    leaks.sweep(leak_guard)
    assert not os.listdir(leak_guard), "the next run removes what a killed one left"


def test_orphans_are_collected_as_init_would(tmp_path):
    done = subprocess.run(["sh", "-c", "sleep 77.5 >/dev/null 2>&1 & echo $!"], check=True,
                          text=True, capture_output=True)
    orphan = int(done.stdout)
    os.kill(orphan, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{orphan}"), 60, "no zombie stays")


def test_orphans_end_with_a_killed_pytest(tmp_path):
    done = inner(tmp_path, f"""
        subprocess.run("setsid sleep 77.5 >/dev/null 2>&1 & echo $! > {tmp_path}/pid",
                       shell=True, check=True)
        os.kill(os.getpid(), 9)
        """)
    assert done.returncode == -signal.SIGKILL
    assert "sleep" not in command_line(int((tmp_path / "pid").read_text()))
    leaks.sweep(tempfile.gettempdir())
