# SPDX-License-Identifier: Apache-2.0
"""The parts of the demo: each a module with run(folder), which returns the exit code of its part."""


def show(step, words):
    """One line of the story."""
    print(f"  {step:<10} {words}", flush=True)


def title(words):
    """What the lines below are about."""
    print(f"\n{words}\n", flush=True)
