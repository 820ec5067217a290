# SPDX-License-Identifier: Apache-2.0
"""QMP from the emulated host: inside.py SOCKET SECONDS COMMANDS, with [[NAME, ARGUMENTS], ...] as JSON.

Prints what each returns as a line of JSON; the first error ends it. SECONDS bound each answer. Two words more wait on
one connection: "until-migrated" gives query-migrate's last answer, "until-running" query-status'; with a path as
argument "then", its file gets the argument "say" at that moment.
"""
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from frame.qmp import Qmp, QmpClosed, QmpError  # noqa: E402
from frame.wait import TooLate, until  # noqa: E402

ENDS = ("completed", "failed", "cancelled")
POLL_S = 0.02


def until_status(ask, wanted, seconds):
    """What ask() returns once its status is one that is wanted."""
    def there():
        answer = ask()
        if answer.get("status") in wanted:
            return answer
        time.sleep(POLL_S)
        return None
    return until(there, seconds, f"status is one of {', '.join(wanted)}")


def until_running(qmp, seconds, then=None, say=""):
    """query-status once the guest runs."""
    if qmp.command("query-status", timeout=seconds)["status"] != "running":
        qmp.wait_event("RESUME", timeout=seconds)
    if then:
        pathlib.Path(then).write_text(say, encoding="ascii")
    return qmp.command("query-status", timeout=seconds)


def run(qmp, seconds, name, arguments):
    """One command or word."""
    if name == "until-migrated":
        return until_status(lambda: qmp.command("query-migrate", timeout=60), ENDS, seconds)
    if name == "until-running":
        return until_running(qmp, seconds, **arguments)
    return qmp.raw(name, arguments, timeout=seconds)


def main(path, seconds, commands):
    """All of them."""
    try:
        with Qmp(path, float(seconds)) as qmp:
            for name, arguments in json.loads(commands):
                print(json.dumps(run(qmp, float(seconds), name, arguments)), flush=True)
    except (QmpError, QmpClosed, TooLate) as error:
        return f"{type(error).__name__}: {error}"
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
