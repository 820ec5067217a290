/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: options that QEMU has and this program doesn't. A command line that was
 * written for QEMU says by them what it expects of the guest, so each is refused with the reason
 * and, where there is another way, with that way. A test compares the list with a stock QEMU.
 */
#include "vmm/options.h"

#include <string.h>

#define DISK     "the machine has no such drive; a disk comes by -drive file=FILE,if=virtio"
#define EMULATED "guests run on KVM only, never emulated"
#define SCREEN   "there is no display"
#define XEN      "guests run on KVM only, not on Xen"
#define USB      "the machine has no USB"
#define GDB      "there is no GDB server"

static const struct absent {
	const char *name, *why;
} absences[] = {
	{"acpitable", "ACPI tables are the machine's own"},
	{"async-teardown", "guest RAM is a file, which the kernel gives back by itself"},
	{"audio", "there is no sound"},
	{"audio-help", "there is no sound"},
	{"cdrom", DISK},
	{"chroot", "use -sandbox, -run-as, or a unit with RootDirectory="},
	{"compat", "deprecated and unstable parts of the protocol aren't told apart"},
	{"debugcon", "use -chardev ...,id=ID -device isa-debugcon,chardev=ID"},
	{"dfilter", EMULATED},
	{"dtb", "x86 machines have no device tree"},
	{"dump-vmstate", "use -dump-state-schema"},
	{"echr", "C-a begins the commands of a mux"},
	{"enable-sync-profile", "use perf on the process"},
	{"fda", DISK},
	{"fdb", DISK},
	{"fsdev", "there is no 9p file system"},
	{"full-screen", SCREEN},
	{"gdb", GDB},
	{"hda", DISK},
	{"hdb", DISK},
	{"hdc", DISK},
	{"hdd", DISK},
	{"icount", EMULATED},
	{"iscsi", "use a block device that the host's initiator makes"},
	{"k", SCREEN},
	{"L", "firmware is given whole: -bios FILE, or -blockdev and -machine pflash0="},
	{"loadvm", "use -incoming file:FILE, or outlive snapshot restore"},
	{"mem-path", "use -object memory-backend-file,id=ram0,mem-path=PATH,size=SIZE "
		     "-machine memory-backend=ram0"},
	{"mem-prealloc", "use prealloc=on of the memory-backend object"},
	{"mtdblock", DISK},
	{"net", "use -netdev with -device, or -nic; for no network -nic none"},
	{"no-acpi", "a guest always has its ACPI tables"},
	{"no-fd-bootchk", DISK},
	{"only-migratable", "every device says whether it can follow: QMP query-upgrade-blockers"},
	{"option-rom", "use romfile= of the device, or -kernel"},
	{"pflash", "use -drive file=FILE,if=pflash, or -blockdev and -machine pflash0="},
	{"plugin", EMULATED},
	{"portrait", SCREEN},
	{"preconfig", "the machine is made from the command line as a whole"},
	{"qmp-pretty", "use -mon chardev=ID,mode=control,pretty=on"},
	{"readconfig", "there are no configuration files"},
	{"rotate", SCREEN},
	{"s", GDB},
	{"sd", DISK},
	{"seed", EMULATED},
	{"set", "write the value where the thing is defined, or use -global"},
	{"singlestep", EMULATED},
	{"snapshot", "use outlive snapshot point, and rollback afterwards"},
	{"spice", SCREEN},
	{"tpmdev", "there is no TPM"},
	{"usb", USB},
	{"usbdevice", USB},
	{"virtfs", "there is no 9p file system"},
	{"win2k-hack", DISK},
	{"xen-attach", XEN},
	{"xen-domid", XEN},
	{"xen-domid-restrict", XEN},
};

/**
 * vmm_absent() - Why an option of QEMU isn't there
 * @name:	Without dashes
 *
 * Source: qemu(1)
 * Return: the reason, with the other way if there is one; NULL: QEMU has no such option either
 */
const char *vmm_absent(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(absences); i++)
		if (!strcmp(absences[i].name, name))
			return absences[i].why;
	return NULL;
}
