# SPDX-License-Identifier: Apache-2.0
"""Bounded waiting. Prefer an event; `until` is for what has none."""
import time


class TooLate(AssertionError):
    """What was waited for did not happen in time."""


class Deadline:
    """A point in time that several waits share."""

    def __init__(self, seconds, what):
        self.what = what
        self.seconds = seconds
        self.end = time.monotonic() + seconds

    def left(self):
        """Seconds left; TooLate when there are none."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise TooLate(f"{self.what}: not within {self.seconds:g} s")
        return left


def until(predicate, timeout, what):
    """Poll `predicate` until it gives something true, and return that.

    Raises TooLate, which names `what`, after `timeout` seconds. The pause between two looks
    grows from 1 ms to 50 ms: quick things are seen quickly, slow ones cost little.
    """
    deadline = Deadline(timeout, what)
    pause = 0.001
    while True:
        value = predicate()
        if value:
            return value
        time.sleep(min(pause, deadline.left()))
        pause = min(pause * 2, 0.05)
