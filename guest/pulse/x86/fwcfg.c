/* SPDX-License-Identifier: Apache-2.0 */
/* The firmware configuration device, by DMA (one exit per item) where it can, else byte by byte. */
#include "insn.h"
#include "platform.h"

#define PORT_SELECT   0x510
#define PORT_DATA     0x511
#define PORT_DMA_HIGH 0x514
#define PORT_DMA_LOW  0x518

#define KEY_SIGNATURE 0x00
#define KEY_ID        0x01
#define KEY_DIRECTORY 0x19

#define ID_DMA        2

#define DMA_ERROR     1
#define DMA_READ      2
#define DMA_SELECT    8

/** struct dma_access - What the device is told to do; big endian */
struct dma_access {
	uint32_t control;
	uint32_t length;
	uint64_t address;
};

/** struct directory_entry - One file; big endian */
struct directory_entry {
	uint32_t size;
	uint16_t select;
	uint16_t reserved;
	char name[56];
};

#define FILES_MAX 64

static bool has_dma;
static uint32_t files;
static struct {
	uint32_t count;
	struct directory_entry file[FILES_MAX];
} directory __attribute__((section(".noinit")));

static void read_dma(uint16_t key, void *to, uint32_t bytes)
{
	volatile struct dma_access access = {
		.control = __builtin_bswap32((uint32_t)key << 16 | DMA_SELECT | DMA_READ),
		.length = __builtin_bswap32(bytes),
		.address = __builtin_bswap64((uintptr_t)to),
	};
	uint64_t at = (uintptr_t)&access;

	outl(PORT_DMA_HIGH, __builtin_bswap32((uint32_t)(at >> 32)));
	outl(PORT_DMA_LOW, __builtin_bswap32((uint32_t)at));
	while (__builtin_bswap32(access.control) & ~(uint32_t)DMA_ERROR)
		pause();
	__asm__ volatile("" ::: "memory");
}

void fwcfg_read(uint16_t key, void *to, uint32_t bytes)
{
	if (has_dma) {
		read_dma(key, to, bytes);
		return;
	}
	outw(PORT_SELECT, key);
	insb(PORT_DATA, to, bytes);
}

bool fwcfg_present(void)
{
	char signature[4] = "";
	uint32_t id = 0;

	fwcfg_read(KEY_SIGNATURE, signature, sizeof(signature));
	if (memcmp(signature, "QEMU", 4) != 0)
		return false;
	fwcfg_read(KEY_ID, &id, sizeof(id));
	has_dma = id & ID_DMA;
	return true;
}

/* The directory is read once: its length first, since the device goes on with zeros. */
static void load_directory(void)
{
	fwcfg_read(KEY_DIRECTORY, &directory, sizeof(directory.count));
	files = __builtin_bswap32(directory.count);
	if (files > FILES_MAX)
		files = FILES_MAX;
	fwcfg_read(KEY_DIRECTORY, &directory,
		   (uint32_t)(sizeof(directory.count) + files * sizeof(directory.file[0])));
}

uint16_t fwcfg_file(const char *name, uint32_t *bytes)
{
	if (!files)
		load_directory();
	for (uint32_t i = 0; i < files; i++) {
		const struct directory_entry *f = &directory.file[i];

		if (memcmp(f->name, name, __builtin_strlen(name) + 1) != 0)
			continue;
		*bytes = __builtin_bswap32(f->size);
		return __builtin_bswap16(f->select);
	}
	return 0;
}
