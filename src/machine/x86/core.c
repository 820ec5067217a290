/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: see core.h. The file says x86-64 whatever mode the guest is in: the
 * registers of a 32-bit one are in the lower halves.
 *
 * Source: System V ABI, core files; QEMU's note as crash reads it.
 */
#include "machine/x86/core.h"

#include "base/owned.h"
#include "machine/x86/cpu_section.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/user.h>

#define QEMU_NOTE_VERSION 1

/* Places of registers in struct cpu_section. */
enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };
enum { ES, CS, SS, DS, FS, GS };

/**
 * struct qemu_segment - A segment register or descriptor table in QEMU's note
 */
struct qemu_segment {
	uint32_t selector, limit, flags, reserved;
	uint64_t base;
};

/**
 * struct qemu_note - A vCPU in QEMU's note
 */
struct qemu_note {
	uint32_t version, size;
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8_to_r15[8], rip, rflags;
	struct qemu_segment cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt;
	uint64_t cr[5], kernel_gs_base;
};

_Static_assert(sizeof(struct elf_prstatus) == 336, "as in a core file of x86-64");
_Static_assert(sizeof(struct qemu_note) == 440, "as QEMU 7.2 has it");

/* A name of four letters takes eight bytes. */
#define NOTE_BYTES(desc) (sizeof(Elf64_Nhdr) + 8 + (desc))
#define CPU_NOTE_BYTES \
	(NOTE_BYTES(sizeof(struct elf_prstatus)) + NOTE_BYTES(sizeof(struct qemu_note)))

static uint8_t *note_put(uint8_t *to, const char *name, uint32_t type, const void *desc, size_t len)
{
	const Elf64_Nhdr head = {.n_namesz = 5, .n_descsz = (uint32_t)len, .n_type = type};

	memcpy(to, &head, sizeof(head));
	memcpy(to + sizeof(head), name, 5);
	memcpy(to + sizeof(head) + 8, desc, len);
	return to + NOTE_BYTES(len);
}

static struct user_regs_struct user_regs(const struct cpu_section *s)
{
	const uint64_t *r = s->regs;

	return (struct user_regs_struct){.rax = r[RAX],
					 .rbx = r[RBX],
					 .rcx = r[RCX],
					 .rdx = r[RDX],
					 .rsi = r[RSI],
					 .rdi = r[RDI],
					 .rsp = r[RSP],
					 .rbp = r[RBP],
					 .r8 = r[8],
					 .r9 = r[9],
					 .r10 = r[10],
					 .r11 = r[11],
					 .r12 = r[12],
					 .r13 = r[13],
					 .r14 = r[14],
					 .r15 = r[15],
					 .rip = s->eip,
					 .eflags = s->eflags,
					 .cs = s->segs[CS].selector,
					 .ss = s->segs[SS].selector,
					 .ds = s->segs[DS].selector,
					 .es = s->segs[ES].selector,
					 .fs = s->segs[FS].selector,
					 .gs = s->segs[GS].selector,
					 .fs_base = s->segs[FS].base,
					 .gs_base = s->segs[GS].base};
}

static uint8_t *status_put(uint8_t *to, const struct cpu_section *s, unsigned int number)
{
	const struct user_regs_struct regs = user_regs(s);
	struct elf_prstatus status = {.pr_pid = (pid_t)number};

	memcpy(&status.pr_reg, &regs, sizeof(regs));
	return note_put(to, "CORE", NT_PRSTATUS, &status, sizeof(status));
}

static struct qemu_segment segment(const struct cpu_segment *s)
{
	return (struct qemu_segment){s->selector, s->limit, s->flags, 0, s->base};
}

static uint8_t *qemu_put(uint8_t *to, const struct cpu_section *s)
{
	const uint64_t *r = s->regs;
	struct qemu_note n = {.version = QEMU_NOTE_VERSION,
			      .size = sizeof(n),
			      .rax = r[RAX],
			      .rbx = r[RBX],
			      .rcx = r[RCX],
			      .rdx = r[RDX],
			      .rsi = r[RSI],
			      .rdi = r[RDI],
			      .rsp = r[RSP],
			      .rbp = r[RBP],
			      .rip = s->eip,
			      .rflags = s->eflags,
			      .cs = segment(&s->segs[CS]),
			      .ds = segment(&s->segs[DS]),
			      .es = segment(&s->segs[ES]),
			      .fs = segment(&s->segs[FS]),
			      .gs = segment(&s->segs[GS]),
			      .ss = segment(&s->segs[SS]),
			      .ldt = segment(&s->ldt),
			      .tr = segment(&s->tr),
			      .gdt = segment(&s->gdt),
			      .idt = segment(&s->idt),
			      .cr = {s->cr0, 0, s->cr2, s->cr3, s->cr4},
			      .kernel_gs_base = s->kernelgsbase};

	memcpy(n.r8_to_r15, r + 8, sizeof(n.r8_to_r15));
	return note_put(to, "QEMU", 0, &n, sizeof(n));
}

/* All of the first kind, then all of the second, as QEMU has them. */
static void notes_put(uint8_t *to, struct x86_cpus *c, size_t vcpus)
{
	uint8_t *first = to, *second = to + vcpus * NOTE_BYTES(sizeof(struct elf_prstatus));
	OWNED(struct cpu_section *) s = mem_zalloc(sizeof(*s));

	for (unsigned int i = 0; i < c->len; i++) {
		if (!c->cpu[i].v)
			continue;
		cpu_section_from(s, x86_cpus_state(c, i), c->host, c->phys_bits);
		first = status_put(first, s, i + 1);
		second = qemu_put(second, s);
	}
}

static void headers_put(uint8_t *to, const struct memory_range *ranges, size_t len,
			uint64_t notes_at, uint64_t memory_at)
{
	const Elf64_Ehdr file = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
					     ELFDATA2LSB, EV_CURRENT},
				 .e_type = ET_CORE,
				 .e_machine = EM_X86_64,
				 .e_version = EV_CURRENT,
				 .e_phoff = sizeof(file),
				 .e_ehsize = sizeof(file),
				 .e_phentsize = sizeof(Elf64_Phdr),
				 .e_phnum = (uint16_t)(len + 1)};
	Elf64_Phdr part = {.p_type = PT_NOTE,
			   .p_offset = notes_at,
			   .p_filesz = memory_at - notes_at,
			   .p_memsz = memory_at - notes_at};

	memcpy(to, &file, sizeof(file));
	memcpy(to + sizeof(file), &part, sizeof(part));
	for (size_t i = 0; i < len; i++) {
		part = (Elf64_Phdr){.p_type = PT_LOAD,
				    .p_offset = memory_at,
				    .p_vaddr = ranges[i].gpa,
				    .p_paddr = ranges[i].gpa,
				    .p_filesz = ranges[i].size,
				    .p_memsz = ranges[i].size};
		memcpy(to + sizeof(file) + (i + 1) * sizeof(part), &part, sizeof(part));
		memory_at += ranges[i].size;
	}
}

static size_t vcpus_there(const struct x86_cpus *c)
{
	size_t n = 0;

	for (unsigned int i = 0; i < c->len; i++)
		n += c->cpu[i].v != NULL;
	return n;
}

/**
 * x86_core_head() - All of a core file but the guest's memory
 * @cpus:	vCPUs; guest stopped
 * @ranges:	Memory that follows, in this order
 * @len:	How many
 * @ret:	Set on success only; the caller frees it
 * @ret_len:	Its bytes
 * @e:		Set on failure only
 *
 * Errors: E2BIG more ranges than the format has; else why KVM doesn't tell the vCPUs' state
 * Return: 0, or a negative errno
 */
int x86_core_head(struct x86_cpus *cpus, const struct memory_range *ranges, size_t len,
		  uint8_t **ret, size_t *ret_len, struct err *e)
{
	size_t vcpus = vcpus_there(cpus);
	uint64_t notes_at = sizeof(Elf64_Ehdr) + (len + 1) * sizeof(Elf64_Phdr);
	uint64_t memory_at = notes_at + vcpus * CPU_NOTE_BYTES;
	int r = x86_cpus_capture(cpus, e);

	if (r < 0)
		return r;
	if (len + 1 >= PN_XNUM)
		return err_set(e, E2BIG,
			       "the guest's memory is in %zu pieces, a core file has up "
			       "to %d",
			       len, PN_XNUM - 2);
	*ret = mem_zalloc(memory_at);
	*ret_len = memory_at;
	headers_put(*ret, ranges, len, notes_at, memory_at);
	notes_put(*ret + notes_at, cpus, vcpus);
	return 0;
}
