# SPDX-License-Identifier: Apache-2.0
"""What tools/run-tests and tools/run-checks are made of."""
