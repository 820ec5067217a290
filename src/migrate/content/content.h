/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_CONTENT_H
#define MIGRATE_CONTENT_H

#include "migrate/migrate.h"
#include "migrate/ram/ram.h"

/*
 * Pages that the target has already aren't sent again but named (capability
 * outlive-content-hashes). Inside this room only; docs/wire.md has the octets.
 *
 * Theory of operation: the target may have a page for two reasons. It came before in this
 * migration, elsewhere in the same block; or it is in a file over there, such as a snapshot of an
 * earlier stay. The source keeps the hash of each page as it was sent last, and gets the hashes of
 * the file's pages before anything is sent. A page that it finds there is sent as a place and a
 * hash; the target reads that place, hashes what it reads, and takes it only if the hash is the
 * same.
 *
 * Which hash: whoever runs in the guest chooses what pages hold. With a hash that isn't
 * cryptographic (XXH3, whatever its width) a program could make a page of the same hash as a page
 * that belongs to another program, or to the kernel, and after the migration that one would have
 * its content. The target can't compare contents, having only one of the two. So the hash is
 * SHA-256, of which no two inputs with the same output are known. To find a page its first half is
 * enough, since the whole is verified: what a collision of halves could do is to fail a migration.
 *
 * The guest writes while a page is looked at; so it is copied first, and hash and bytes sent are
 * those of the copy.
 */

enum {
	CONTENT_HASH_BYTES = 32,
	CONTENT_NAME_BYTES = 16, /* first half of the hash */
};

/* Where the target finds a page. */
enum content_where {
	CONTENT_NOWHERE,
	CONTENT_BLOCK = 1, /* in the same block, at this offset */
	CONTENT_FILE = 2,  /* the page of this number in the list of its file */
};

/* content.c */
void content_hash(const void *page, uint8_t hash[CONTENT_HASH_BYTES]);

/**
 * struct content_index - Numbered pages by the first half of their hashes
 * @names:	Of each page; zeros: none
 * @len:	How many pages
 * @slots:	Their numbers plus 1, by hash; 0: free. What doesn't fit its @names is out of date
 * @mask:	Of a hash, for its first slot
 */
struct content_index {
	uint8_t (*names)[CONTENT_NAME_BYTES];
	uint64_t len;
	uint32_t *slots;
	uint64_t mask;
};

MUST_CHECK int content_index_create(struct content_index *x, uint64_t len, struct err *e);
void content_index_destroy(struct content_index *x);
void content_index_set(struct content_index *x, uint64_t number, const uint8_t *name);
void content_index_forget(struct content_index *x, uint64_t number);
bool content_index_find(const struct content_index *x, const uint8_t *name, uint64_t *ret);

/* content/source.c: what the target has. From the job's thread. */
struct content_source;

/**
 * struct content_page - A page, copied, and where the target has it
 * @bytes:	WIRE_PAGE of them, until the next page
 * @hash:	Of @bytes
 * @where, @place: See the enum; CONTENT_NOWHERE: it must be sent
 */
struct content_page {
	const uint8_t *bytes;
	uint8_t hash[CONTENT_HASH_BYTES];
	enum content_where where;
	uint64_t place;
};

MUST_CHECK int content_source_create(struct content_source **ret, const struct ram_source *ram,
				     struct migrate_job *job, struct err *e);
void content_source_destroy(struct content_source *s);
void content_source_look(struct content_source *s, size_t block, uint64_t offset,
			 const uint8_t *live, struct content_page *ret);
void content_source_forget(struct content_source *s, size_t block, uint64_t offset);

/* content/file.c: the target's file. */
MUST_CHECK int content_file_open(struct content_file **ret, const char *path, struct err *e);
void content_file_close(struct content_file *f);
uint64_t content_file_pages(const struct content_file *f);
const uint8_t *content_file_names(const struct content_file *f); /* CONTENT_NAME_BYTES a page */
MUST_CHECK int content_file_read(const struct content_file *f, uint64_t number, uint8_t *page,
				 struct err *e);

/* content/wire.c */
void content_list_put(struct channel *c, const struct content_file *f);
MUST_CHECK int content_list_get(struct channel *c, struct content_index *x, uint64_t pages,
				struct err *e);
void content_record_put(struct channel *c, const struct content_page *p);
MUST_CHECK int content_record_get(struct channel *c, const struct ram_block *b,
				  const struct content_file *f, uint8_t *page, struct err *e);

#endif
