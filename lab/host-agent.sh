# SPDX-License-Identifier: Apache-2.0
#
# The agent of the emulated host: process 1, run by busybox sh. It finishes the
# set-up and then obeys lines that come over the virtio-serial port "lab.control":
#   run ID		run $LAB_JOBS/ID.sh, output to $LAB_JOBS/ID.out; answers "done ID CODE"
#   kill ID		end the job with all of its process group
#   shell ROWS COLS	a login shell on hvc0; answers "done shell CODE"
#   blocked		have the kernel name blocked tasks on the console
# When the port closes, the program that started this host is gone: power off.

busybox=/run/lab/busybox
. /run/lab/conf

mount_rest()
{
	$busybox mkdir -p /dev/pts /dev/shm /dev/mqueue
	$busybox mount -t devpts -o ptmxmode=666,gid=5 devpts /dev/pts
	$busybox mount -t tmpfs -o mode=1777 tmpfs /dev/shm
	$busybox mount -t cgroup2 cgroup2 /sys/fs/cgroup
	[ -e /dev/fd ] || $busybox ln -s /proc/self/fd /dev/fd
	[ -e /dev/kvm ] && $busybox chmod 666 /dev/kvm
	[ -c /dev/net/tun ] && $busybox chmod 666 /dev/net/tun
	echo /run/lab/bin/modprobe >/proc/sys/kernel/modprobe
	if [ "$LAB_OVERLAY" = y ]; then
		$busybox mkdir -p /lib/modules
		$busybox ln -s "$LAB_MODULES_ROOT/lib/modules/$(uname -r)" /lib/modules/
	fi
}

# Give the interface with a MAC its name and address.
network()
{
	$busybox ip link set lo up
	printf '%s' "$LAB_ADDRESSES" | while read -r mac name address; do
		for dev in /sys/class/net/*; do
			[ "$(cat "$dev/address")" = "$mac" ] || continue
			$busybox ip link set "${dev##*/}" name "$name"
			$busybox ip address add "$address" dev "$name"
			$busybox ip link set "$name" up
		done
	done
}

port()
{
	for dev in /sys/class/virtio-ports/*; do
		[ "$(cat "$dev/name")" = "$1" ] && echo "/dev/${dev##*/}"
	done
}

# $1: job. The shell around it waits, so that the agent can go on.
job()
{
	$busybox setsid /bin/sh "$LAB_JOBS/$1.sh" </dev/null >>"$LAB_JOBS/$1.out" 2>&1 &
	echo $! >"/run/lab/job.$1"
	wait $!
	echo "done $1 $?" >&3
}

shell()
{
	$busybox stty rows "$1" cols "$2" -F /dev/hvc0
	$busybox setsid /bin/sh "$LAB_JOBS/shell.sh" </dev/hvc0 >/dev/hvc0 2>&1
	echo "done shell $?" >&3
}

serve()
{
	read -r up _ </proc/uptime
	echo "ready $up $(uname -r)" >&3
	while read -r verb a b <&3; do
		case $verb in
		run) job "$a" & ;;
		kill) kill -KILL "-$(cat "/run/lab/job.$a")" ;;
		shell) shell "$a" "$b" & ;;
		blocked) echo w >/proc/sysrq-trigger ;;
		esac
	done
	$busybox poweroff -f
}

$busybox hostname "$LAB_HOSTNAME"
# What this machine lacks (often ping) comes from busybox, last on PATH.
$busybox mkdir /run/lab/applets
$busybox --install -s /run/lab/applets
mount_rest
network
control=$(port lab.control)
exec 3<>"$control"
# Process 1 only waits: so it reaps whatever loses its parent.
serve &
wait $!
