/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the SATA controller on the wire: QEMU's "ich9_ahci" version 1, ports and
 * their queues complete.
 */
#include "device/wire.h"
#include "machine/q35/ahci.h"

#include <errno.h>

#define D struct ahci_drive
#define N struct ahci_ncq
#define P struct ahci_port
#define H struct ahci_hba
#define A struct ahci_state

static const struct state_field bus_fields[] = {
	FIELD("cmd", struct ahci_bus, cmd),
	FIELD("unit", struct ahci_bus, unit),
	FIELDS_END,
};

static const struct state_table bus_table = {
	.name = "ide_bus",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct ahci_bus),
	.fields = bus_fields,
};

static const struct state_field drive_fields[] = {
	FIELD("mult_sectors", D, mult_sectors),
	FIELD("identify_set", D, identify_set),
	FIELD("feature", D, feature),
	FIELD("error", D, error),
	FIELD("nsector", D, nsector),
	FIELD("sector", D, sector),
	FIELD("lcyl", D, lcyl),
	FIELD("hcyl", D, hcyl),
	FIELD("hob_feature", D, hob_feature),
	FIELD("hob_sector", D, hob_sector),
	FIELD("hob_nsector", D, hob_nsector),
	FIELD("hob_lcyl", D, hob_lcyl),
	FIELD("hob_hcyl", D, hob_hcyl),
	FIELD("select", D, select),
	FIELD("status", D, status),
	FIELD("lba48", D, lba48),
	FIELD("sense_key", D, sense_key),
	FIELD("asc", D, asc),
	FIELD("cdrom_changed", D, cdrom_changed),
	FIELDS_END,
};

static const struct state_table drive_table = {
	.name = "ide_drive",
	.version = 3,
	.min_version = 0,
	.size = sizeof(D),
	.fields = drive_fields,
};

static const struct state_field ncq_fields[] = {
	FIELD("sector_count", N, sector_count),
	FIELD("lba", N, lba),
	FIELD("tag", N, tag),
	FIELD("cmd", N, cmd),
	FIELD("slot", N, slot),
	FIELD("used", N, used),
	FIELD("halt", N, halt),
	NOT_SENT(N, reserved, "padding"),
	FIELDS_END,
};

static const struct state_table ncq_table = {
	.name = "ncq state",
	.version = 1,
	.min_version = 1,
	.size = sizeof(N),
	.fields = ncq_fields,
};

static const struct state_field port_fields[] = {
	FIELD_STRUCT("port", P, bus, &bus_table),
	FIELD_STRUCT("port.ifs[0]", P, drive, &drive_table),
	FIELD("port_state", P, port_state),
	FIELD("finished", P, finished),
	FIELD("port_regs.lst_addr", P, clb),
	FIELD("port_regs.lst_addr_hi", P, clbu),
	FIELD("port_regs.fis_addr", P, fb),
	FIELD("port_regs.fis_addr_hi", P, fbu),
	FIELD("port_regs.irq_stat", P, is),
	FIELD("port_regs.irq_mask", P, ie),
	FIELD("port_regs.cmd", P, cmd),
	FIELD("port_regs.tfdata", P, tfd),
	FIELD("port_regs.sig", P, sig),
	FIELD("port_regs.scr_stat", P, ssts),
	FIELD("port_regs.scr_ctl", P, sctl),
	FIELD("port_regs.scr_err", P, serr),
	FIELD("port_regs.scr_act", P, sact),
	FIELD("port_regs.cmd_issue", P, ci),
	FIELD("done_first_drq", P, done_first_drq),
	FIELD("busy_slot", P, busy_slot),
	FIELD("init_d2h_sent", P, init_d2h_sent),
	FIELD_STRUCTS("ncq_tfs", P, ncq, &ncq_table),
	NOT_SENT(P, reserved, "padding"),
	FIELDS_END,
};

/* A queued command belongs to a drive, and there is none. */
static int port_check(const void *state, unsigned int version, struct err *e)
{
	const P *p = state;

	for (int i = 0; i < AHCI_SLOTS; i++)
		if (p->ncq[i].used)
			return err_set(e, EINVAL,
				       "ncq_tfs[%d]: a command for a disk; there is none here", i);
	return 0;
}

static const struct state_table port_table = {
	.name = "ahci port",
	.version = 1,
	.min_version = 1,
	.size = sizeof(P),
	.fields = port_fields,
	.check = port_check,
};

static const struct state_field hba_fields[] = {
	FIELD_STRUCTS("dev", H, port, &port_table),
	FIELD("control_regs.cap", H, cap),
	FIELD("control_regs.ghc", H, ghc),
	FIELD("control_regs.irqstatus", H, is),
	FIELD("control_regs.impl", H, pi),
	FIELD("control_regs.version", H, vs),
	FIELD("idp_index", H, idp_index),
	FIELD_CODEC("ports", H, ports, &wire_int32_equal),
	NOT_SENT(H, reserved, "padding"),
	FIELDS_END,
};

static const struct state_table hba_table = {
	.name = "ahci",
	.version = 1,
	.min_version = 1,
	.size = sizeof(H),
	.fields = hba_fields,
};

static const struct state_field ahci_fields[] = {
	FIELD_STRUCT("parent_obj", A, pci, &pci_device_state),
	FIELD_STRUCT("ahci", A, hba, &hba_table),
	NOT_SENT(A, reserved, "padding"),
	FIELDS_END,
};

static const A ahci_fresh = {.hba.ports = AHCI_PORTS};

const struct state_table ahci_table = {
	.name = "ich9_ahci",
	.version = 1,
	.min_version = 1,
	.size = sizeof(A),
	.fields = ahci_fields,
	.fresh = &ahci_fresh,
};
