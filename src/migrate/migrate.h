/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_MIGRATE_H
#define MIGRATE_MIGRATE_H

#include "base/err.h"
#include "device/device.h"
#include "memory/memory.h"
#include "migrate/channel/channel.h"
#include "migrate/snapshot/lazy.h"
#include "state/state.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Theory of operation: a guest is written to a channel as QEMU's migration stream, version 3, and
 * read from one. docs/wire.md has the octets. The stream is a header, a configuration section, the
 * RAM (which comes in several parts, while the guest may still be running), one section per device,
 * an end mark and a JSON description of the device sections.
 *
 * The machine gives the list of sections in the order in which devices are saved and applied, and
 * the guest's memory. What is read goes to scratch copies: only when the whole stream has been read
 * and every section of the list was in it and passed its checks, they are applied, which can't
 * fail. RAM goes straight to its place, so after a failed load the devices are untouched while the
 * content of RAM isn't defined.
 *
 * One thread owns a job from begin to end. It calls back for what belongs to others: struct
 * migrate_hooks.
 */

/**
 * struct migrate_section - One device's place in the stream
 * @path:	Of the device ("0000:00:03.0"), empty for chipset parts
 * @name:	Section name; the stream has "PATH/NAME", or NAME without a path
 * @instance:	Instance number
 * @table:	Describes the state struct
 * @capture:	Copies the visible state into a zeroed struct; changes nothing
 * @validate:	Judges a loaded state against this device; NULL: nothing to judge
 * @apply:	Takes a judged state over; can't fail
 * @optional:	May be missing in a stream that is loaded
 * @opaque:	For the three functions
 */
struct migrate_section {
	char path[64];
	const char *name;
	uint32_t instance;
	const struct state_table *table;
	void (*capture)(void *opaque, void *state);
	int (*validate)(void *opaque, const void *state, struct err *e);
	void (*apply)(void *opaque, const void *state);
	bool optional;
	void *opaque;
};

/**
 * struct migrate_sections - The sections of a machine, in order
 * @all:	Owned
 * @len:	How many
 * @room:	Allocated
 */
struct migrate_sections {
	struct migrate_section *all;
	size_t len, room;
};

void migrate_sections_destroy(struct migrate_sections *s);
void migrate_sections_add(struct migrate_sections *s, const struct migrate_section *section);
/* EOPNOTSUPP if the device can't follow its guest; the text is its class's reason. Stateless
 * devices add nothing. */
MUST_CHECK int migrate_sections_add_device(struct migrate_sections *s, struct device *dev,
					   struct err *e);
void migrate_section_id(const struct migrate_section *s, char id[256]);

/**
 * enum migrate_phase - Where a job is, what may happen there and what to beware of
 */
enum migrate_phase {
	MIGRATE_SETUP =
		1,       /* block list sent. Guest runs; cancel, failure: as if nothing had been */
	MIGRATE_PRECOPY, /* rounds of dirty pages. Guest runs (slower: write faults); cancel,
			  * failure: as above. RAM must not be added, resized or removed, devices
			  * not plugged */
	MIGRATE_SWITCHOVER, /* guest stopped; the rest of RAM and the devices. Cancel, failure: the
			     * guest runs on here. Nothing may change the guest: no monitor command
			     * that touches it, no I/O in flight */
	MIGRATE_HANDOVER,   /* the last bytes, without which the target has no guest, are leaving.
			     * Guest stopped, no cancel. Failure: the guest runs on here unless one
			     * of them has left; see return_path.c */
	MIGRATE_CONFIRM,    /* everything is sent; the target's word is missing (return path). Guest
			     * stopped, no cancel: it may run over there any moment. Failure: as the
			     * target says; see return_path.c */
	MIGRATE_DONE, /* everything is in the channel. The guest stays stopped here; it runs on only
		       * if the operator knows that it doesn't run there */
	MIGRATE_FAILED,    /* the channel can't be used any more; the guest is where it was */
	MIGRATE_CANCELLED, /* as failed, on request */
};

#define MIGRATE_ROUNDS_KEPT 32

/**
 * struct migrate_round - A round that is over, for the operator's time line
 * @from_us, @to_us: Since the job's begin
 * @sent_bytes:	Of the stream
 * @dirty_bytes: Found dirty at its end
 * @predicted_us: Pause if it had been then
 */
struct migrate_round {
	uint64_t from_us, to_us, sent_bytes, dirty_bytes, predicted_us;
};

/**
 * struct migrate_pause - When each step of the pause was done, us after the guest was asked to stop
 * @stopped_us:	vCPUs and devices are at rest
 * @ram_us:	The rest of RAM is written to the channel
 * @devices_us:	The devices as well
 * @confirmed_us: The target has it all, and with a return path says so
 */
struct migrate_pause {
	uint64_t stopped_us, ram_us, devices_us, confirmed_us;
};

/**
 * struct migrate_xbzrle - Pages sent again as what has changed in them (capability xbzrle)
 * @cache_bytes: Room for pages as they were sent; 0: it isn't done
 * @pages:	Sent, or not, since the target has a version of them
 * @bytes:	What that took
 * @misses:	Pages whose last version wasn't kept
 * @overflows:	Pages in which so much had changed that they went whole
 */
struct migrate_xbzrle {
	uint64_t cache_bytes, pages, bytes, misses, overflows;
};

/**
 * struct migrate_content - Pages that the target had already (capability outlive-content-hashes)
 * @on:		It is done
 * @listed_pages: In the target's file
 * @pages:	Not sent, since the target had them
 * @file_pages:	Those of them that were in its file; the others had been sent before
 */
struct migrate_content {
	bool on;
	uint64_t listed_pages, pages, file_pages;
};

/**
 * struct migrate_progress - What the operator sees
 * @phase:	See the enum
 * @round:	Of pre-copy, from 1; 0 before
 * @ram_bytes:	Guest RAM in all
 * @sent_bytes: Bytes so far, on all channels
 * @multifd_bytes: Those of them on channels beside the stream
 * @remaining_bytes: RAM known to be unsent
 * @dirty_bytes: Found dirty at the end of the last round
 * @normal_pages, @zero_pages: Sent so far
 * @hinted_pages: Not sent, since the guest said that it doesn't use them; atomic
 * @rate:	Bytes a second on the wire, last round
 * @ram_rate:	RAM a second that it brought over, packed or not
 * @pause_rate:	RAM a second that would be sent in the pause, see speed.h
 * @dirty_rate: Bytes a second that the guest dirtied in the last round
 * @converge_us: After a round: until the pause will fit the limit, if the guest goes on so;
 *		negative: never
 * @setup_us, @total_us: Durations so far
 * @stop_us:	Until the guest would stand still
 * @fixed_us:	Of a pause, what doesn't depend on how much RAM is left
 * @predicted_us: Pause if it were now
 * @pause_us:	Pause of this side: guest stopped until the last byte was sent; 0 before the end
 * @pause:	Its steps; 0 what isn't done yet
 * @expected:	The steps of @predicted_us; zeros while nothing is known
 * @rounds:	The newest rounds that are over: number n at (n - 1) % MIGRATE_ROUNDS_KEPT
 */
struct migrate_progress {
	enum migrate_phase phase;
	unsigned int round;
	uint64_t ram_bytes, sent_bytes, multifd_bytes, remaining_bytes, dirty_bytes;
	uint64_t normal_pages, zero_pages, hinted_pages;
	uint64_t rate, ram_rate, pause_rate, dirty_rate;
	int64_t converge_us;
	uint64_t setup_us, total_us, stop_us, fixed_us, predicted_us, pause_us;
	struct migrate_pause pause, expected;
	struct migrate_xbzrle xbzrle;
	struct migrate_content content;
	struct migrate_round rounds[MIGRATE_ROUNDS_KEPT];
};

/**
 * struct migrate_hooks - What a job needs from others
 * @dirty_start: Begin logging; from now on nothing the guest writes is lost
 * @dirty_sync:	OR what was written since the last sync into the blocks' dirty bitmaps
 * @dirty_clear: Protect again those pages of a range that are in @which, a sync has reported them
 *		and they are about to be read (and no others: what was written since then must stay
 *		reported); NULL: @dirty_sync did it
 * @dirty_stop:	End logging
 * @hint_start:	Logging has begun, or a round: asks the guest which pages it doesn't use, which are
 *		told by migrate_hint() until @hint_stop returns. False: nobody says, and isn't asked
 *		again. NULL: never
 * @hint_stop:	No more after this; before the round's sync
 * @rehearse:	How long it takes, us, to write the states of all devices and vCPUs; the guest isn't
 *		stopped for it. NULL: nobody knows
 * @stop:	Bring vCPUs and I/O to rest; returns when they are. EAGAIN: not in time, and
 *		the guest runs on
 * @resume:	The guest runs on here: the job failed after @stop
 * @cancelled:	Has the operator asked to cancel? NULL: never
 * @adopt:	Loading: everything is read and judged. Runs @apply(@arg) where devices may be
 *		touched, and whatever else must be in place before the source is told that the guest
 *		is here.
 *		NULL: @apply is just run
 * @slow:	Called after each round of pre-copy that another one follows: the guest may have to
 *		be slowed so that it ends (converge.h); @limit_us is the pause to get below. NULL:
 *		never
 * @compare:	Loading: the source describes its guest. Returns {"version": TEXT, "mismatches":
 *		[SENTENCE...]}, a new reference; NULL: such a question isn't answered
 * @progress:	Called at each change of phase and at most ten times a second; NULL: nobody looks
 * @opaque:	For all of them
 */
struct migrate_hooks {
	int (*dirty_start)(void *opaque, struct err *e);
	int (*dirty_sync)(void *opaque, struct err *e);
	int (*dirty_clear)(void *opaque, struct ram_block *b, const struct bitmap *which,
			   uint64_t first_page, uint64_t pages, struct err *e);
	void (*dirty_stop)(void *opaque);
	bool (*hint_start)(void *opaque);
	void (*hint_stop)(void *opaque);
	uint64_t (*rehearse)(void *opaque);
	int (*stop)(void *opaque, struct err *e);
	void (*resume)(void *opaque);
	bool (*cancelled)(void *opaque);
	int (*adopt)(void *opaque, void (*apply)(void *arg), void *arg, struct err *e);
	void (*slow)(void *opaque, const struct migrate_progress *p, uint64_t limit_us);
	json_t *(*compare)(void *opaque, const json_t *description);
	void (*progress)(void *opaque, const struct migrate_progress *p);
	void *opaque;
};

enum multifd_compression { MULTIFD_NONE = 1, MULTIFD_ZLIB, MULTIFD_ZSTD };

/**
 * struct multifd_options - Channels beside the stream (capability multifd)
 * @channels:	How many the operator has set; 0: the capability is off
 * @compression: How a source compresses pages; a target takes what comes
 * @level:	How hard
 * @find_zeros: The channels look for pages of zeros, not the stream (zero-page-detection multifd,
 *		QEMU from 9.0 on)
 * @uuid:	Of the guest; zeros: none. The two sides must have the same
 */
struct multifd_options {
	unsigned int channels;
	enum multifd_compression compression;
	int level;
	bool find_zeros;
	uint8_t uuid[16];
};

/**
 * struct preflight - What the target is asked before anything is sent, see preflight.c
 * @description: Of the guest, for migrate_hooks.compare over there; borrowed
 * @only_asked:	The answer is all that is wanted
 */
struct preflight {
	const json_t *description;
	bool only_asked;
};

/**
 * struct migrate_options - How a guest is written or read
 * @machine:	Resolved machine type ("pc-q35-7.2")
 * @uuid:	16 bytes to be checked on the other side (capability validate-uuid); NULL: not sent,
 * not checked
 * @ignore_shared: Capability x-ignore-shared: the other side has the content of shared blocks
 * already
 * @shared:	With @ignore_shared: is this block shared? NULL: every block that isn't a ROM
 * @switchover_start: Send command 0x0b, which QEMU's machines of version 11 expect and older ones
 * refuse
 * @return_path: The channel goes both ways: end only when the target has said that it has the guest
 * @one_way:	Loading: nobody hears answers (a file, the output of a command)
 * @relayed:	With @return_path: another program carries the channel, whose end says nothing of
 *		the target
 * @limit_us:	Pause that may not be exceeded by prediction; 0: 300 ms, as QEMU
 * @max_bandwidth: Bytes a second before the switchover; 0: no limit
 * @preflight:	Ask the target first; NULL, or no return path: it isn't asked
 * @runstate:	What globalstate says: "running", "paused"; NULL: "running"
 * @mapped:	Capability mapped-ram: pages have fixed places in the file. Loading: set by what the
 *		stream says
 * @packed:	With @mapped, saving: in a layout of our own, which takes less room and time where
 *		zeros are scattered; QEMU refuses it
 * @compress:	Snapshot files only: compress all of it by zstd; not with @mapped
 * @file_offset: Snapshot files only: where in the file the stream begins. What is in front of it
 *		stays, so not 0 means that the file is written in place
 * @file_fd:	Snapshot files only: the file, open already; borrowed, written in place; 0: it isn't
 * @lazy:	Loading a snapshot file: the guest runs at once, pages come on demand; see lazy.h
 * @multifd:	For a job that has channels beside the stream
 * @xbzrle_bytes: Room for pages that were sent, so that their next versions go as what has changed;
 *		0: they go as they are. Not for pages on channels beside the stream
 * @content_hashes: Capability outlive-content-hashes, of a source: pages that the target has aren't
 *		sent. Needs @preflight; not with channels beside the stream, nor with @xbzrle_bytes
 * @content_file: Of a target: a file with pages that the guest may have; NULL: none
 */
struct migrate_options {
	const char *machine;
	const uint8_t *uuid;
	bool ignore_shared;
	bool (*shared)(const struct ram_block *b);
	bool switchover_start, return_path, one_way, relayed;
	uint64_t limit_us, max_bandwidth;
	const struct preflight *preflight;
	const char *runstate;
	bool mapped, packed, compress;
	uint64_t file_offset;
	int file_fd;
	const struct lazy_hooks *lazy;
	struct multifd_options multifd;
	uint64_t xbzrle_bytes;
	bool content_hashes;
	const char *content_file;
};

struct content_index;
struct peer;
struct content_file;
struct ram_source;

/**
 * struct migrate_job - A guest on its way
 * @channel:	Where to; borrowed
 * @multifd:	Channels beside it, for pages; borrowed
 * @multifd_len: How many; 0: everything goes through @channel
 * @memory:	The guest's RAM
 * @sections:	Its devices, in order
 * @hinted:	The RAM whose pages may be hinted, while they may
 * @options:	See there
 * @hooks:	See there; for a stopped guest and for loading only @cancelled and @progress matter
 * @progress:	Kept up to date by the job
 * @mapped:	The channel's file, if its pages may have fixed places; see mapped.h; borrowed
 * @lazy:	After a load: brings what is missing; the caller's, NULL: nothing is
 * @trailer:	The channel's hash is to be compared with the trailer, if there is one; set by
 * migrate_snapshot_load()
 * @preflight:	What the target answered, or NULL; owned by who made the job
 * @peer:	Who the target is, as far as it said, or NULL; owned, see peer.h
 * @asked:	Loading: the description so far
 * @content_list: What is in the target's file; the job's own
 * @content_agreed: Loading: pages may be named instead of sent
 * @content_file: Loading: the file they may be in, or NULL; the job's own
 * @tells_why:	Loading: the source hears the reason of a failure
 * @why:	What the target said of its failure, or empty
 * @answered:	Loading: the description was judged; no second one is heard
 * @asked_only:	Loading: the source got its answer and sends no more; nothing was touched
 * @unsure:	After a failure: the target may have the guest, so it was left stopped
 * @runstate:	After a load: what the stream's globalstate says; empty if it had none
 * @file_written_ns: Loading a file: when it was last written, wall clock; 0: it isn't one
 * @stopped_ns:	When the guest's clocks came to stand still, host monotonic clock; 0: not known. A
 *		save is told by whoever stops the guest, a load tells
 */
struct migrate_job {
	struct channel *channel, **multifd;
	unsigned int multifd_len;
	struct memory *memory;
	const struct migrate_sections *sections;
	struct ram_source *hinted;
	struct migrate_options options;
	struct migrate_hooks hooks;
	struct migrate_progress progress;
	struct mapped *mapped;
	struct lazy *lazy;
	bool trailer, unsure;
	char runstate[100];
	json_t *preflight;
	struct peer *peer;
	struct state_writer asked;
	struct content_index *content_list;
	bool content_agreed;
	struct content_file *content_file;
	bool tells_why, answered, asked_only;
	char why[256];
	int64_t file_written_ns, stopped_ns;
};

/* save.c: a stopped guest. */
MUST_CHECK int migrate_save(struct migrate_job *job, struct err *e);
/* precopy.c: a running guest; on success it is stopped and the stream complete. */
MUST_CHECK int migrate_precopy(struct migrate_job *job, struct err *e);
/* ram/hint.c: between hint_start and hint_stop, from one thread, any: the guest doesn't use these
 * pages now. If it writes one afterwards that page is sent. */
void migrate_hint(struct migrate_job *job, struct ram_block *b, uint64_t offset, uint64_t len);
/* load.c: into a machine that doesn't run. */
MUST_CHECK int migrate_load(struct migrate_job *job, struct err *e);

/* snapshot.c: the same into a file and back, checksummed; see docs/wire.md. */
MUST_CHECK int migrate_snapshot_save(struct migrate_job *job, const char *path, bool running,
				     struct err *e);
MUST_CHECK int migrate_snapshot_load(struct migrate_job *job, const char *path, struct err *e);
/* verify.c: without a machine. */
MUST_CHECK int migrate_snapshot_verify(int fd, struct err *e);

#endif
