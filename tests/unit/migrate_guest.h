/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_MIGRATE_GUEST_H
#define TESTS_UNIT_MIGRATE_GUEST_H

/* A guest of two RAM blocks and two devices without any KVM, to be sent and received. */

#include "migrate/migrate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { GUEST_RAM = 64 * 4096, GUEST_ROM = 2 * 4096 };

/**
 * struct guest_clock_state - Device with a subsection
 * @ns, @rate:	Always sent
 * @irq:	Sent if not 0
 */
struct guest_clock_state {
	uint64_t ns;
	uint32_t rate;
	uint32_t irq;
};

/**
 * struct guest_disk_state - Device with a path, a counted queue and an opinion
 * @len:	Of @queue
 * @reserved:	Padding
 * @queue:	Requests
 */
struct guest_disk_state {
	uint16_t len;
	uint8_t reserved[2];
	uint32_t queue[8];
};

/**
 * struct guest - What is sent and received
 * @memory, @ram, @rom: Two blocks
 * @clock, @disk: What the guest sees of its devices
 * @sections:	Of both devices
 * @applied:	How often any device got a state
 * @refuse:	The disk refuses what is offered
 */
struct guest {
	struct memory memory;
	struct ram_block ram, rom;
	struct guest_clock_state clock;
	struct guest_disk_state disk;
	struct migrate_sections sections;
	unsigned int applied;
	bool refuse;
};

static inline bool guest_irq_needed(const void *state)
{
	return ((const struct guest_clock_state *)state)->irq != 0;
}

static const struct state_field guest_irq_fields[] = {FIELD("irq", struct guest_clock_state, irq),
						      FIELDS_END};
static const struct state_table guest_irq_table = {.name = "clock/irq",
						   .version = 1,
						   .size = sizeof(struct guest_clock_state),
						   .fields = guest_irq_fields,
						   .needed = guest_irq_needed};
static const struct state_table *const guest_clock_subsections[] = {&guest_irq_table, NULL};
static const struct state_field guest_clock_fields[] = {
	FIELD("ns", struct guest_clock_state, ns), FIELD("rate", struct guest_clock_state, rate),
	FIELDS_END};
static const struct state_table guest_clock_table = {.name = "clock",
						     .version = 2,
						     .min_version = 1,
						     .size = sizeof(struct guest_clock_state),
						     .fields = guest_clock_fields,
						     .subsections = guest_clock_subsections};
static const struct state_field guest_disk_fields[] = {
	FIELD("len", struct guest_disk_state, len),
	FIELD_N("queue", struct guest_disk_state, queue, len),
	NOT_SENT(struct guest_disk_state, reserved, "padding"), FIELDS_END};
static const struct state_table guest_disk_table = {.name = "disk",
						    .version = 1,
						    .size = sizeof(struct guest_disk_state),
						    .fields = guest_disk_fields};

static inline void guest_clock_capture(void *opaque, void *state)
{
	memcpy(state, &((struct guest *)opaque)->clock, sizeof(struct guest_clock_state));
}

static inline void guest_clock_apply(void *opaque, const void *state)
{
	struct guest *g = opaque;

	memcpy(&g->clock, state, sizeof(g->clock));
	g->applied++;
}

static inline void guest_disk_capture(void *opaque, void *state)
{
	memcpy(state, &((struct guest *)opaque)->disk, sizeof(struct guest_disk_state));
}

static inline int guest_disk_validate(void *opaque, const void *state, struct err *e)
{
	const struct guest_disk_state *d = state;

	return ((struct guest *)opaque)->refuse
		       ? err_set(e, EINVAL, "len: %u offered, 1 configured here", d->len)
		       : 0;
}

static inline void guest_disk_apply(void *opaque, const void *state)
{
	struct guest *g = opaque;

	memcpy(&g->disk, state, sizeof(g->disk));
	g->applied++;
}

static inline void guest_block(struct guest *g, struct ram_block *b, const char *name,
			       uint64_t size)
{
	snprintf(b->name, sizeof(b->name), "%s", name);
	b->size = b->resizable_max = size;
	b->fd = memfd_create(name, MFD_CLOEXEC);
	if (b->fd < 0 || ftruncate(b->fd, (off_t)size) < 0)
		abort();
	b->hva = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
	if (b->hva == MAP_FAILED || bitmap_create(&b->dirty, size / 4096) < 0)
		abort();
	list_add_tail(&g->memory.blocks, &b->link);
}

static inline struct guest *guest_create(void)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct migrate_section clock = {.name = "clock",
					.table = &guest_clock_table,
					.capture = guest_clock_capture,
					.apply = guest_clock_apply,
					.opaque = g};
	struct migrate_section disk = {.path = "0000:00:02.0",
				       .name = "disk",
				       .table = &guest_disk_table,
				       .capture = guest_disk_capture,
				       .validate = guest_disk_validate,
				       .apply = guest_disk_apply,
				       .opaque = g};

	list_init(&g->memory.blocks);
	list_init(&g->memory.maps);
	guest_block(g, &g->ram, "pc.ram", GUEST_RAM);
	guest_block(g, &g->rom, "pc.rom", GUEST_ROM);
	migrate_sections_add(&g->sections, &clock);
	migrate_sections_add(&g->sections, &disk);
	return g;
}

/* A guest with something in every part of it. */
static inline struct guest *guest_create_used(void)
{
	struct guest *g = guest_create();

	memset(g->ram.hva + 3 * 4096, 0x11, 4096);
	memset(g->ram.hva + 4 * 4096 + 4095, 0x22, 1);
	memset(g->ram.hva + 63 * 4096, 0x33, 4096);
	memset(g->rom.hva, 0x44, GUEST_ROM);
	g->clock = (struct guest_clock_state){.ns = 123456789, .rate = 1000, .irq = 8};
	g->disk = (struct guest_disk_state){.len = 3, .queue = {1, 2, 3}};
	return g;
}

static inline void guest_block_destroy(struct ram_block *b)
{
	munmap(b->hva, b->size);
	close(b->fd);
	bitmap_destroy(&b->dirty);
}

static inline void guest_destroy(struct guest *g)
{
	guest_block_destroy(&g->ram);
	guest_block_destroy(&g->rom);
	migrate_sections_destroy(&g->sections);
	free(g);
}

static inline struct migrate_job guest_job(struct guest *g, struct channel *c)
{
	return (struct migrate_job){.channel = c,
				    .memory = &g->memory,
				    .sections = &g->sections,
				    .options = {.machine = "pc-test-1", .runstate = "paused"}};
}

static inline bool guest_same(const struct guest *a, const struct guest *b)
{
	return !memcmp(a->ram.hva, b->ram.hva, GUEST_RAM) &&
	       !memcmp(a->rom.hva, b->rom.hva, GUEST_ROM) &&
	       !memcmp(&a->clock, &b->clock, sizeof(a->clock)) &&
	       !memcmp(&a->disk, &b->disk, sizeof(a->disk));
}

/* The guest's blocks are of fixed size. Stands for the memory room's, so that this test needs no
 * KVM. */
int ram_resize(struct memory *m, struct ram_block *b, uint64_t size, struct err *e)
{
	return err_set(e, EINVAL, "%s can't be resized", b->name);
}

#endif
