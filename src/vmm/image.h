/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_IMAGE_H
#define VMM_IMAGE_H

#include "migrate/migrate.h"

/*
 * The device state of a stopped guest as bytes, for another process on this host. Sections as in a
 * migration stream, from the same tables, but without RAM and description, each with its length in
 * front:
 *
 *	be16 length of the id, id ("0000:00:03.0/virtio-net"), be32 instance, be32 version, be32
 *	length, payload
 */

/**
 * struct image - A machine's sections with room for one state each, made before the guest is paused
 * @sections:	The machine's
 * @ids:	Their ids, as migrate_section_id() says; owned
 * @states:	One scratch state a section; owned
 */
struct image {
	struct migrate_sections sections;
	char (*ids)[256];
	void **states;
};

void image_open(struct image *i, const struct migrate_sections *taken_sections);
void image_close(struct image *i);
/* While the guest runs: touches what image_write() will. */
size_t image_rehearse(struct image *i, struct state_writer *w);
void image_write(struct image *i, struct state_writer *w);
void image_capture(struct image *i); /* into the scratch states only */
/* Once before image_receive(), while the guest still runs elsewhere. */
MUST_CHECK int image_prefill(struct image *i, struct err *e);
/* Section by section, as they come: into scratch, judged, applied. Errors as state_load(), naming
 * the section; the guest must not run here then. */
MUST_CHECK int image_receive(struct image *i, struct state_reader *r, struct err *e);
MUST_CHECK int image_ended(struct state_reader *r, struct err *e);

#endif
