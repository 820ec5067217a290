/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_GUEST_H
#define VMM_GUEST_H

#include "machine/q35/q35.h"
#include "migrate/migrate.h"
#include "vmm/options.h"
#include "vmm/vmm.h"

struct migration;
struct keystrokes;
struct dump;

/**
 * struct guest - A q35 machine made from a command line, with its back ends and the user's devices.
 * Main thread
 * @v:		The process
 * @q:		The machine
 * @ops:	Its part of QMP
 * @listener:	Turns machine events into QMP events
 * @incoming:	It waits for its state
 * @adopted:	From another process on this host, not by -incoming
 * @stopped:	-S: don't run at start
 * @migration:	Its coming and going
 * @announcer:	Tells networks where it is, or NULL
 * @devices:	The user's devices as they were asked for, with the addresses they got; owned
 * @objects:	-object and object-add as they were asked for; owned
 * @files:	Content of -fw_cfg files
 * @balloon_moved: Atomic: the event is on its way
 * @eject_lock:	A leaf lock: protects @ejected
 * @ejected, @ejected_len: Devices that the guest let go and the main thread hasn't destroyed yet
 * @keystrokes:	What send-key has to type yet, see ops/keys.c; NULL: nothing was ever typed
 * @dump:	The last dump of its memory, see ops/dump.c; NULL: there was none
 * @io_failures: Atomic: failed disk requests that wait to be told
 * @quiet:	Machine events are no QMP events: the pause of an upgrade isn't the client's
 *		business
 */
struct guest {
	struct vmm *v;
	struct q35 *q;
	struct control_ops ops;
	struct vm_listener listener;
	bool incoming, adopted, stopped, quiet;
	struct migration *migration;
	struct announcer *announcer;
	json_t *devices, *objects;
	struct list files;
	bool balloon_moved;
	pthread_mutex_t eject_lock;
	struct device **ejected;
	size_t ejected_len;
	struct keystrokes *keystrokes;
	struct dump *dump;
	unsigned int io_failures;
};

/**
 * struct guest_file - Content of a -fw_cfg file, in memory that is a file of its own
 * @data:	Mapping; NULL: it is empty
 */
struct guest_file {
	struct list link;
	char *name;
	int fd;
	void *data;
	size_t len;
};

/**
 * struct guest_parts - What another process hands over instead of the command line
 * @devices:	Array of the user's devices, serial ports included
 * @objects:	Array of objects; NULL: those of the command line
 * @smm:	The machine has system management mode
 * @vmport:	It has VMware's port
 * @adopt_ram:	File of a RAM block or, as "fw_cfg/NAME", of a -fw_cfg file; -1 for none
 * @opaque:	For @adopt_ram
 */
struct guest_parts {
	const json_t *devices, *objects;
	bool smm, vmport;
	int (*adopt_ram)(void *opaque, const char *name);
	void *opaque;
};

/* guest.c. @parts NULL: a new guest; else back ends are there already. */
MUST_CHECK int guest_create(struct guest **ret, struct vmm *v, const struct guest_parts *parts,
			    struct err *e);
void guest_destroy(struct guest *g);

/* guest_files.c: -fw_cfg. */
MUST_CHECK int guest_files_make(struct guest *g, const struct guest_parts *parts, struct err *e);
void guest_files_end(struct guest *g);
/* Reset to power-on state and run unless -S or -incoming were given; with -incoming, wait for
 * the guest or begin to read it. */
MUST_CHECK int guest_begin(struct guest *g, struct err *e);

/* guest_devices.c */
MUST_CHECK int guest_backends_make(struct guest *g, struct err *e);
int guest_globals(void *opaque, struct device *dev, struct err *e);
MUST_CHECK int guest_globals_check(const struct vmm *v, struct err *e);
MUST_CHECK int guest_drive_policies(const struct vmm *v, struct err *e);
void guest_drive_name(const json_t *d, size_t index, char name[64]);
MUST_CHECK int guest_devices_make(struct guest *g, struct err *e);
MUST_CHECK int guest_devices_take(struct guest *g, const json_t *devices, struct err *e);
MUST_CHECK int guest_device_add(struct guest *g, const json_t *values, struct err *e);
struct device *guest_device_find(struct guest *g, const char *id);

/* flash.c */
MUST_CHECK int guest_flash_fill(const struct vmm *v, struct q35_ram_config *ram, struct err *e);

/* ops/machine.c, ops/dump.c, guest_events.c */
MUST_CHECK int guest_stays(const struct guest *g, struct err *e);
MUST_CHECK int guest_not_dumping(const struct guest *g, struct err *e);
void guest_ops_fill(struct guest *g);
void guest_events_watch(struct guest *g);
void guest_io_error(void *opaque, const struct device_io_error *what);

/* All sections of the machine in the order in which they are saved and applied. */
MUST_CHECK int guest_sections(struct guest *g, struct migrate_sections *ret, struct err *e);

/* numa.c: -numa. */
MUST_CHECK int guest_numa_fill(const struct vmm_options *o, struct q35_numa *ret,
			       const char *memdev[Q35_NODES_MAX], struct err *e);
MUST_CHECK int guest_numa_check(const struct vmm_options *o, const struct q35_numa *n,
				struct err *e);

#endif
