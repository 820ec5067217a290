#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The host's modules are not in the root file system's /lib/modules.
. /run/lab/conf
exec /sbin/modprobe -d "$LAB_MODULES_ROOT" "$@"
