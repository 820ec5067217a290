# SPDX-License-Identifier: Apache-2.0
"""The test frame: VMMs, QMP, hosts and guests as fixtures, and the guard against leaks.

docs/testing.md is its manual. Modules: paths (where things are), wait (bounded waiting),
process (child processes), qmp (monitor client), vmm (one guest under Outlive or QEMU), qemu
(which QEMUs there are), hosts (network namespaces), labs (the emulated host), witness (the
guest that reports what it felt), isolate and leaks (nothing is left behind), fixtures.
"""
