/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: properties that QEMU's devices have and ours don't. Who names one with the
 * value that it has there by default gets what was asked for; any other value is refused with the
 * reason. A test compares the list with a stock QEMU.
 */
#include "device/props.h"

#include <errno.h>
#include <string.h>

#define VERSION  "it is for guests of machine types other than pc-q35-7.2"
#define FAILOVER "there are no passed-through devices that a network interface could stand in for"
#define GEOMETRY "guests find sectors by their number, not by cylinders and heads"
#define COUNTING "failed and invalid requests are counted by themselves"
#define RSS      "frames go to the queue that the flow's own frames came from"
#define RSC      "received segments are put together by the host, not by the device"
#define SCSI     "guests see one SCSI disk of version 5, on a controller without ports"

static const struct absent {
	const char *name, *same, *why;
} absences[] = {
	{"account-failed", "auto|on", COUNTING},
	{"account-invalid", "auto|on", COUNTING},
	{"aer", "off|false", "errors of a device aren't told by PCI Express"},
	{"ats", "off|false", "there is no IOMMU whose translations a device could keep"},
	{"backend_defaults", "auto|off",
	 "block sizes are given by logical_block_size= and the like"},
	{"cyls", "0", GEOMETRY},
	{"failover", "off|false", FAILOVER},
	{"failover_pair_id", "", FAILOVER},
	{"guest-stats-polling-interval", "0", "use qom-set on the device, once it is there"},
	{"guest_rsc_ext", "off|false", RSC},
	{"hash", "off|false", RSS},
	{"heads", "0", GEOMETRY},
	{"lcyls", "0", GEOMETRY},
	{"lheads", "0", GEOMETRY},
	{"lsecs", "0", GEOMETRY},
	{"migrate-extra", "on|true", VERSION},
	{"modern-pio-notify", "off|false", "doorbells of the modern layout are in memory"},
	{"port_index", "0", SCSI},
	{"port_wwn", "0", SCSI},
	{"qemu-4-0-config-size", "off|false", VERSION},
	{"quirk_mode_page_vendor_specific_apple", "off|false",
	 "it is for guests of other machines"},
	{"report-discard-granularity", "on|true", VERSION},
	{"romsize", "4294967295|-1", "an option ROM is as large as its file"},
	{"rsc_interval", "300000", RSC},
	{"rss", "off|false", RSS},
	{"scsi", "off|false", "requests of SCSI don't pass through virtio-blk; use scsi-hd"},
	{"scsi_version", "5", SCSI},
	{"secs", "0", GEOMETRY},
	{"use-disabled-flag", "on|true", VERSION},
	{"use-started", "on|true", VERSION},
	{"virtio-pci-bus-master-bug-migration", "off|false", VERSION},
	{"x-ats-page-aligned", "on|true", VERSION},
	{"x-disable-legacy-check", "off|false", VERSION},
	{"x-disable-pcie", "off|false", VERSION},
	{"x-enable-wce-if-config-wce", "on|true", VERSION},
	{"x-ignore-backend-features", "off|false", VERSION},
	{"x-migrate-msix", "on|true", VERSION},
	{"x-mtu-bypass-backend", "on|true", VERSION},
	{"x-native-hotplug", "on|true", VERSION},
	{"x-pcie-deverr-init", "on|true", VERSION},
	{"x-pcie-extcap-init", "on|true", VERSION},
	{"x-pcie-flr-init", "on|true", VERSION},
	{"x-pcie-lnkctl-init", "on|true", VERSION},
	{"x-pcie-lnksta-dllla", "on|true", VERSION},
	{"x-pcie-pm-init", "on|true", VERSION},
};

static bool among(const char *value, const char *same)
{
	size_t len = strlen(value);

	for (const char *p = same; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
		if (!strncmp(p, value, len) && (!p[len] || p[len] == '|'))
			return true;
	return false;
}

/**
 * prop_absent_set() - Set a property that QEMU's device has and ours doesn't
 * @name:	In QEMU's spelling
 * @value:	As a user types it
 * @e:		Set for ENOTSUP only: why
 *
 * Errors: ENOTSUP not its default there; ENOENT QEMU has no such property either
 * Return: 0: nothing is to be done, or a negative errno
 */
int prop_absent_set(const char *name, const char *value, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(absences); i++) {
		const struct absent *a = &absences[i];

		if (strcmp(a->name, name) != 0)
			continue;
		return among(value, a->same)
			       ? 0
			       : err_set(e, ENOTSUP, "%s=%s isn't here: %s", name, value, a->why);
	}
	return -ENOENT;
}
