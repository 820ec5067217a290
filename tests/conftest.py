# SPDX-License-Identifier: Apache-2.0
"""All tests see the fixtures and hooks of the frame."""
from frame.plugin import *  # noqa: F401,F403
from frame.named import cli, web  # noqa: F401
from frame.sharing import isolated_mounts, sharing  # noqa: F401
