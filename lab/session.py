# SPDX-License-Identifier: Apache-2.0
"""A whole run: start one host or a pair, run a command in each, stop, sum up.

Theory of operation: a run that ends by the known hang (job.py) is done once more on
fresh hosts, and that is counted in the summary; any other failure is final. The
work folders start empty again on a second try, shares don't.
"""

import dataclasses
import time

from . import network
from .host import Lab
from .job import LabStall, LabTimeout, wait_all
from .paths import LabError

EXIT_LIMIT = 124	# as timeout(1)
EXIT_LAB = 125		# the lab failed, not the command


@dataclasses.dataclass
class Summary:
    """What a run came to."""
    outcome: str = "failed"	# "exited", "limit", "hang", "failed"
    exit_code: int = EXIT_LAB	# of the run: the first code that isn't 0
    exit_codes: list = dataclasses.field(default_factory=list)	# of each host's command
    kernel: str = ""		# uname -r of the host
    ready_s: float = 0		# start of QEMU to ready, of the slower host, in the last try
    run_s: float = 0		# ready to the command's end, in the last try
    total_s: float = 0		# all of it
    retries: int = 0		# tries lost to the known hang
    retry_reasons: list = dataclasses.field(default_factory=list)
    error: str = ""		# why, if the command didn't come to its end
    folders: list = dataclasses.field(default_factory=list)	# what was kept


def _attempt(labs, launched, commands, timeout, sinks, cwd, summary):
    for lab in labs:
        lab.launch()
    launched()
    for lab in labs:
        lab.wait_ready()
    summary.kernel = labs[0].release
    summary.ready_s = round(max(lab.ready_s for lab in labs), 2)
    began = time.monotonic()
    try:
        jobs = [lab.spawn(command, cwd=cwd) for lab, command in zip(labs, commands)]
        summary.exit_codes = wait_all(jobs, timeout, sinks)
    finally:
        summary.run_s = round(time.monotonic() - began, 2)
    summary.exit_code = next((code for code in summary.exit_codes if code), 0)
    summary.outcome = "exited"


def _tries(make, commands, timeout, sinks, cwd, summary):
    for last in (False, True):
        labs, launched = make()
        try:
            _attempt(labs, launched, commands, timeout, sinks, cwd, summary)
            return
        except LabStall as e:
            if last:
                raise
            summary.retries += 1
            summary.retry_reasons.append(str(e).splitlines()[0])
        finally:
            for lab in labs:
                if lab.keep and lab.dir:
                    summary.folders.append(str(lab.dir))
                lab.stop()
            launched()


def _run(make, commands, timeout, sinks, cwd):
    summary, began = Summary(), time.monotonic()
    try:
        _tries(make, commands, timeout, sinks, cwd, summary)
    except LabTimeout as e:
        summary.outcome = "hang" if isinstance(e, LabStall) else "limit"
        summary.exit_code, summary.error = EXIT_LIMIT, str(e)
    except LabError as e:
        summary.exit_code, summary.error = EXIT_LAB, str(e)
    summary.total_s = round(time.monotonic() - began, 2)
    return summary


def run_one(command, timeout, sink=None, cwd=None, **options):
    """Run a command in a fresh host; @options as Lab's. Return a Summary."""
    return _run(lambda: ([Lab(**options)], lambda: None), [command], timeout, [sink], cwd)


def run_pair(commands, timeout, sinks=(None, None), cwd=None, **options):
    """Run two commands in two fresh hosts, a and b, joined by a cable. Return a Summary."""
    nets = options.pop("nets", ())

    def make():
        cable = network.Pair()
        labs = [Lab(name=name, nets=[cable.link(i), *nets], fds=[cable.fd(i)], **options)
                for i, name in enumerate("ab")]
        return labs, cable.close

    return _run(make, commands, timeout, sinks, cwd)
