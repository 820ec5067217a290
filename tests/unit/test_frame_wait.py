# SPDX-License-Identifier: Apache-2.0
"""Bounded waits and child processes."""
import time

import pytest

from frame.process import Process
from frame.wait import Deadline, TooLate, until


def test_until_returns_what_came_true():
    answers = iter([None, 0, "", "there"])
    assert until(lambda: next(answers), 5, "an answer") == "there"


def test_until_gives_up_in_time_and_says_what_it_waited_for():
    start = time.monotonic()
    with pytest.raises(TooLate, match="the moon: not within 0.1 s"):
        until(lambda: False, 0.1, "the moon")
    assert time.monotonic() - start < 60


def test_waits_share_one_deadline():
    deadline = Deadline(0.05, "both")
    with pytest.raises(TooLate, match="both"):
        until(lambda: deadline.left() < 0, 5, "never")


def test_process_that_does_not_end_is_reported_with_its_output(tmp_path):
    child = Process(["sh", "-c", "echo is here; exec sleep 60"], tmp_path / "log")
    until(lambda: "is here" in child.output(), 60, "output")
    with pytest.raises(TooLate, match="(?s)did not end within 0.1 s.*is here"):
        child.wait(0.1)
    assert child.stop() == -15
