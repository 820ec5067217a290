/* SPDX-License-Identifier: Apache-2.0 */
/* The q35 chipset's classes, in one array that a person can read. */
#include "machine/q35/q35_chipset.h"

const struct device_class *const q35_classes[] = {
	&acpi_build_class, &ahci_class,     &i2c_bus_class, &lpc_class,  &mch_class,
	&pci_bus_class,    &pci_host_class, &smbus_class,   &vcpu_class, NULL,
};
