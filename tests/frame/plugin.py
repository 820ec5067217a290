# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin: fixtures for tests, the leak guard, logs of failed tests.

docs/testing.md lists the fixtures with examples.
"""
import os
import pathlib
import shutil
import tempfile

import pytest

from frame import isolate, leaks
from frame.hosts import Pair
from frame.paths import outlive_vmm
from frame.qemu import QEMUS, Missing, qemu_system
from frame.vmm import Program, Vmm
from frame.witness import Witness, options

LOG_LINES = 80
state = {"isolated": False, "base": None}


def pytest_configure(config):
    """Leave the host's namespaces before anything else happens, and get a supervisor."""
    state["isolated"] = isolate.enter()
    isolate.supervised()
    leaks.sweep(tempfile.gettempdir())
    state["base"] = tempfile.mkdtemp(prefix=f"{leaks.BASE_PREFIX}{os.getpid()}-")


def pytest_report_header(config):
    """Say in which kind of place the tests run."""
    kind = "own" if state["isolated"] else "host's (not root: tests with networks are skipped)"
    return f"namespaces: {kind}"


def pytest_unconfigure(config):
    """Remove the base of all run folders."""
    shutil.rmtree(state["base"], ignore_errors=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Add the end of each log in tmp_path to the report of a failed test."""
    outcome = yield
    report = outcome.get_result()
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    if report.failed and folder:
        for log in sorted(pathlib.Path(folder).glob("*.log")):
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            report.sections.append((log.name, "\n".join(lines[-LOG_LINES:])))


@pytest.fixture(scope="session", autouse=True)
def session_guard(tmp_path_factory):
    """What wider fixtures leave after the last test is found here."""
    tmp_path_factory.getbasetemp()  # fixed now, below the machine's /tmp, not a test's
    with leaks.guarded(state["base"], state["isolated"]):
        yield


@pytest.fixture(autouse=True)
def leak_guard(request, session_guard):
    """Fail a test that leaves something behind. Gives the test's run folder."""
    if request.node.get_closest_marker("leaves_nothing_checked_by_itself"):
        yield None
        return
    with leaks.guarded(state["base"], state["isolated"]) as folder:
        yield folder


@pytest.fixture
def run_dir(leak_guard):
    """An empty folder with a short path, for sockets; removed after the test."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="ol-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def kvm():
    """The test needs /dev/kvm."""
    try:
        open("/dev/kvm", "rb").close()
    except OSError as error:
        pytest.skip(f"/dev/kvm: {error.strerror}")


class Starter:
    """Starts VMMs of one program; all are ended after the test."""

    def __init__(self, program, folder):
        self.program = program
        self.folder = folder
        self.started = []

    def start(self, *options, name="vmm", **how):
        """A running Vmm; its log is tmp_path/NAME.log. `how`: within, pass_fds, as in Vmm."""
        log = self.folder / f"{self.program}-{name}.log"
        self.started.append(Vmm(self.program, options, log, **how))
        return self.started[-1]

    def end(self):
        """End what still runs."""
        for vmm in self.started:
            vmm.kill()


def starter(program, folder):
    """Yield a Starter and end its VMMs."""
    made = Starter(program, folder)
    yield made
    made.end()


def pytest_collection_modifyitems(config, items):
    """Leave long tests out, unless they are asked for: they aren't skipped, they are another run."""
    if os.environ.get("OUTLIVE_SOAK"):
        return
    long = [item for item in items if item.get_closest_marker("soak")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


def qemu_or_skip(name):
    """The Program of a stock QEMU; the test is skipped by name when it is not here."""
    try:
        return QEMUS[name]()
    except Missing as missing:
        pytest.skip(str(missing))


def outlive_program():
    """The Program under test."""
    assert outlive_vmm().exists(), f"{outlive_vmm()} is not built"
    return Program("outlive", (str(outlive_vmm()),))


@pytest.fixture
def outlive(tmp_path, leak_guard):
    """Starter of outlive-vmm."""
    yield from starter(outlive_program(), tmp_path)


@pytest.fixture
def qemu(tmp_path, leak_guard):
    """Starter of Debian 12's QEMU."""
    yield from starter(qemu_or_skip("qemu-7.2"), tmp_path)


@pytest.fixture
def qemu_new(tmp_path, leak_guard):
    """Starter of Debian's newest QEMU."""
    yield from starter(qemu_or_skip("qemu-new"), tmp_path)


@pytest.fixture(params=list(QEMUS))
def qemu_any(request, tmp_path, leak_guard):
    """Starter of a stock QEMU; the test runs once for each."""
    yield from starter(qemu_or_skip(request.param), tmp_path)


@pytest.fixture(params=["outlive", *QEMUS])
def vmm_any(request, tmp_path, leak_guard):
    """Starter of Outlive or a stock QEMU, for what must be the same in all; once for each."""
    if request.param == "outlive":
        yield from starter(outlive_program(), tmp_path)
    else:
        yield from starter(qemu_or_skip(request.param), tmp_path)


@pytest.fixture
def hosts(tmp_path, leak_guard):
    """Function that makes a Pair of hosts: hosts(rate_mbit=, delay_ms=, loss_percent=)."""
    if not state["isolated"]:
        pytest.skip("two hosts need root, for network namespaces")
    made = []

    def make(**shape):
        made.append(Pair(tmp_path / f"link-{len(made)}.log", **shape))
        return made[-1]
    yield make
    for pair in made:
        pair.close()


@pytest.fixture
def witness(kvm):
    """Function that starts a guest with the witness: witness(outlive, cpus=2, args="rate=100").

    The first argument is a Starter (outlive, qemu, qemu_any); gives a Witness that is ready.
    """
    made = []

    def make(program, *more, name="vmm", within=(), pass_fds=(), **guest):
        made.append(Witness(program.start(*options(**guest), *more, name=name, within=within, pass_fds=pass_fds)))
        return made[-1].start(guest.get("memory_mib", 0))
    yield make
    for guest in made:
        guest.close()


@pytest.fixture
def lab(tmp_path, leak_guard, record_property):
    """Function that starts an emulated KVM host: lab(kernel="6.12", memory=3072), see lab/host.py.

    Its console is in the report of a failed test, and a boot that had to be repeated is noted.
    """
    try:
        qemu_system()
    except Missing as missing:
        pytest.skip(str(missing))
    from lab.host import Lab  # the lab is needed by its own level only
    made = []

    def make(**settings):
        host = Lab(**settings)
        made.append(host)
        host.start()
        (tmp_path / f"console-{len(made)}.log").symlink_to(host.console_log)
        return host
    yield make
    for host in made:
        for reason in host.retries:
            record_property("note", f"lab started again: {reason}")
        host.stop()
