/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a root port is a bridge with one slot behind it. Hot-plug by the port itself
 * works by the slot's registers: presence (PDS, PDC), the attention button (ABP, by which the guest
 * is asked to let a device go or told that one came), the power indicator (blinking while the guest
 * is at work) and the power controller. The guest ejects by switching power and indicator off; the
 * device is then gone. Each write to Slot Control is a command that completes at once (CC).
 *
 * On q35 ACPI does hot-plug by default, and the slot's registers stay as the machine was started;
 * the functions behind a slot without power are not seen.
 *
 * Source: PCI Express Base Specification 3.1, 6.7.3, 7.8.10. Layout and state as QEMU's
 * pcie-root-port.
 */
#include "device/pci/pcie_port.h"

#include "base/bytes.h"
#include "device/classes.h"
#include "device/pci/internal.h"
#include "device/wire.h"

#include <errno.h>

#define SLOT_EVENTS                                                                            \
	(PCI_EXP_SLTSTA_ABP | PCI_EXP_SLTSTA_PFD | PCI_EXP_SLTSTA_MRLSC | PCI_EXP_SLTSTA_PDC | \
	 PCI_EXP_SLTSTA_CC)
#define SLOT_INTERRUPTS (PCI_EXP_SLTSTA_ABP | PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_CC)
#define AER             0x100
#define AER_BYTES       0x48
#define ACS             0x148
#define ACS_BITS        0x5f
#define RESERVE_LEN     32
#define UNC_SUPPORTED   0x03fff030u
#define COR_SUPPORTED   0x0000f1c1u

static uint16_t slot_get(const struct pcie_port *p, unsigned int reg)
{
	return load_le16(p->pci.config + p->pci.exp_cap + reg);
}

static void slot_set(struct pcie_port *p, unsigned int reg, uint16_t clear, uint16_t set)
{
	store_le16(p->pci.config + p->pci.exp_cap + reg,
		   (uint16_t)((slot_get(p, reg) & ~clear) | set));
}

/* The interrupt condition of 6.7.3.4; MSI-X is sent when it becomes true. */
static void notify(struct pcie_port *p)
{
	uint16_t ctl = slot_get(p, PCI_EXP_SLTCTL), sta = slot_get(p, PCI_EXP_SLTSTA);
	bool was = p->notified;

	p->notified = ctl & PCI_EXP_SLTCTL_HPIE && ctl & sta & SLOT_INTERRUPTS;
	if (pci_msix_enabled(&p->pci)) {
		if (p->notified && !was)
			pci_msix_notify(&p->pci, 0);
	} else {
		pci_intx_set(&p->pci, p->notified);
	}
}

static void event(struct pcie_port *p, uint16_t bits)
{
	slot_set(p, PCI_EXP_SLTSTA, 0, bits);
	notify(p);
}

static void power_child(struct pci_device *d, void *opaque)
{
	d->power_off = *(bool *)opaque;
	pci_bars_update(d);
}

static void power_update(struct pcie_port *p)
{
	bool off = p->power_control && slot_get(p, PCI_EXP_SLTCTL) & PCI_EXP_SLTCTL_PCC;

	pci_bus_walk(p->pci.secondary, power_child, &off);
}

static void link_up(struct pcie_port *p, bool up)
{
	slot_set(p, PCI_EXP_LNKSTA, PCI_EXP_LNKSTA_DLLLA, up ? PCI_EXP_LNKSTA_DLLLA : 0);
	slot_set(p, PCI_EXP_SLTSTA, PCI_EXP_SLTSTA_PDS, up ? PCI_EXP_SLTSTA_PDS : 0);
}

/* The guest let the slot go: the machine takes the functions away. */
static void eject(struct pcie_port *p)
{
	const struct device_env *env = p->pci.dev.env;

	for (int devfn = 0; devfn < 256; devfn++) {
		struct pci_device *d = p->pci.secondary->devices[devfn];

		if (d && d->dev.class->hotplug && env->eject)
			env->eject(env->opaque, &d->dev);
	}
	p->leaving = false;
	link_up(p, false);
	slot_set(p, PCI_EXP_SLTSTA, 0, PCI_EXP_SLTSTA_PDC);
}

static bool is_off(uint16_t control)
{
	return control & PCI_EXP_SLTCTL_PCC &&
	       (control & PCI_EXP_SLTCTL_PIC) == PCI_EXP_SLTCTL_PWR_IND_OFF;
}

static bool touches(unsigned int offset, unsigned int size, unsigned int from, unsigned int len)
{
	return offset < from + len && from < offset + size;
}

static void control_written(struct pcie_port *p, uint16_t was)
{
	uint16_t now = slot_get(p, PCI_EXP_SLTCTL);

	if (now & PCI_EXP_SLTCTL_EIC) { /* toggles the lock, reads as 0 */
		slot_set(p, PCI_EXP_SLTCTL, PCI_EXP_SLTCTL_EIC, 0);
		slot_set(p, PCI_EXP_SLTSTA, PCI_EXP_SLTSTA_EIS,
			 slot_get(p, PCI_EXP_SLTSTA) & PCI_EXP_SLTSTA_EIS ? 0 : PCI_EXP_SLTSTA_EIS);
	}
	if (slot_get(p, PCI_EXP_SLTSTA) & PCI_EXP_SLTSTA_PDS && is_off(now) && !is_off(was))
		eject(p);
	power_update(p);
	event(p, PCI_EXP_SLTSTA_CC);
}

static void port_written(struct pci_device *d, unsigned int offset, unsigned int size)
{
	struct pcie_port *p = (struct pcie_port *)d;

	if (touches(offset, size, d->exp_cap + PCI_EXP_SLTSTA, 2))
		notify(p);
	if (touches(offset, size, d->exp_cap + PCI_EXP_SLTCTL, 2)) {
		uint16_t was = p->control_before;

		control_written(p, was);
	}
	p->control_before = slot_get(p, PCI_EXP_SLTCTL);
}

/* A device that is there when the machine starts needs no event, where the port does hot-plug
 * itself. */
static void child_attached(struct pci_device *bridge, struct pci_device *child)
{
	struct pcie_port *p = (struct pcie_port *)bridge;

	if (p->native)
		link_up(p, true);
}

/**
 * pcie_port_plugged() - Tell the guest that a device came
 * @p:		The port; main thread
 * @d:		Attached behind it. Function 0 comes last, the others are told with it
 */
void pcie_port_plugged(struct pcie_port *p, struct pci_device *d)
{
	if (PCI_FN(d->devfn))
		return;
	pthread_mutex_lock(p->pci.dev.lock);
	link_up(p, true);
	power_update(p);
	event(p, PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_ABP);
	pthread_mutex_unlock(p->pci.dev.lock);
}

/**
 * pcie_port_power_on() - Give the slot power, for a device that ACPI announces
 * @p:		The port; main thread
 */
void pcie_port_power_on(struct pcie_port *p)
{
	pthread_mutex_lock(p->pci.dev.lock);
	if (p->power_control)
		slot_set(p, PCI_EXP_SLTCTL, PCI_EXP_SLTCTL_PCC, 0);
	p->control_before = slot_get(p, PCI_EXP_SLTCTL);
	power_update(p);
	pthread_mutex_unlock(p->pci.dev.lock);
}

static int unplug_request(struct pcie_port *p, struct err *e)
{
	uint16_t control = slot_get(p, PCI_EXP_SLTCTL);

	if (!p->hotplug)
		return err_set(e, EOPNOTSUPP, "port '%s' has hotplug=off", p->pci.secondary->name);
	if (slot_get(p, PCI_EXP_SLTSTA) & PCI_EXP_SLTSTA_EIS)
		return err_set(e, EBUSY, "the guest locked the slot of port '%s'",
			       p->pci.secondary->name);
	if ((control & PCI_EXP_SLTCTL_PIC) == PCI_EXP_SLTCTL_PWR_IND_BLINK)
		return err_set(e, EBUSY, "the guest is at work on port '%s' (indicator blinks)",
			       p->pci.secondary->name);
	p->leaving = true;
	if (is_off(control)) {
		eject(p);
		notify(p);
	} else {
		event(p, PCI_EXP_SLTSTA_ABP);
	}
	return 0;
}

/**
 * pcie_port_unplug_request() - Ask the guest to let the slot's device go
 * @p:		The port; main thread
 * @e:		Set on failure only
 *
 * Errors: EOPNOTSUPP the slot has no hot-plug, EBUSY the guest has locked it or is at work on it
 * Return: 0, or a negative errno. The device goes when the guest agrees, at once if the slot has no
 * power
 */
int pcie_port_unplug_request(struct pcie_port *p, struct err *e)
{
	int r;

	pthread_mutex_lock(p->pci.dev.lock);
	r = unplug_request(p, e);
	pthread_mutex_unlock(p->pci.dev.lock);
	return r;
}

static void slot_reset(struct pcie_port *p)
{
	bool populated = p->pci.secondary->devices[0];
	uint16_t set = PCI_EXP_SLTCTL_ATTN_IND_OFF;

	if (p->power_control)
		set |= (uint16_t)(populated ? PCI_EXP_SLTCTL_PWR_IND_ON
					    : PCI_EXP_SLTCTL_PWR_IND_OFF | PCI_EXP_SLTCTL_PCC);
	slot_set(p, PCI_EXP_SLTCTL, 0xffff, set);
	slot_set(p, PCI_EXP_SLTSTA, PCI_EXP_SLTSTA_EIS | SLOT_EVENTS, 0);
	p->control_before = slot_get(p, PCI_EXP_SLTCTL);
	p->notified = p->leaving = false;
	power_update(p);
}

/* Base above limit: nothing is forwarded. */
static void windows_close(uint8_t *c)
{
	c[PCI_IO_BASE] |= 0xf0;
	c[PCI_IO_LIMIT] &= 0x0f;
	store_le16(c + PCI_MEMORY_BASE, 0xfff0);
	store_le16(c + PCI_MEMORY_LIMIT, 0);
	store_le16(c + PCI_PREF_MEMORY_BASE, 0xfff1);
	store_le16(c + PCI_PREF_MEMORY_LIMIT, 1);
	store_le64(c + PCI_PREF_BASE_UPPER32, 0);
}

static void port_reset(struct device *dev)
{
	struct pcie_port *p = (struct pcie_port *)dev;
	uint8_t *c = p->pci.config;

	pci_device_reset(&p->pci);
	memset(c + PCI_PRIMARY_BUS, 0, 4);
	store_le16(c + PCI_BRIDGE_CONTROL, 0);
	windows_close(c);
	store_le16(c + p->pci.exp_cap + PCI_EXP_RTCTL, 0);
	store_le16(c + p->pci.exp_cap + PCI_EXP_DEVCTL, 0);
	store_le16(c + p->pci.exp_cap + PCI_EXP_DEVCTL2, 0);
	store_le32(c + AER + PCI_ERR_ROOT_COMMAND, 0);
	if (!p->acs_off)
		store_le16(c + ACS + PCI_ACS_CTRL, 0);
	p->aer.num = 0;
	slot_reset(p);
}

static const uint8_t speeds[] = {1, 2, 3, 4};
static const uint8_t widths[] = {1, 2, 4, 8, 12, 16, 32};
static const char *const speed_names[] = {"2_5", "5", "8", "16", NULL};
static const char *const width_names[] = {"1", "2", "4", "8", "12", "16", "32", NULL};

static void link_init(struct pcie_port *p)
{
	uint8_t *cap = p->pci.config + p->pci.exp_cap;
	uint8_t speed = speeds[p->speed], width = widths[p->width];
	uint32_t lnkcap = load_le32(cap + PCI_EXP_LNKCAP) & ~0x3ffu;

	lnkcap |= (uint32_t)width << 4 | speed;
	if (width > 1 || speed > 1)
		lnkcap |= 1u << 21; /* bandwidth notification */
	if (speed > 1) {
		lnkcap |= PCI_EXP_LNKCAP_DLLLARC;
		store_le16(cap + PCI_EXP_LNKCTL2, speed);
	}
	if (speed > 2)
		store_le32(cap + 0x2c, (2u << speed) - 2); /* LNKCAP2: all speeds up to this one */
	store_le32(cap + PCI_EXP_LNKCAP, lnkcap);
}

static void slot_init(struct pcie_port *p)
{
	struct pci_device *d = &p->pci;
	uint8_t *cap = d->config + d->exp_cap;
	uint32_t sltcap = (uint32_t)p->slot << 19 | PCI_EXP_SLTCAP_EIP | PCI_EXP_SLTCAP_PIP |
			  PCI_EXP_SLTCAP_AIP | PCI_EXP_SLTCAP_ABP;

	cap[PCI_EXP_FLAGS + 1] |= PCI_EXP_FLAGS_SLOT >> 8;
	if (p->hotplug)
		sltcap |= PCI_EXP_SLTCAP_HPS | PCI_EXP_SLTCAP_HPC;
	if (p->power_control)
		sltcap |= PCI_EXP_SLTCAP_PCP;
	store_le32(cap + PCI_EXP_SLTCAP, sltcap);
	store_le16(d->wmask + d->exp_cap + PCI_EXP_SLTCTL,
		   PCI_EXP_SLTCTL_PIC | PCI_EXP_SLTCTL_AIC | PCI_EXP_SLTCTL_HPIE |
			   PCI_EXP_SLTCTL_CCIE | PCI_EXP_SLTCTL_PDCE | PCI_EXP_SLTCTL_ABPE |
			   PCI_EXP_SLTCTL_EIC | (p->power_control ? PCI_EXP_SLTCTL_PCC : 0));
	store_le16(d->w1cmask + d->exp_cap + PCI_EXP_SLTSTA, SLOT_INTERRUPTS);
	store_le16(d->wmask + d->exp_cap + PCI_EXP_RTCTL, 7);
}

static void aer_init(struct pcie_port *p)
{
	struct pci_device *d = &p->pci;
	uint32_t more = p->aer_log_max ? 0x200 : 0; /* several headers can be logged */

	pci_add_express_capability(d, PCI_EXT_CAP_ID_ERR, 2, AER, AER_BYTES);
	store_le32(d->w1cmask + AER + PCI_ERR_UNCOR_STATUS, UNC_SUPPORTED);
	store_le32(d->config + AER + PCI_ERR_UNCOR_SEVER, 0x00462030);
	store_le32(d->wmask + AER + PCI_ERR_UNCOR_SEVER, UNC_SUPPORTED);
	store_le32(d->w1cmask + AER + PCI_ERR_COR_STATUS, COR_SUPPORTED);
	store_le32(d->config + AER + PCI_ERR_COR_MASK, 0xe000);
	store_le32(d->wmask + AER + PCI_ERR_COR_MASK, COR_SUPPORTED);
	store_le32(d->config + AER + PCI_ERR_CAP, 0xa0 | more);
	store_le32(d->wmask + AER + PCI_ERR_CAP, 0x140 | more << 1);
	store_le32(d->wmask + AER + PCI_ERR_ROOT_COMMAND, 7);
	store_le32(d->w1cmask + AER + PCI_ERR_ROOT_STATUS, 0x7f);
	store_le32(d->cmask + AER + PCI_ERR_ROOT_STATUS, ~0xf8000000u);
	p->aer.max = p->aer_log_max;
}

static void acs_init(struct pcie_port *p)
{
	pci_add_express_capability(&p->pci, PCI_EXT_CAP_ID_ACS, 1, ACS, 8);
	store_le16(p->pci.config + ACS + PCI_ACS_CAP, ACS_BITS);
	store_le16(p->pci.wmask + ACS + PCI_ACS_CTRL, ACS_BITS);
}

static bool reserves(const struct pcie_port *p)
{
	return p->bus_reserve != UINT32_MAX || p->io_reserve != UINT64_MAX ||
	       p->mem_reserve != UINT64_MAX || p->pref32_reserve != UINT64_MAX ||
	       p->pref64_reserve != UINT64_MAX;
}

/* Tells firmware how much room to leave for what may be plugged. Source: SeaBIOS and OVMF's
 * resource reserve capability */
static int reserve_init(struct pcie_port *p, struct err *e)
{
	uint8_t *c;
	int at;

	if (p->pref32_reserve != UINT64_MAX && p->pref64_reserve != UINT64_MAX)
		return err_set(e, EINVAL, "pref32-reserve and pref64-reserve exclude each other");
	if (p->mem_reserve != UINT64_MAX && p->mem_reserve >= 4 * GiB)
		return err_set(e, ERANGE, "mem-reserve must be less than 4G");
	if (p->pref32_reserve != UINT64_MAX && p->pref32_reserve >= 4 * GiB)
		return err_set(e, ERANGE, "pref32-reserve must be less than 4G");
	if (!reserves(p))
		return 0;
	at = pci_add_capability(&p->pci, PCI_CAP_ID_VNDR, 0, RESERVE_LEN, e);
	if (at < 0)
		return at;
	c = p->pci.config + at;
	c[2] = RESERVE_LEN;
	p->pci.cmask[at + 2] = 0; /* 0.1 said 40, and its guests keep it */
	c[3] = 1;
	store_le32(c + 4, p->bus_reserve);
	store_le64(c + 8, p->io_reserve);
	store_le32(c + 16, (uint32_t)p->mem_reserve);
	store_le32(c + 20, (uint32_t)p->pref32_reserve);
	store_le64(c + 24, p->pref64_reserve);
	if (!p->io_reserve) {
		p->pci.wmask[PCI_COMMAND] &= (uint8_t)~PCI_COMMAND_IO;
		p->pci.wmask[PCI_IO_BASE] = p->pci.wmask[PCI_IO_LIMIT] = 0;
	}
	return 0;
}

static int caps_init(struct pcie_port *p, struct err *e)
{
	struct pci_device *d = &p->pci;
	int r = pci_add_capability(d, PCI_CAP_ID_SSVID, 0, 8, e);

	if (r < 0)
		return r;
	store_le16(d->config + r + PCI_SSVID_VENDOR_ID, 0x1b36);
	r = pci_msix_init(d, 1, 0, 0, 0x800, 0, e);
	if (!r)
		r = pci_express_init(d, 0, PCI_EXP_TYPE_ROOT_PORT, p->port, e);
	if (r)
		return r;
	d->config[d->exp_cap + PCI_EXP_DEVCAP2] |= 0x20; /* ARI forwarding */
	d->wmask[d->exp_cap + PCI_EXP_DEVCTL2] |= 0x20;
	pci_express_errors(d);
	link_init(p);
	slot_init(p);
	aer_init(p);
	if (!p->acs_off)
		acs_init(p);
	return reserve_init(p, e);
}

static int port_realize(struct device *dev, struct err *e)
{
	static const struct pci_ids ids = {
		.vendor = 0x1b36, .device = 0x000c, .class_code = 0x060400};
	struct pcie_port *p = (struct pcie_port *)dev;
	struct pci_device *d = &p->pci;
	int r;

	d->express = d->bridge = true;
	p->native = p->hotplug && dev->env->native_hotplug;
	r = pci_device_init(d, &ids, e);
	store_le16(d->wmask + PCI_BRIDGE_CONTROL, 0x005f);
	store_le16(d->w1cmask + PCI_BRIDGE_CONTROL, 0);
	d->config[PCI_INTERRUPT_PIN] = 1;
	d->config_written = port_written;
	d->child_attached = child_attached;
	if (!r)
		r = caps_init(p, e);
	d->secondary = pci_bus_create(dev->id ? dev->id : "", d, 0);
	d->secondary->hotplug = p->hotplug;
	if (!r)
		r = pci_device_attach(d, NULL, e);
	if (r) {
		pci_bus_destroy(d->secondary);
		d->secondary = NULL;
		pci_device_release(d);
		return r;
	}
	port_reset(dev);
	return 0;
}

static void port_unrealize(struct device *dev)
{
	struct pcie_port *p = (struct pcie_port *)dev;

	pci_device_detach(&p->pci);
	pci_bus_destroy(p->pci.secondary);
	p->pci.secondary = NULL;
	pci_device_release(&p->pci);
}

static void port_capture(const struct device *dev, void *state)
{
	const struct pcie_port *p = (const struct pcie_port *)dev;
	struct port_state *s = state;

	pcie_capture(&p->pci, &s->pci);
	s->aer = p->aer;
	pci_msix_capture(&p->pci, s->msix.bytes, s->msix.bytes + 16);
}

static int port_validate(const struct device *dev, const void *state, struct err *e)
{
	const struct pcie_port *p = (const struct pcie_port *)dev;
	const struct port_state *s = state;

	if (s->aer.max != p->aer.max)
		return err_set(e, EINVAL, "log_max: %u offered, %u configured here", s->aer.max,
			       p->aer.max);
	return pcie_validate(&p->pci, &s->pci, e);
}

static void port_apply(struct device *dev, const void *state)
{
	struct pcie_port *p = (struct pcie_port *)dev;
	const struct port_state *s = state;
	uint16_t ctl, sta;

	pcie_apply(&p->pci, &s->pci);
	p->aer = s->aer;
	pci_msix_apply(&p->pci, s->msix.bytes, s->msix.bytes + 16);
	ctl = slot_get(p, PCI_EXP_SLTCTL);
	sta = slot_get(p, PCI_EXP_SLTSTA);
	p->control_before = ctl;
	p->notified = ctl & PCI_EXP_SLTCTL_HPIE && ctl & sta & SLOT_INTERRUPTS;
	power_update(p);
}

static const struct state_field error_fields[] = {
	FIELD("status", struct aer_error, status), FIELD("source_id", struct aer_error, source),
	FIELD("flags", struct aer_error, flags),   FIELD("header", struct aer_error, header),
	FIELD("prefix", struct aer_error, prefix), FIELDS_END,
};

static const struct state_table error_table = {
	.name = "PCIE_AER_ERROR",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct aer_error),
	.fields = error_fields,
};

static int log_check(const void *state, unsigned int version, struct err *e)
{
	const struct aer_log *l = state;

	if (l->max > AER_LOG_MAX || l->num > l->max)
		return err_set(e, EINVAL, "log_num: %u of %u", l->num, l->max);
	return 0;
}

static const struct state_field log_fields[] = {
	FIELD("log_num", struct aer_log, num),
	FIELD_CODEC("log_max", struct aer_log, max, &wire_uint16_equal),
	FIELD_STRUCTS_N("log", struct aer_log, log, num, &error_table),
	FIELDS_END,
};

static const struct state_table log_table = {
	.name = "PCIE_AER_ERROR_LOG",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct aer_log),
	.fields = log_fields,
	.check = log_check,
};

static void msix_save(const void *member, struct state_writer *w)
{
	state_put(w, member, 17);
}

static int msix_load(void *member, struct state_reader *r, unsigned int version, struct err *e)
{
	state_get(r, member, 17);
	return 0;
}

static const struct state_codec msix_codec = {"msix state", msix_save, msix_load, 0};

static const struct state_field msix_fields[] = {
	FIELD_CODEC("msix", struct port_msix, bytes, &msix_codec),
	NOT_SENT(struct port_msix, reserved, "padding"),
	FIELDS_END,
};

static const struct state_table msix_table = {
	.name = "msix",
	.version = 0,
	.min_version = 0,
	.size = sizeof(struct port_msix),
	.fields = msix_fields,
};

static const struct state_field port_fields[] = {
	FIELD_STRUCT("parent_obj.parent_obj.parent_obj", struct port_state, pci,
		     &pcie_device_state),
	FIELD_STRUCT("parent_obj.parent_obj.parent_obj.exp.aer_log", struct port_state, aer,
		     &log_table),
	FIELD_STRUCT("parent_obj.parent_obj.parent_obj.parent_obj", struct port_state, msix,
		     &msix_table),
	FIELDS_END,
};

static const struct port_state port_fresh = {.aer.max = 8};

static const struct state_table port_table = {
	.name = "pcie-root-port",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct port_state),
	.fields = port_fields,
	.fresh = &port_fresh,
};

#define P(m) offsetof(struct pcie_port, m)

static const struct prop port_props[] = {
	PCI_PROPS(struct pcie_port, pci),
	{.name = "port", .kind = PROP_U8, .offset = P(port), .def = "0", .help = "Port number"},
	{.name = "chassis",
	 .kind = PROP_U8,
	 .offset = P(chassis),
	 .def = "0",
	 .help = "Chassis number"},
	{.name = "slot",
	 .kind = PROP_U16,
	 .offset = P(slot),
	 .def = "0",
	 .help = "Physical slot number",
	 .max = 0x1fff},
	{.name = "hotplug",
	 .kind = PROP_BOOL,
	 .offset = P(hotplug),
	 .def = "on",
	 .help = "Devices may come and go while the guest runs"},
	{.name = "power_controller_present",
	 .kind = PROP_BOOL,
	 .offset = P(power_control),
	 .def = "on",
	 .help = "The slot's power can be switched"},
	{.name = "disable-acs",
	 .kind = PROP_BOOL,
	 .offset = P(acs_off),
	 .def = "off",
	 .help = "No access control services"},
	{.name = "aer_log_max",
	 .kind = PROP_U16,
	 .offset = P(aer_log_max),
	 .def = "8",
	 .help = "Errors kept in the log",
	 .max = AER_LOG_MAX},
	{.name = "x-speed",
	 .kind = PROP_ENUM,
	 .offset = P(speed),
	 .def = "16",
	 .help = "Link speed in GT/s",
	 .names = speed_names},
	{.name = "x-width",
	 .kind = PROP_ENUM,
	 .offset = P(width),
	 .def = "32",
	 .help = "Link width",
	 .names = width_names},
	{.name = "bus-reserve",
	 .kind = PROP_U32,
	 .offset = P(bus_reserve),
	 .def = "4294967295",
	 .help = "Bus numbers to reserve behind the port"},
	{.name = "io-reserve",
	 .kind = PROP_SIZE,
	 .offset = P(io_reserve),
	 .def = "18446744073709551615",
	 .help = "I/O ports to reserve"},
	{.name = "mem-reserve",
	 .kind = PROP_SIZE,
	 .offset = P(mem_reserve),
	 .def = "18446744073709551615",
	 .help = "Memory to reserve"},
	{.name = "pref32-reserve",
	 .kind = PROP_SIZE,
	 .offset = P(pref32_reserve),
	 .def = "18446744073709551615",
	 .help = "Prefetchable memory below 4 GiB to reserve"},
	{.name = "pref64-reserve",
	 .kind = PROP_SIZE,
	 .offset = P(pref64_reserve),
	 .def = "18446744073709551615",
	 .help = "Prefetchable memory to reserve"},
	PROPS_END,
};

const struct device_class pcie_port_class = {
	.name = "pcie-root-port",
	.help = "PCI Express Root Port",
	.bus = "PCI",
	.size = sizeof(struct pcie_port),
	.user = true,
	.continuity = CONTINUITY_STATE,
	.state = &port_table,
	.section = "pcie-root-port",
	.props = port_props,
	.realize = port_realize,
	.unrealize = port_unrealize,
	.reset = port_reset,
	.capture = port_capture,
	.validate = port_validate,
	.apply = port_apply,
};
