/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: an ELF image says where its segments go (p_paddr); a note of the name "Xen"
 * and type 18 says where it is entered in 32-bit mode with paging off, EBX pointing to a start_info
 * with memory map, command line and modules.
 *
 * Source: Xen docs/misc/pvh.pandoc; xen/include/public/arch-x86/hvm/start_info.h, version 1
 */
#include "machine/x86/boot_private.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define NOTE_PHYS32_ENTRY 18
#define START_MAGIC       0x336ec578U

struct start_info {
	uint32_t magic, version, flags, modules;
	uint64_t modlist, cmdline, rsdp;
	uint64_t memmap;
	uint32_t memmap_entries, reserved;
};

struct start_module {
	uint64_t addr, size, cmdline, reserved;
};

struct start_memmap {
	uint64_t addr, size;
	uint32_t type, reserved;
};

/* What lies behind start_info in guest memory, in one piece. */
struct start_page {
	struct start_info info;
	struct start_module module;
	struct start_memmap memmap[8];
};

static bool in_file(const struct boot_file *f, uint64_t offset, uint64_t size)
{
	return offset <= f->size && size <= f->size - offset;
}

static int header_check(const struct boot_file *f, const Elf64_Ehdr *h, struct err *e)
{
	if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_machine != EM_X86_64)
		return err_set(e, ENOEXEC, "%s is no ELF file for x86-64", f->path);
	if (h->e_phentsize != sizeof(Elf64_Phdr) ||
	    !in_file(f, h->e_phoff, (uint64_t)h->e_phnum * sizeof(Elf64_Phdr)))
		return err_set(e, ENOEXEC,
			       "%s is cut off: its program headers are outside the file", f->path);
	return 0;
}

static Elf64_Phdr phdr_at(const struct boot_file *f, const Elf64_Ehdr *h, unsigned int i)
{
	Elf64_Phdr p;

	memcpy(&p, f->data + h->e_phoff + i * sizeof(p), sizeof(p));
	return p;
}

static int segment_load(struct memory *m, const struct boot_file *f, const Elf64_Phdr *p,
			struct err *e)
{
	int r;

	if (!in_file(f, p->p_offset, p->p_filesz) || p->p_memsz < p->p_filesz)
		return err_set(e, ENOEXEC, "%s is cut off: a segment is outside the file", f->path);
	r = p->p_filesz ? boot_put(m, f->path, p->p_paddr, f->data + p->p_offset, p->p_filesz, e)
			: 0;
	return r == 0 ? boot_zero(m, f->path, p->p_paddr + p->p_filesz, p->p_memsz - p->p_filesz, e)
		      : r;
}

/* The entry address, if @p holds the note; notes are aligned to 4 bytes. */
static bool note_find(const struct boot_file *f, const Elf64_Phdr *p, uint64_t *ret)
{
	uint64_t at = p->p_offset, end = p->p_offset + p->p_filesz;

	if (!in_file(f, p->p_offset, p->p_filesz))
		return false;
	while (end - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr n;
		uint64_t name = at + sizeof(n), desc, next;

		memcpy(&n, f->data + at, sizeof(n));
		desc = name + ALIGN_UP((uint64_t)n.n_namesz, 4);
		next = desc + ALIGN_UP((uint64_t)n.n_descsz, 4);
		if (desc > end || n.n_descsz > end - desc)
			return false;
		if (n.n_type == NOTE_PHYS32_ENTRY && n.n_namesz == 4 && n.n_descsz >= 4 &&
		    !memcmp(f->data + name, "Xen", 4)) {
			uint32_t entry;

			memcpy(&entry, f->data + desc, sizeof(entry));
			*ret = entry;
			return true;
		}
		if (next > end)
			return false;
		at = next;
	}
	return false;
}

static int segments_load(struct memory *m, const struct boot_file *f, uint64_t *entry,
			 uint64_t *end, struct err *e)
{
	Elf64_Ehdr h;
	bool found = false;
	int r;

	memcpy(&h, f->data, sizeof(h));
	r = header_check(f, &h, e);
	*end = 0;
	for (unsigned int i = 0; r == 0 && i < h.e_phnum; i++) {
		Elf64_Phdr p = phdr_at(f, &h, i);

		if (p.p_type == PT_NOTE)
			found |= note_find(f, &p, entry);
		if (p.p_type != PT_LOAD)
			continue;
		r = segment_load(m, f, &p, e);
		*end = MAX(*end, p.p_paddr + p.p_memsz);
	}
	if (r == 0 && !found)
		r = err_set(e, ENOEXEC,
			    "%s has no PVH entry note; Linux needs CONFIG_PVH, or use its bzImage",
			    f->path);
	return r;
}

static int start_info_put(struct memory *m, const struct boot_options *o,
			  const struct boot_initrd *initrd, struct err *e)
{
	struct e820_entry map[8];
	struct start_page page = {
		.info = {.magic = START_MAGIC,
			 .version = 1,
			 .cmdline = BOOT_CMDLINE_GPA,
			 .rsdp = o->rsdp,
			 .memmap = BOOT_INFO_GPA + offsetof(struct start_page, memmap)},
		.module = {.addr = initrd->gpa, .size = initrd->size},
	};

	page.info.memmap_entries = (uint32_t)x86_e820(&o->layout, map, ARRAY_SIZE(map));
	for (uint32_t i = 0; i < page.info.memmap_entries; i++)
		page.memmap[i] = (struct start_memmap){map[i].addr, map[i].size, map[i].type, 0};
	if (initrd->size) {
		page.info.modules = 1;
		page.info.modlist = BOOT_INFO_GPA + offsetof(struct start_page, module);
	}
	return boot_put(m, "PVH start info", BOOT_INFO_GPA, &page, sizeof(page), e);
}

/**
 * boot_elf() - Load an ELF kernel with a PVH entry
 * @m:		Guest memory
 * @o:		Options
 * @f:		The kernel
 * @ret:	Set on success
 * @e:		Set on failure
 *
 * Errors: ENOEXEC no PVH entry, not for x86-64, cut off; ENOSPC, E2BIG
 * Return: 0, or a negative errno
 */
int boot_elf(struct memory *m, const struct boot_options *o, const struct boot_file *f,
	     struct x86_entry *ret, struct err *e)
{
	struct boot_initrd initrd = {0};
	uint64_t entry = 0, end = 0;
	int r = segments_load(m, f, &entry, &end, e);

	if (r == 0)
		r = boot_initrd(m, o, X86_4GIB, end, &initrd, e);
	if (r == 0)
		r = boot_cmdline(m, o, BOOT_CMDLINE_MAX - 1, e);
	if (r == 0)
		r = start_info_put(m, o, &initrd, e);
	if (r == 0)
		*ret = (struct x86_entry){.rip = entry, .rbx = BOOT_INFO_GPA};
	return r;
}
