# SPDX-License-Identifier: Apache-2.0
"""All tests see the fixtures and hooks of the frame."""
from frame.plugin import *  # noqa: F401,F403
