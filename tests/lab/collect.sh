# SPDX-License-Identifier: Apache-2.0
# Run in a guest: everything that it sees of its machine, as a tar archive on /dev/vdb.
insmod /guest/qemu_fw_cfg.ko 2>/dev/null
mkdir -p /out/pci /out/fw_cfg
cp /proc/iomem /proc/ioports /out
sed -n 's/^ *[0-9]*:.* \([a-zA-Z0-9_.-]*\)$/\1/p' /proc/interrupts >/out/interrupts
dmesg >/out/dmesg
cp -r /sys/firmware/acpi/tables /out/acpi
cp -r /sys/firmware/dmi/tables /out/dmi
cd /sys/bus/pci/devices
for dev in *; do
	cat "$dev/config" >"/out/pci/$dev"
	cat "$dev/resource" >"/out/pci/$dev.resource"
done
cd /sys/firmware/qemu_fw_cfg/by_key 2>/dev/null && for key in *; do
	name=$(tr / _ <"$key/name")
	cat "$key/size" >"/out/fw_cfg/$name.size"
	# a large one is read anew from its start for each page
	[ "$(cat "$key/size")" -gt 2048 ] || cat "$key/raw" >"/out/fw_cfg/$name"
done
taskset 1 /guest/cpuid >/out/cpuid
cd /out && tar c . >/dev/vdb
