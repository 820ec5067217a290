/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PULSE_X86_PCI_H
#define PULSE_X86_PCI_H

#include <stdbool.h>
#include <stdint.h>

#define PCI_ID      0x00
#define PCI_COMMAND 0x04
#define PCI_HEADER  0x0c
#define PCI_BAR0    0x10
#define PCI_CAPS    0x34

/**
 * pci_read() - Read a configuration register of a function on bus 0
 * @devfn:	Device and function
 * @reg:	Offset, a multiple of 4
 * Return: its value, all ones when nothing is there
 */
uint32_t pci_read(uint8_t devfn, uint8_t reg);

/**
 * pci_write() - Write a configuration register of a function on bus 0
 * @devfn:	Device and function
 * @reg:	Offset, a multiple of 4
 * @value:	Value
 */
void pci_write(uint8_t devfn, uint8_t reg, uint32_t value);

/**
 * pci_read8() - Read one byte of configuration space
 * @devfn:	Device and function
 * @reg:	Offset
 * Return: the byte
 */
uint8_t pci_read8(uint8_t devfn, uint8_t reg);

/**
 * pci_next() - Find functions on bus 0
 * @devfn:	Where to begin
 * @id:		Set to vendor and device
 * Return: the first function from @devfn on, or -1
 */
int pci_next(int devfn, uint32_t *id);

/**
 * pci_enable() - Give a function its memory BARs where the firmware did not, and let it work
 * @devfn:	Device and function
 */
void pci_enable(uint8_t devfn);

/**
 * pci_bar() - Where a memory BAR is
 * @devfn:	Device and function
 * @bar:	0 to 5
 * Return: guest physical address
 */
uint64_t pci_bar(uint8_t devfn, unsigned int bar);

#endif
