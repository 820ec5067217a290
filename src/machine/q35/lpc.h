/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_Q35_LPC_H
#define MACHINE_Q35_LPC_H

#include "device/fw_cfg.h"
#include "machine/q35/q35_chipset.h"
#include "machine/vm.h"

#define LPC_RCRB_BYTES 16384
#define LPC_PIRQS      8
#define PCIHP_BUSES    256
#define CPUHP_MAX      288

/* Features that firmware and machine agree on by fw_cfg's etc/smi/ files; QEMU's bits. */
#define SMI_BROADCAST  1u
#define SMI_CPU_PLUG   2u
#define SMI_CPU_UNPLUG 4u

/* Bits of GPE0 that events raise; the ACPI tables have a handler for each. */
enum gpe_bit { GPE_PCI_HOTPLUG = 1, GPE_CPU_HOTPLUG = 2, GPE_MEMORY_HOTPLUG = 3, GPE_VMGENID = 5 };

/**
 * struct tco_state - The watchdog's registers (TCO)
 * @timer:	Expiry of its timer
 * @expire:	The same when the timer was last set, -1: halted
 * @timeouts:	Time-outs since the last reload; the second one acts
 */
struct tco_state {
	int64_t timer, expire;
	uint16_t rld, sts1, sts2, cnt1, cnt2, tmr;
	uint8_t din, dout, msg1, msg2, wdcnt, sw_irq_gen, timeouts;
	uint8_t reserved[5];
};

/**
 * struct pcihp_status - Slots of one bus that the guest has to look at, a bit each
 * @up:		A device came
 * @down:	A device is asked to go
 */
struct pcihp_status {
	uint32_t up, down;
};

/**
 * struct cpuhp_status - A CPU in the hot-plug registers
 * @ost_event, @ost_status: What the guest's _OST method said last
 * @inserting, @removing: Events the guest has to look at
 */
struct cpuhp_status {
	uint32_t ost_event, ost_status;
	bool inserting, removing;
	uint8_t reserved[2];
};

/**
 * struct pm_state - ACPI power management
 * @timer:	Expiry of the PM timer's interrupt
 * @overflow:	Ticks at which the PM timer next sets its status bit
 * @gpe_sts, @gpe_en: The first 8 bytes of each are used
 * @memhp_selector: Of the memory hot-plug registers
 * @pcihp_select, @acpi_index, @pcihp: PCI hot-plug registers
 * @pcihp_off:	There are none: root ports do it themselves
 * @cpuhp_selector, @cpuhp_command, @cpuhp: CPU hot-plug registers
 * @cpuhp_count: CPUs; both sides must have the same
 * @cpuhp_modern: The guest switched from the presence bitmap to the registers
 */
struct pm_state {
	int64_t timer, overflow;
	struct tco_state tco;
	uint32_t smi_en, smi_sts;
	uint32_t memhp_selector;
	uint32_t pcihp_select, acpi_index;
	uint32_t cpuhp_selector, cpuhp_count;
	uint16_t sts, en, cnt;
	uint8_t cpuhp_command;
	bool cpuhp_modern;
	uint8_t gpe_sts[16], gpe_en[16];
	struct pcihp_status pcihp[PCIHP_BUSES];
	struct cpuhp_status cpuhp[CPUHP_MAX];
	bool pcihp_off;
	uint8_t reserved[3];
};

/**
 * struct lpc_state - What the guest can see of the LPC bridge
 * @smi_negotiated: SMI features that guest and host agreed on
 * @pm:		ACPI power management
 * @sci_level:	System control interrupt
 * @pci:	Configuration space
 * @apmc, @apms: Ports 0xb2 and 0xb3
 * @rst_cnt:	Port 0xcf9
 * @smi_ok:	The features are locked
 * @smi_guest:	Features as the guest asked for them, little-endian
 * @rcrb:	Root complex register block
 */
struct lpc_state {
	uint64_t smi_negotiated;
	struct pm_state pm;
	uint32_t sci_level;
	struct pci_state pci;
	uint8_t apmc, apms, rst_cnt, smi_ok;
	uint8_t smi_guest[8];
	uint8_t rcrb[LPC_RCRB_BYTES];
	uint8_t reserved[4];
};

/* Which buses count in the numbers of the hot-plug registers: see pcihp.c. */
enum pcihp_numbering { PCIHP_UNKNOWN, PCIHP_HOTPLUG, PCIHP_ALL };

/**
 * struct lpc - ICH9 LPC bridge, 00:1f.0: interrupt routing, power management, reset
 * @pci:	First
 * @s:		Guest-visible state but for the configuration space
 * @host:	Set before realize
 * @fw_cfg:	Where SMI features and sleep states are offered; set before realize; NULL: nowhere
 * @smi:	Raises an SMI; NULL: the machine has no SMM
 * @smi_opaque:	For @smi
 * @cpu_ids:	APIC ids of all possible CPUs in order; set by lpc_set_cpus()
 * @cpu_present: Which of them are there
 * @cpu_dev:	Those that can be taken away, by their devices; else NULL
 * @route_lock:	A leaf lock: protects what follows up to @sci_gsi
 * @pirq_level:	PIRQA-H as the PCI bus drives them
 * @pirq_route:	Routing registers
 * @sci_gsi:	Input that the SCI drives
 * @irr:	PIRQ of each slot's four pins
 * @smi_wmask:	Bits of SMI_EN the guest may still write
 * @tables:	The blob with the guest's ACPI tables; set before realize; NULL: none
 * @numbering:	How these number buses; a cache
 * @noreboot, @acpi_hotplug, @s3_off, @s4_off, @s4_type: Properties
 */
struct lpc {
	struct pci_device pci;
	struct lpc_state s;
	struct pci_host *host;
	struct fw_cfg *fw_cfg;
	void (*smi)(void *opaque, enum vm_smi whom);
	void *smi_opaque;
	uint32_t cpu_ids[CPUHP_MAX];
	bool cpu_present[CPUHP_MAX];
	struct device *cpu_dev[CPUHP_MAX];
	pthread_mutex_t route_lock;
	bool pirq_level[LPC_PIRQS];
	uint8_t pirq_route[LPC_PIRQS];
	int sci_gsi;
	uint8_t irr[32][4];
	uint32_t smi_wmask;
	const struct ram_block *tables;
	enum pcihp_numbering numbering;
	bool noreboot, acpi_hotplug;
	uint8_t s3_off, s4_off, s4_type;
	struct timer *pm_timer, *tco_timer;
	struct io_region pm_io, apm_io, reset_io, rcrb_io, pcihp_io, cpuhp_io, memhp_io;
};

/* All possible CPUs; before realize. @present of them are there from the start. */
void lpc_set_cpus(struct lpc *l, const uint32_t *apic_ids, unsigned int count,
		  unsigned int present);
/* ACPI events, from the main thread. */
void lpc_power_button(struct lpc *l);
void lpc_gpe_event(struct lpc *l, enum gpe_bit bit);
void lpc_set_decode(struct lpc *l, uint8_t bits);
bool lpc_may_wake(const struct lpc *l, enum wakeup_reason reason);
void lpc_wakeup(struct lpc *l, enum wakeup_reason reason); /* back from S3: WAK_STS */
/*
 * CPUs that come and go, by their places. Plugged: the registers show it. Announce: the guest is
 * told, if it runs already. Request: the guest answers by an eject, which comes out of
 * device_env.eject, or by its _OST method (device_env.ost).
 */
MUST_CHECK int lpc_cpu_can_plug(struct lpc *l, struct err *e);
void lpc_cpu_plugged(struct lpc *l, unsigned int place, struct device *dev);
void lpc_cpu_announce(struct lpc *l, unsigned int place);
MUST_CHECK int lpc_cpu_unplug_request(struct lpc *l, unsigned int place, struct err *e);
void lpc_cpu_unplugged(struct lpc *l, unsigned int place);
void lpc_cpu_ost(struct lpc *l, unsigned int place, struct device_ost *ret);
/*
 * ACPI hot-plug of PCI devices. Plugged: after pci_device_attach() while the guest runs. Request:
 * the guest answers by ejecting, which comes out of device_env.eject.
 */
MUST_CHECK int lpc_pci_can_plug(struct lpc *l, const struct pci_bus *bus, struct err *e);
void lpc_pci_plugged(struct lpc *l, struct pci_device *d);
MUST_CHECK int lpc_pci_unplug_request(struct lpc *l, struct pci_device *d, struct err *e);
/* Number by which the hot-plug registers know a bus, -1: none. The ACPI tables need it. */
int lpc_pci_bus_selector(struct lpc *l, const struct pci_bus *bus);
void lpc_pci_tables_written(struct lpc *l);

/* Between the files of the LPC bridge; chipset lock held. */
void sci_update(struct lpc *l);
void sci_set(struct lpc *l, bool level);
void smi_raise(struct lpc *l, enum vm_smi whom);
void pm_init(struct lpc *l);
void pm_release(struct lpc *l);
void pm_reset(struct lpc *l);
void pm_place(struct lpc *l);
void pm_apply(struct lpc *l);
void pm_apm_command(struct lpc *l, uint8_t value);
void tco_reset(struct lpc *l);
void tco_expired(void *opaque);
uint32_t tco_read(struct lpc *l, unsigned int offset);
void tco_write(struct lpc *l, unsigned int offset, uint16_t value);
void pcihp_init(struct lpc *l);
void pcihp_reset(struct lpc *l);
void cpuhp_init(struct lpc *l);
extern const struct state_table lpc_table;

#endif
