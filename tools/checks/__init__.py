# SPDX-License-Identifier: Apache-2.0
"""What the check programs share."""
