# SPDX-License-Identifier: Apache-2.0
"""The instrument of bench/run: statistics, the machine, and what is shown."""
