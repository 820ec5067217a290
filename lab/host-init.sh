#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
#
# First process of the emulated host. Loads the modules the archive holds, mounts
# the outer file system as root, and hands over to the agent. What differs from run
# to run comes in /lab/conf, written by lab/initramfs.py:
#   LAB_HOSTNAME LAB_OVERLAY (y: root is writable, in memory) LAB_MOUNTS (lines: tag
#   TAB path) LAB_ADDRESSES (lines: MAC name address/bits) LAB_MODULES_ROOT

b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev 2>/dev/null
. /lab/conf

# Loading is the longest part of the boot, so independent chains go side by side:
# what the root needs first, everything else while it is being mounted.
load()
{
	while read -r module; do
		$b insmod "/lab/modules/$module" || echo "lab: cannot load $module" >/dev/console
	done <"/lab/modules/$1"
}

p9()	# tag, path, options
{
	$b mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,$3" "$1" "$2"
}

load order.root
load order.rest &
$b mkdir -p /r
if [ "$LAB_OVERLAY" = y ]; then
	$b mkdir -p /lower /upper
	p9 root /lower ro,cache=loose
	$b mount -t tmpfs -o mode=755 tmpfs /upper
	$b mkdir /upper/data /upper/work
	$b mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /r
else
	p9 root /r ro,cache=loose
fi
$b mount -t tmpfs -o mode=1777 tmpfs /r/tmp
$b mount -t tmpfs -o mode=755 tmpfs /r/run
printf '%s' "$LAB_MOUNTS" | while IFS='	' read -r tag path options; do
	[ -d "/r$path" ] || $b mkdir -p "/r$path"
	p9 "$tag" "/r$path" "$options" || echo "lab: cannot mount $path" >/dev/console
done
wait
$b mkdir -p /r/run/lab/bin /r/run/lock
$b cp /bin/busybox /lab/conf /lab/agent /r/run/lab/
$b cp /lab/modprobe /r/run/lab/bin/modprobe
$b mount --move /proc /r/proc
$b mount --move /sys /r/sys
$b mount --move /dev /r/dev
exec $b switch_root -c /dev/console /r /run/lab/busybox sh /run/lab/agent
