# SPDX-License-Identifier: Apache-2.0
"""Tests in the lab may meet an emulated host's known hang."""
from frame.hang import *  # noqa: F401,F403
