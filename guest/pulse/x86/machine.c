/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What machine this is: parameters and memory map, from the PVH start info when a loader gave one,
 * else from fw_cfg, else (memory) from the CMOS.
 */
#include "insn.h"
#include "platform.h"

#define START_MAGIC      0x336ec578 /* "xEn3" with the top bit of the E */
#define KEY_CMDLINE_SIZE 0x14
#define KEY_CMDLINE      0x15
#define E820_RAM         1

/** struct start_info - PVH: what the loader tells (Xen's hvm_start_info, version 1) */
struct start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t modules;
	uint64_t modlist;
	uint64_t cmdline;
	uint64_t rsdp;
	uint64_t memmap;
	uint32_t memmap_entries;
	uint32_t reserved;
};

/** struct memmap_entry - PVH: one range */
struct memmap_entry {
	uint64_t base;
	uint64_t bytes;
	uint32_t type;
	uint32_t reserved;
};

/** struct e820_entry - fw_cfg etc/e820: one range */
struct e820_entry {
	uint64_t base;
	uint64_t bytes;
	uint32_t type;
} __attribute__((packed));

static void add_words(struct platform *p, const char *words)
{
	size_t at = __builtin_strlen(p->cmdline);

	if (at && at < sizeof(p->cmdline) - 1)
		p->cmdline[at++] = ' ';
	while (*words && at < sizeof(p->cmdline) - 1)
		p->cmdline[at++] = *words++;
	p->cmdline[at] = 0;
}

static void add_ram(struct platform *p, uint64_t base, uint64_t bytes)
{
	unsigned int i = p->ram_ranges;

	p->ram_bytes += bytes;
	if (base + bytes <= BOOT_TABLES || i == RAM_MAX_RANGES)
		return;
	while (i && p->ram[i - 1].base > base) {
		p->ram[i] = p->ram[i - 1];
		i--;
	}
	p->ram[i] = (struct ram_range){.base = base, .bytes = bytes};
	p->ram_ranges++;
}

static void read_start_info(struct platform *p, const struct start_info *info)
{
	const struct memmap_entry *entry = (const struct memmap_entry *)info->memmap;

	if (info->cmdline)
		add_words(p, (const char *)info->cmdline);
	if (info->version < 1)
		return;
	for (uint32_t i = 0; i < info->memmap_entries; i++)
		if (entry[i].type == E820_RAM)
			add_ram(p, entry[i].base, entry[i].bytes);
}

static void read_fwcfg_cmdline(struct platform *p)
{
	static char buffer[sizeof(p->cmdline)];
	uint32_t bytes = 0;
	uint16_t key;

	fwcfg_read(KEY_CMDLINE_SIZE, &bytes, sizeof(bytes));
	if (bytes && bytes < sizeof(buffer) && p->form == PULSE_FORM_BIOS) {
		fwcfg_read(KEY_CMDLINE, buffer, bytes);
		add_words(p, buffer);
	}
	key = fwcfg_file("opt/outlive/pulse/cmdline", &bytes);
	if (!key || bytes >= sizeof(buffer))
		return;
	memset(buffer, 0, sizeof(buffer));
	fwcfg_read(key, buffer, bytes);
	add_words(p, buffer);
}

static void read_fwcfg_memory(struct platform *p)
{
	static struct e820_entry entry[64];
	uint32_t bytes;
	uint16_t key = fwcfg_file("etc/e820", &bytes);

	if (!key)
		return;
	if (bytes > sizeof(entry))
		bytes = sizeof(entry);
	fwcfg_read(key, entry, bytes);
	for (uint32_t i = 0; i < bytes / sizeof(entry[0]); i++)
		if (entry[i].type == E820_RAM)
			add_ram(p, entry[i].base, entry[i].bytes);
}

static uint8_t cmos(uint8_t at)
{
	outb(0x70, at);
	return inb(0x71);
}

/* Memory above 16 MiB in units of 64 KiB, above 4 GiB likewise. */
static void read_cmos_memory(struct platform *p)
{
	uint64_t above_16m = (uint64_t)(cmos(0x34) | cmos(0x35) << 8) << 16;
	uint64_t above_4g = (uint64_t)(cmos(0x5b) | cmos(0x5c) << 8 | (uint32_t)cmos(0x5d) << 16)
			    << 16;

	add_ram(p, BOOT_TABLES, (15 << 20) + above_16m);
	if (above_4g)
		add_ram(p, 1ull << 32, above_4g);
}

void machine_find(struct platform *p, uint64_t start_info)
{
	const struct start_info *info = (const struct start_info *)start_info;

	p->form = PULSE_FORM_BIOS;
	if (info && info->magic == START_MAGIC) {
		p->form = PULSE_FORM_PVH;
		read_start_info(p, info);
	}
	p->fw_cfg = fwcfg_present();
	if (p->fw_cfg)
		read_fwcfg_cmdline(p);
	if (!p->ram_ranges && p->fw_cfg)
		read_fwcfg_memory(p);
	if (!p->ram_ranges)
		read_cmos_memory(p);
}
