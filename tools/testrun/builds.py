# SPDX-License-Identifier: Apache-2.0
"""The build folders of the tests: plain, with sanitizers, by the other compiler."""
import json
import os
import re
import subprocess

from testrun.process import run

BUILDS = {
    "build": {"options": []},
    "build-asan": {"options": ["-Dbuildtype=debug", "-Db_sanitize=address,undefined"]},
    # TSan knows no fences, and gcc says so: code that orders by a fence may look like a race
    "build-tsan": {"options": ["-Dbuildtype=debugoptimized", "-Db_sanitize=thread",
                               "-Dc_args=-Wno-error=tsan"]},
    "build-clang": {"options": ["-Dbuildtype=debug"], "env": {"CC": "clang-14"}},
}
SECONDS = 600


def build(root, name, jobs, logs):
    """Configure (once) and build folder `name`; returns "" or what went wrong."""
    folder = os.path.join(root, name)
    recipe = BUILDS[name]
    env = {**os.environ, **recipe.get("env", {})}
    log = os.path.join(logs, f"{name}.log")
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        done = run(["meson", "setup", *recipe["options"], folder], SECONDS, log, root, env)
        if done.status:
            return tail(done.output)
    done = run(["ninja", "-C", folder, "-j", str(jobs)], SECONDS, log, root, env)
    return complaints(done.output) if done.status else ""


def suites(folder):
    """The suites of all tests that meson knows in this build folder, one set for each test."""
    listed = subprocess.run(["meson", "introspect", "--tests", folder], check=True,
                            capture_output=True, text=True).stdout
    return [{suite.split(":")[-1] for suite in test["suite"]} for test in json.loads(listed)]


def complaints(text):
    """What the compilers of a failed ninja run said, without the steps that went well."""
    kept, failed = [], False
    for line in text.splitlines():
        if re.match(r"\[\d+/\d+\] ", line):
            failed = False
        elif line.startswith("FAILED: "):
            failed = True
        elif failed and not re.match(r"\S+ (-\S+ )+", line):  # not the command line
            kept.append(line)
    return "\n".join(kept) or tail(text)


def tail(text, lines=40):
    """The end of a log, where compilers and testers say what is wrong."""
    return "\n".join(text.splitlines()[-lines:])
