/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_Q35_AML_H
#define MACHINE_Q35_AML_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Theory of operation: ACPI byte code is written front to back into one growing buffer. A term with
 * a length (scope, device, method, if, package, buffer) is opened, filled and closed by aml_end(),
 * which puts the length in. Expressions are written in the order of the byte code: operator,
 * operands, target. Names are paths as in ASL ("\\_SB.PCI0", "_HID",
 * "^X"); parts shorter than four characters are padded with underscores.
 * Source: ACPI 6.5, chapter 20
 */

/**
 * struct aml - ACPI tables being written
 * @buf:	Bytes; owned
 * @len:	How many
 * @room:	Allocated
 * @open:	Where the length of each open term begins
 * @depth:	How many are open
 */
struct aml {
	uint8_t *buf;
	size_t len, room;
	size_t open[32];
	unsigned int depth;
};

enum aml_op {
	AML_ZERO = 0x00,
	AML_ONE = 0x01,
	AML_LOCAL0 = 0x60,
	AML_LOCAL1,
	AML_LOCAL2,
	AML_LOCAL3,
	AML_LOCAL4,
	AML_ARG0 = 0x68,
	AML_ARG1,
	AML_ARG2,
	AML_ARG3,
	AML_ARG4,
	AML_STORE = 0x70,
	AML_ADD = 0x72,
	AML_SUBTRACT = 0x74,
	AML_INCREMENT = 0x75,
	AML_SHIFT_LEFT = 0x79,
	AML_SHIFT_RIGHT = 0x7a,
	AML_AND = 0x7b,
	AML_OR = 0x7d,
	AML_DEREF_OF = 0x83,
	AML_NOTIFY = 0x86,
	AML_SIZE_OF = 0x87,
	AML_INDEX = 0x88,
	AML_CREATE_DWORD_FIELD = 0x8a,
	AML_LAND = 0x90,
	AML_LOR = 0x91,
	AML_LNOT = 0x92,
	AML_LEQUAL = 0x93,
	AML_LGREATER = 0x94,
	AML_LLESS = 0x95,
	AML_TO_BUFFER = 0x96,
	AML_TO_HEX_STRING = 0x98,
	AML_RETURN = 0xa4,
	AML_BREAK = 0xa5,
	AML_ONES = 0xff,
};

enum aml_region { AML_SYSTEM_MEMORY, AML_SYSTEM_IO, AML_PCI_CONFIG };

/* Field flags: access size, lock, update rule. */
enum {
	AML_BYTE_ACC = 1,
	AML_DWORD_ACC = 3,
	AML_FIELD_LOCK = 1 << 4,
	AML_WRITE_AS_ZEROS = 2 << 5,
};

void aml_destroy(struct aml *a);
void aml_byte(struct aml *a, uint8_t byte);
void aml_bytes(struct aml *a, const void *bytes, size_t n);
void aml_le(struct aml *a, uint64_t v, unsigned int bytes);

void aml_op(struct aml *a, enum aml_op op);
void aml_int(struct aml *a, uint64_t v);
void aml_str(struct aml *a, const char *s);
void aml_path(struct aml *a, const char *path);
void aml_name(struct aml *a, const char *path); /* Name (path, <value follows>) */
void aml_name_int(struct aml *a, const char *path, uint64_t v);
void aml_name_str(struct aml *a, const char *path, const char *s);
void aml_name_eisa(struct aml *a, const char *path, const char *id); /* EisaId ("PNP0A08") */
void aml_uuid(struct aml *a, const char *uuid);                      /* ToUUID ("...") */
void aml_buffer(struct aml *a, const uint8_t *bytes, size_t n);

/* Opened here, closed by aml_end(). */
void aml_scope(struct aml *a, const char *path);
void aml_device(struct aml *a, const char *path);
void aml_processor(struct aml *a, const char *path, uint8_t id);
void aml_method(struct aml *a, const char *path, unsigned int args, bool serialized);
void aml_if(struct aml *a);
void aml_else(struct aml *a);
void aml_while(struct aml *a);
void aml_package(struct aml *a, unsigned int elements);
void aml_field(struct aml *a, const char *region, uint8_t flags);
void aml_end(struct aml *a);

void aml_field_bits(struct aml *a, const char *name, unsigned int bits); /* @name NULL: skipped */
void aml_region(struct aml *a, const char *name, enum aml_region space, uint64_t offset,
		uint64_t len);
void aml_mutex(struct aml *a, const char *name);
void aml_acquire(struct aml *a, const char *mutex);
void aml_release(struct aml *a, const char *mutex);
void aml_debug(struct aml *a);
void aml_return_int(struct aml *a, uint64_t v);

/* Resource templates: opened, filled, closed by aml_resources_end(). */
void aml_resources(struct aml *a);
void aml_resources_end(struct aml *a);
void aml_res_io(struct aml *a, uint16_t base, uint8_t align, uint8_t len);
void aml_res_irq(struct aml *a, unsigned int irq); /* IRQNoFlags */
void aml_res_gsi(struct aml *a, const uint32_t *gsis,
		 unsigned int n); /* level, active high, shared */
void aml_res_memory32(struct aml *a, uint32_t base, uint32_t len,
		      bool writable); /* Memory32Fixed */
void aml_res_bus(struct aml *a, uint16_t first, uint16_t last);
void aml_res_io_window(struct aml *a, uint16_t first, uint16_t last);
void aml_res_memory_window(struct aml *a, uint64_t first, uint64_t last, bool wide, bool cacheable);

#endif
