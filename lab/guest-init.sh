#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
#
# First process of a nested guest. Obeys words on the kernel command line:
#   guest.load=A,B		load these modules besides those for devices that are there
#   guest.ip=DEV:ADDR/BITS[:GATEWAY]	configure an interface (eth0:10.0.2.15/24)
#   guest.mount=TAGorDEV:PATH	mount /dev/DEV, or the 9p share TAG; repeatable
#   guest.sh=BASE64		run this shell text
#   guest.script=PATH		run this file, after the mounts
#   guest.end=WHAT		then: poweroff (the default with a script), reboot,
#				shell (the default without one), wait
# /guest/run in the initramfs is run first, if there. Marker lines on the console:
#   OUTLIVE-GUEST up RELEASE UPTIME	user space runs, devices have their drivers
#   OUTLIVE-GUEST exit CODE		the scripts ended; the first code that isn't 0
#   OUTLIVE-GUEST failed WHAT		a parameter could not be obeyed

b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev 2>/dev/null
$b --install -s /bin
export PATH=/bin:/guest/bin HOME=/root TERM=linux
mkdir -p /dev/pts /dev/shm /mnt /root
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp

mark() { echo "OUTLIVE-GUEST $*"; }

# Each module has a file that lists, in order, the files to insert.
loaded=' '
load()
{
	[ -e "/lib/guest/order/$1" ] || return 0
	while read -r file; do
		case $loaded in *" $file "*) continue ;; esac
		loaded="$loaded$file "
		insmod "/lib/guest/$file" || mark "failed insmod $file"
	done <"/lib/guest/order/$1"
}

# A driver for each device on the PCI bus, then on the virtio bus.
load_drivers()
{
	for dev in /sys/bus/pci/devices/*; do
		[ -e "$dev/vendor" ] || continue
		case $(cat "$dev/vendor" "$dev/device" "$dev/class" | tr '\n' ' ') in
		0x1af4*) load virtio_pci ;;
		*0x010802*) load nvme ;;
		0x8086\ 0x10d3*) load e1000e ;;
		0x8086\ 0x2922*) load ahci ;;
		0x1b36\ 0x000d*) load xhci_pci ;;
		esac
	done
	for dev in /sys/bus/virtio/devices/*; do
		[ -e "$dev/device" ] || continue
		case $(cat "$dev/device") in
		0x0001) load virtio_net ;;
		0x0002) load virtio_blk ;;
		0x0003) load virtio_console ;;
		0x0004) load virtio_rng ;;
		0x0005) load virtio_balloon ;;
		0x0008) load virtio_scsi && load sd_mod ;;
		0x0009) load 9pnet_virtio && load 9p ;;
		esac
	done
	load button
	load evdev
}

configure_net()	# DEV:ADDR/BITS[:GATEWAY]
{
	rest=${1#*:}
	dev=${1%%:*}
	gateway=${rest#*:}
	ip link set "$dev" up && ip address add "${rest%%:*}" dev "$dev" ||
		mark "failed guest.ip=$1"
	[ "$gateway" = "$rest" ] || ip route add default via "$gateway" || mark "failed guest.ip=$1"
}

mount_one()	# TAGorDEV:PATH
{
	what=${1%%:*}
	path=${1#*:}
	mkdir -p "$path"
	if [ -b "/dev/$what" ]; then
		load ext4
		mount -t ext4 "/dev/$what" "$path"
	else
		mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 "$what" "$path"
	fi || mark "failed guest.mount=$1"
}

ended=	# exit code of the scripts, empty while there was none
run()
{
	setsid cttyhack "$@" </dev/console
	code=$?
	[ "${ended:-0}" != 0 ] || ended=$code
}

words=$(cat /proc/cmdline)
load_drivers
ip link set lo up
sh= script= end=
for word in $words; do
	value=${word#*=}
	case $word in
	guest.load=*) for name in $(echo "$value" | tr , ' '); do load "$name"; done ;;
	guest.ip=*) configure_net "$value" ;;
	guest.mount=*) mount_one "$value" ;;
	guest.sh=*) sh=$value ;;
	guest.script=*) script=$value ;;
	guest.end=*) end=$value ;;
	esac
done
read -r uptime _ </proc/uptime
mark "up $(uname -r) $uptime"

[ ! -e /guest/run ] || run sh /guest/run
if [ -n "$sh" ]; then
	echo "$sh" | base64 -d >/tmp/guest.sh
	run sh /tmp/guest.sh
fi
[ -z "$script" ] || run sh "$script"
[ -z "$ended" ] || mark "exit $ended"
[ -n "$end" ] || { [ -n "$ended" ] && end=poweroff || end=shell; }
sync
case $end in
poweroff) poweroff -f ;;
reboot) reboot -f ;;
wait) while :; do sleep 3600; done ;;
esac
while :; do
	setsid cttyhack sh -l </dev/console >/dev/console 2>&1
done
