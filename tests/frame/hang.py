# SPDX-License-Identifier: Apache-2.0
"""Hooks for tests in the lab: one that met the known hang of an emulated host runs once more, and that is noted.

Theory of operation: the hang is a LabStall, raised by whoever waited. The test's first run isn't reported then. What
its module shares (a host, most often the one that hung) is made anew for the second, which is reported in any case.
"""
import pytest
from _pytest.runner import runtestprotocol

from lab.job import LabStall


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Mark a report of the known hang."""
    outcome = yield
    if call.excinfo and call.excinfo.errisinstance(LabStall):
        outcome.get_result().hang = str(call.excinfo.value).splitlines()[0]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    """Run a test, at most twice."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    hang = next((report.hang for report in reports if hasattr(report, "hang")), None)
    if hang:
        item.user_properties.append(("note", f"run again: {hang}"))
        forget_shared(item)
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def forget_shared(item):
    """End the fixtures that the test's module shares, so that they are made anew."""
    item._initrequest()
    for definitions in item._fixtureinfo.name2fixturedefs.values():
        for definition in definitions:
            if definition.scope == "module":
                definition.finish(item._request)
