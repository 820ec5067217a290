/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_Q35_Q35_H
#define MACHINE_Q35_Q35_H

#include "device/fw_cfg.h"
#include "device/hpet.h"
#include "device/ps2.h"
#include "device/rtc.h"
#include "device/vmgenid.h"
#include "device/vmport.h"
#include "kvm/x86/cpuid.h"
#include "machine/q35/acpi.h"
#include "machine/q35/boot_order.h"
#include "machine/q35/layout.h"
#include "machine/q35/lpc.h"
#include "machine/q35/q35_chipset.h"
#include "machine/q35/smbios.h"
#include "machine/vm.h"
#include "machine/x86/boot.h"
#include "machine/x86/chips.h"
#include "memory/slots.h"

/*
 * Theory of operation: pc-q35-7.2 put together: KVM, memory, the chipset in QEMU's order, vCPUs,
 * and what boots. Devices of the user come afterwards by q35_device_add(). Whoever takes a guest
 * over (migration, live upgrade) makes the same machine from the same configuration with @incoming
 * set: nothing is loaded for booting, state comes later.
 */

#define Q35_MACHINE "pc-q35-7.2"

/* System management mode; auto: where this host's KVM has it. */
enum q35_smm { Q35_SMM_AUTO, Q35_SMM_ON, Q35_SMM_OFF };

/**
 * struct q35_config - A machine to be made; everything borrowed
 * @ram:	Memory
 * @numa:	Its nodes; NULL: none. Copied
 * @cpus, @max_cpus: vCPUs at start, and places
 * @topology:	-smp
 * @cpu:	CPU model, with features behind commas
 * @kernel, @initrd, @append: Direct boot; NULL: from firmware
 * @boot:	-boot
 * @hpet:	There is an HPET
 * @rtc_slew:	Ticks of the RTC that the guest missed come later
 * @vmport:	There are VMware's port and its mouse
 * @smm:	Whether there is system management mode
 * @serials:	Bit n: COMn+1 will be there (for the ACPI tables)
 * @uuid:	16 bytes
 * @smbios:	Text that the user gave for a field of an SMBIOS table, NULL: none; may be NULL
 * @smbios_nth:	See struct smbios_config; may be NULL
 * @globals:	See struct device_env; may be NULL
 * @io_error:	See struct device_env; may be NULL
 * @io_error_opaque: For @io_error
 * @opaque:	For @smbios and @globals
 * @rtc_s:	Seconds since the epoch that the guest's clock starts at
 * @policy:	What happens at reset, power-off, panic
 * @incoming:	State will be loaded
 * @dirty_ring_entries: Of each vCPU's dirty ring; 0: the dirty log
 */
struct q35_config {
	struct q35_ram_config ram;
	const struct q35_numa *numa;
	unsigned int cpus, max_cpus;
	struct x86_topology topology;
	const char *cpu, *kernel, *initrd, *append;
	struct q35_boot_config boot;
	bool hpet, vmport, incoming, rtc_slew;
	enum q35_smm smm;
	uint8_t serials, uuid[16];
	const char *(*smbios)(void *opaque, int type, const char *name);
	const char *(*smbios_nth)(void *opaque, int type, const char *name, unsigned int i);
	int (*globals)(void *opaque, struct device *dev, struct err *e);
	void *opaque;
	void (*io_error)(void *opaque, const struct device_io_error *what);
	void *io_error_opaque;
	int64_t rtc_s;
	struct vm_policy policy;
	uint32_t dirty_ring_entries;
};

/**
 * struct q35 - The machine. Owner: the main thread
 */
struct q35 {
	struct loop *loop;
	struct kvm_host host; /* /dev/kvm */
	struct kvm_vm *kvm;
	struct slots *slots;
	struct memory memory;
	struct q35_ram ram;
	struct q35_numa *numa;                  /* NULL: none */
	struct block_node *pflash[Q35_FLASHES]; /* borrowed; NULL: no chip */
	bool adopted;                           /* from a process on this host, memory and all */
	struct io_space *io;
	struct guest_clock *clock;
	pthread_mutex_t chipset_lock;
	struct device_env env;
	struct list devices;
	struct pci_bus *root;
	struct fw_cfg *fw_cfg;
	struct mch *mch;
	struct pci_host *host_bridge;
	struct lpc *lpc;
	struct rtc *rtc;
	struct hpet *hpet_dev; /* NULL: none */
	struct ps2_keyboard *keyboard;
	struct ps2_mouse *mouse;
	struct vmmouse *vmmouse;
	struct vm_listener listener;
	struct x86_cpuid cpuid;
	struct x86_cpus *vcpus;
	struct x86_chips chips; /* for what a further vCPU needs */
	struct vm vm;
	unsigned int cpus, max_cpus; /* at start, and places */
	uint8_t serials;
	bool hpet, vmport, smm, rtc_slew;
	uint8_t boot_kinds[3]; /* -boot order=, as CMOS has it */
	bool boot_once;        /* CMOS has the order of the first start */
	bool boot_strict, started;
	bool direct; /* a kernel is started without firmware, anew after each reset */
	struct boot_options boot;
	struct smbios smbios;
	char *kernel, *initrd, *append; /* owned; @boot borrows them */
};

MUST_CHECK int q35_create(struct q35 **ret, const struct q35_config *c, struct loop *loop,
			  struct err *e);
void q35_destroy(struct q35 *q);
/* Writes the ACPI tables anew from what firmware has programmed so far. Guest stopped, or
 * chipset lock held. */
void q35_acpi_update(struct q35 *q);

struct vmgenid *q35_vmgenid(const struct q35 *q);
void q35_acpi_build(struct q35 *q, struct acpi_tables *ret);
void q35_smbios_build(struct q35 *q, const struct q35_config *c, struct smbios *ret);

/* parts.c: the chipset. */
MUST_CHECK int q35_parts_make(struct q35 *q, const struct q35_config *c, struct err *e);
/* vcpu.c: vCPUs beyond those of the start. */
void q35_vcpus_count(struct q35 *q);
unsigned int q35_vcpu_place(const struct device *dev);
struct device *q35_vcpu_device(const struct q35 *q, unsigned int place); /* NULL: of the start */
/* pit.c: what other devices see and change of KVM's timer. */
unsigned int q35_pit_speaker(void *opaque);
void q35_pit_gate(void *opaque, bool on);
void q35_pit_enable(void *opaque, int line, bool on);

/* boot.c: fw_cfg's contents; without firmware what it would have done, and the kernel. */
MUST_CHECK int q35_boot_prepare(struct q35 *q, const struct q35_config *c, struct err *e);
MUST_CHECK int q35_boot_direct(struct q35 *q, struct err *e); /* after each reset; vCPUs parked */

#endif
