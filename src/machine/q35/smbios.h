/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MACHINE_Q35_SMBIOS_H
#define MACHINE_Q35_SMBIOS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SMBIOS_TABLES_FILE  "etc/smbios/smbios-tables"
#define SMBIOS_ANCHOR_FILE  "etc/smbios/smbios-anchor"
#define SMBIOS_ANCHOR_BYTES 31

/**
 * struct smbios_config - What the tables say
 * @machine:	"pc-q35-7.2", the version of most parts
 * @uuid:	16 bytes in the order of the text
 * @cpu_signature, @cpu_features: EAX and EDX of CPUID leaf 1
 * @sockets, @cores, @threads: Of the machine; cores and threads per socket
 * @ram_bytes, @below_4g: Memory, and its part below 4 GiB
 * @direct:	No firmware adds a type 0
 * @field:	Text that the user gave for a field of a type, NULL: none; may be NULL
 * @nth:	The same for what may be given several times, by its place; NULL: no more
 * @opaque:	For @field and @nth
 */
struct smbios_config {
	const char *machine;
	uint8_t uuid[16];
	uint32_t cpu_signature, cpu_features;
	unsigned int sockets, cores, threads;
	uint64_t ram_bytes, below_4g;
	bool direct;
	const char *(*field)(void *opaque, int type, const char *name);
	const char *(*nth)(void *opaque, int type, const char *name, unsigned int i);
	void *opaque;
};

/**
 * struct smbios - The tables
 * @buf, @len:	Bytes; owned
 * @room:	Allocated
 * @count:	Structures
 * @largest:	Bytes of the largest one
 */
struct smbios {
	uint8_t *buf;
	size_t len, room, largest;
	unsigned int count;
};

void smbios_build(struct smbios *t, const struct smbios_config *c);
void smbios_destroy(struct smbios *t);
void smbios_anchor(const struct smbios *t, uint32_t gpa, uint8_t ret[SMBIOS_ANCHOR_BYTES]);

#endif
