# SPDX-License-Identifier: Apache-2.0
"""The lab: an emulated KVM host, made of stock parts, that runs on any machine.

QEMU's software emulation of AMD SVM gives a stock Debian kernel a working
/dev/kvm. Real Linux guests, device assignment, kexec and two-host networks can
so be tested where the machine itself has no hardware virtualization.

Modules, lower ones first:
  paths      where things are kept, locks, atomic files
  archive    Debian packages, through an apt state of the lab's own
  vmlinux    the ELF kernel inside a bzImage
  kernels    Debian kernels, unpacked, with their modules
  cpio       initramfs archives
  initramfs  the first user space of the emulated host
  image      the first user space, kernel and disk of a nested guest
  qemu       the command line and the process of one emulated host
  host       class Lab: start a host, run commands in it, stop it
  session    a whole run: one host or a pair, retry of the known hang, summary
  cli        the `lab` command
"""
