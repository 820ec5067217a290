/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the PCI part of a function's section: a version (little-endian, the only
 * such number in the stream), the configuration space as it is, and the levels of four interrupt
 * pins, of which a function drives one. A loaded configuration space must agree with ours in every
 * bit that neither the guest nor time changes (cmask): then both sides have the same function.
 */
#include "base/bytes.h"
#include "device/pci/internal.h"

#include <errno.h>

#define PCI_STATE_VERSION 2

static void version_save(const void *member, struct state_writer *w)
{
	state_put_be32(w, *(const uint32_t *)member);
}

/* "le" is less or equal: an older version is taken, a newer one isn't. */
static int version_load(void *member, struct state_reader *r, unsigned int version, struct err *e)
{
	uint32_t offered = state_get_be32(r);

	if (offered > PCI_STATE_VERSION)
		return err_set(e, EINVAL, "version_id: %u offered, %u known here", offered,
			       PCI_STATE_VERSION);
	*(int32_t *)member = (int32_t)offered;
	return 0;
}

static void config_save(const void *member, struct state_writer *w)
{
	state_put(w, member, 256);
}

static int config_load(void *member, struct state_reader *r, unsigned int version, struct err *e)
{
	state_get(r, member, 256);
	return 0;
}

static void express_save(const void *member, struct state_writer *w)
{
	state_put(w, member, 4096);
}

static int express_load(void *member, struct state_reader *r, unsigned int version, struct err *e)
{
	state_get(r, member, 4096);
	return 0;
}

static void irq_save(const void *member, struct state_writer *w)
{
	for (int pin = 0; pin < 4; pin++)
		state_put_be32(w, ((const uint32_t *)member)[pin]);
}

static int irq_load(void *member, struct state_reader *r, unsigned int version, struct err *e)
{
	uint32_t *levels = member;

	for (int pin = 0; pin < 4; pin++) {
		levels[pin] = state_get_be32(r);
		if (levels[pin] > 1)
			return err_set(e, EINVAL, "irq_state: pin %d has level %u", pin,
				       levels[pin]);
	}
	return 0;
}

static const struct state_codec version_codec = {"int32 le", version_save, version_load, 0};
static const struct state_codec config_codec = {"pci config", config_save, config_load, 0};
static const struct state_codec express_codec = {"pci config", express_save, express_load, 0};
static const struct state_codec irq_codec = {"pci irq state", irq_save, irq_load, 0};

static const struct state_field pci_fields[] = {
	FIELD_CODEC("version_id", struct pci_state, version_id, &version_codec),
	FIELD_CODEC("config[0]", struct pci_state, config, &config_codec),
	FIELD_CODEC("irq_state", struct pci_state, irq_state, &irq_codec),
	FIELDS_END,
};

static const struct state_field pcie_fields[] = {
	FIELD_CODEC("version_id", struct pcie_state, version_id, &version_codec),
	FIELD_CODEC("config[1]", struct pcie_state, config, &express_codec),
	FIELD_CODEC("irq_state", struct pcie_state, irq_state, &irq_codec),
	FIELDS_END,
};

const struct state_table pci_device_state = {
	.name = "PCIDevice",
	.version = 2,
	.min_version = 1,
	.size = sizeof(struct pci_state),
	.fields = pci_fields,
};

const struct state_table pcie_device_state = {
	.name = "PCIDevice",
	.version = 2,
	.min_version = 1,
	.size = sizeof(struct pcie_state),
	.fields = pcie_fields,
};

static unsigned int pin_index(const struct pci_device *d)
{
	return (d->config[PCI_INTERRUPT_PIN] - 1u) & 3;
}

static void config_out(const struct pci_device *d, uint8_t *config)
{
	memcpy(config, d->config, d->config_size);
	if (d->irq_state)
		config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
}

static int config_check(const struct pci_device *d, const uint8_t *config, struct err *e)
{
	for (unsigned int i = 0; i < d->config_size; i++) {
		uint8_t fixed = (uint8_t)(d->cmask[i] & ~d->wmask[i] & ~d->w1cmask[i]);

		if ((config[i] ^ d->config[i]) & fixed)
			return err_set(e, EINVAL, "config[%#x]: %#x offered, %#x here (mask %#x)",
				       i, config[i], d->config[i], fixed);
	}
	return 0;
}

static void config_in(struct pci_device *d, const uint8_t *config, const uint32_t *irq_state)
{
	memcpy(d->config, config, d->config_size);
	d->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
	if (d->bus)
		pci_bars_update(d);
	intx_restore(d, irq_state[pin_index(d)]);
}

/**
 * pci_capture() - Copy the PCI part out
 * @d:		Has 256 bytes of configuration space; guest stopped
 * @s:		Filled
 */
void pci_capture(const struct pci_device *d, struct pci_state *s)
{
	s->version_id = PCI_STATE_VERSION;
	config_out(d, s->config);
	s->irq_state[pin_index(d)] = d->irq_state;
}

/**
 * pci_validate() - Is a loaded PCI part one of this function?
 * @d:		The function
 * @s:		Loaded
 * @e:		Set on failure only; names the byte
 *
 * Return: 0, or -EINVAL
 */
int pci_validate(const struct pci_device *d, const struct pci_state *s, struct err *e)
{
	return config_check(d, s->config, e);
}

/**
 * pci_apply() - Take a judged PCI part over: BARs move, INTx is driven. MSI-X comes after, by
 * pci_msix_apply()
 * @d:		The function
 * @s:		Passed pci_validate()
 */
void pci_apply(struct pci_device *d, const struct pci_state *s)
{
	config_in(d, s->config, s->irq_state);
}

/**
 * pcie_capture() - pci_capture() for 4096 bytes of configuration space
 * @d:		The function
 * @s:		Filled
 */
void pcie_capture(const struct pci_device *d, struct pcie_state *s)
{
	s->version_id = PCI_STATE_VERSION;
	config_out(d, s->config);
	s->irq_state[pin_index(d)] = d->irq_state;
}

/**
 * pcie_validate() - pci_validate() for 4096 bytes of configuration space
 * @d:		The function
 * @s:		Loaded
 * @e:		Set on failure only
 *
 * Return: 0, or -EINVAL
 */
int pcie_validate(const struct pci_device *d, const struct pcie_state *s, struct err *e)
{
	return config_check(d, s->config, e);
}

/**
 * pcie_apply() - pci_apply() for 4096 bytes of configuration space
 * @d:		The function
 * @s:		Passed pcie_validate()
 */
void pcie_apply(struct pci_device *d, const struct pcie_state *s)
{
	config_in(d, s->config, s->irq_state);
}
