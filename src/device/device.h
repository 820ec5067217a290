/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_DEVICE_H
#define DEVICE_DEVICE_H

#include "base/err.h"
#include "base/list.h"
#include "device/io.h"
#include "device/irq.h"
#include "device/timer.h"
#include "memory/memory.h"
#include "state/state.h"

#include <pthread.h>
#include <stdio.h>

/*
 * Theory of operation: a device class is one constant struct, listed in the registry (registry.c:
 * an ordinary array). Making a device: device_create() allocates and sets the properties' defaults;
 * device_set() takes "name=value" pairs from the command line or QMP; device_realize() checks them,
 * connects back ends and appears to the guest.
 *
 * What the guest can see is one nested struct per device, described by the class's state table.
 * Host resources live beside it. Saving: capture() copies the visible state out and can't change
 * the source. Loading: into a scratch copy, judged by the table's check(), and only then
 * apply()-ed, which can't fail. All of that happens while the guest is stopped, on one thread.
 */

struct device;
struct fw_cfg;
struct pci_bus;

/**
 * enum continuity - What becomes of a device's state when the guest moves. 0 isn't valid
 */
enum continuity {
	CONTINUITY_STATE = 1, /* described by a state table */
	CONTINUITY_STATELESS, /* the guest can see no state; .why says so */
	CONTINUITY_HANDOVER,  /* only to another process on this host; .why says so */
	CONTINUITY_BLOCKS,    /* can't follow at all; .why is shown to the operator */
};

/**
 * enum prop_kind - Type of a property, with QEMU's spelling of the values
 */
enum prop_kind {
	PROP_END,
	PROP_BOOL, /* bool: on/off, yes/no, true/false */
	PROP_AUTO, /* enum on_off_auto */
	PROP_U8,
	PROP_U16,
	PROP_U32,
	PROP_U64,
	PROP_I32,      /* decimal or 0x; checked against @min and @max if @max */
	PROP_SIZE,     /* uint64_t, with k, M, G, T suffixes */
	PROP_SIZE32,   /* uint32_t, likewise */
	PROP_STRING,   /* char *, owned by the device */
	PROP_MAC,      /* uint8_t[6] */
	PROP_UUID,     /* uint8_t[16]; "auto": all zero, the device draws one */
	PROP_PCI_ADDR, /* int32_t devfn, -1: next free; "0x2.0x1" */
	PROP_ENUM,     /* int, index into @names */
	PROP_DRIVE,    /* struct block_node *: by node name or drive id */
	PROP_NETDEV,   /* struct net_backend *: by id */
	PROP_CHARDEV,  /* struct char_backend *: by id */
	PROP_LINK, /* struct object id, kept as char * and resolved by the device (iothread, rng,
		      memdev) */
	PROP_BIT,  /* bit number @bit of the uint32_t or uint64_t at @offset (feature switches) */
};

enum on_off_auto { PROP_IS_AUTO, PROP_IS_ON, PROP_IS_OFF };

/**
 * struct prop - A property: the source of -device X,help, of QMP's answers and of the docs
 * @name:	In QEMU's spelling
 * @kind:	Type
 * @offset:	Of the member in the device struct
 * @def:	Default, in the spelling a user would type; NULL: 0, empty or not connected
 * @help:	One line
 * @min, @max:	Numbers: accepted range, if @max > 0
 * @names:	PROP_ENUM: NULL-terminated
 * @bit:	PROP_BIT: which
 */
struct prop {
	const char *name;
	enum prop_kind kind;
	size_t offset;
	const char *def;
	const char *help;
	uint64_t min, max;
	const char *const *names;
	unsigned int bit;
};

#define PROPS_END                \
	{                        \
		.kind = PROP_END \
	}

/**
 * struct device_io_error - A request of a disk that failed
 * @node:	Of the disk
 * @read:	It was a read
 * @action:	enum block_error_action
 * @error:	errno
 */
struct device_io_error {
	const char *node;
	bool read;
	int action, error;
};

/**
 * struct device_ost - What the guest's _OST method said of a vCPU
 * @place:	Of the vCPU
 * @source:	What it is about: 1 it came, 3 it is asked to go, 0x103 the guest ejects it, ...
 * @status:	0: done; else ACPI's code of why not
 */
struct device_ost {
	unsigned int place;
	uint32_t source, status;
};

/**
 * struct device_env - What the machine gives its devices
 * @memory:	Guest memory
 * @io:		Ports and memory-mapped I/O
 * @clock:	Guest time
 * @loop:	The main loop
 * @chipset_lock: The one lock of all chipset parts; NULL (tests): each device has its own
 * @msi:	MSI delivery, see struct msi_ops; NULL: none
 * @msi_opaque:	For @msi
 * @gsi:	Interrupt inputs 0-23 (0-15 are the ISA lines); any thread. See device_gsi()
 * @gpe:	ACPI general purpose events by bit, raised by a high level; main thread. Not
 * connected: no ACPI
 * @fw_cfg:	Where devices leave files for firmware; NULL: nowhere
 * @pci_root:	Root bus, for the property "bus"
 * @native_hotplug: Root ports themselves tell the guest of devices that come and go; else ACPI does
 * @vcpus:	How many the machine has: the default number of queues; 0 counts as 1
 * @request:	Asks the machine to do something it alone may do (reset, power off); any thread
 * @io_error:	Told of a failed request; any thread, so it only takes note. NULL: nobody asks
 * @io_error_opaque: For @io_error
 * @globals:	Sets what the operator gave for all devices of a class (-global); NULL: nothing
 * @globals_opaque: For @globals
 * @in_smm:	Whether the access being served is one of a vCPU in system management mode; any
 *		thread.
 *		NULL: the machine has none
 * @eject:	The guest let go of a device (hot-unplug): the machine destroys it, later and on the
 * main thread; any thread
 * @ost:	The guest said what became of an event of ACPI hot-plug; any thread. NULL: nobody
 *		asks
 * @opaque:	For @request, @in_smm, @eject and @ost
 */
struct device_env {
	struct memory *memory;
	struct io_space *io;
	struct guest_clock *clock;
	struct loop *loop;
	pthread_mutex_t *chipset_lock;
	const struct msi_ops *msi;
	void *msi_opaque;
	struct irq gsi, gpe;
	struct fw_cfg *fw_cfg;
	struct pci_bus *pci_root;
	bool native_hotplug;
	unsigned int vcpus;
	void (*request)(void *opaque, int what, int arg);
	void (*io_error)(void *opaque, const struct device_io_error *what);
	void *io_error_opaque;
	int (*globals)(void *opaque, struct device *dev, struct err *e);
	void *globals_opaque;
	bool (*in_smm)(void *opaque);
	void (*eject)(void *opaque, struct device *dev);
	void (*ost)(void *opaque, const struct device_ost *what);
	void *opaque;
};

/* What a device can ask of the machine through device_env.request. */
enum machine_request {
	MACHINE_RESET = 1, /* arg: 0 by the guest, 1 by the host, 2 by a watchdog */
	MACHINE_POWEROFF,  /* ACPI S5 */
	MACHINE_SUSPEND,   /* ACPI S3 */
	MACHINE_HIBERNATE, /* ACPI S4: the guest is on its disk */
	MACHINE_WAKEUP,    /* a device would wake a guest in S3; arg: enum wakeup_reason */
	MACHINE_PANICKED,  /* pvpanic; arg: the byte written */
	MACHINE_CRASHLOADED,
	MACHINE_EXIT,     /* isa-debug-exit; arg: exit code of the VMM */
	MACHINE_WATCHDOG, /* action as configured */
	MACHINE_RTC_SET,  /* the guest set its real-time clock */
};

enum wakeup_reason { WAKEUP_OTHER = 1, WAKEUP_RTC, WAKEUP_PM_TIMER };

/**
 * struct msi_message - An MSI as the guest programmed it
 */
struct msi_message {
	uint64_t addr;
	uint32_t data;
	uint16_t requester; /* bus << 8 | devfn */
};

/**
 * struct msi_ops - MSI delivery; implemented on KVM by the machine
 * @send:	Deliver one now
 * @route:	@route in: -1 for a new one; out: its handle. Binds eventfd @fd to the message;
 *changes it when the guest reprograms. Callable while vCPUs run
 * @unroute:	Release
 */
struct msi_ops {
	void (*send)(void *opaque, const struct msi_message *m);
	int (*route)(void *opaque, int *route, const struct msi_message *m, int fd);
	void (*unroute)(void *opaque, int route, int fd);
};

/**
 * struct device_class - A kind of device
 * @name:	As on the command line ("virtio-blk-pci"), or the chipset part's name
 * @help:	One line for -device help
 * @bus:	Bus it sits on: "PCI", "ISA", "virtio-serial-bus", "SCSI", "System" (part of the
 * machine)
 * @size:	sizeof() the device struct, which begins with a struct device (or struct pci_device)
 * @user:	A user may create it by -device
 * @hotplug:	It may come and go while the guest runs
 * @family:	@name is the end of the names of several kinds, WORD-NAME, that are made alike
 * @own_lock:	It has a lock of its own; else it is a chipset part and shares
 * device_env.chipset_lock
 * @continuity:	See the enum; 0 is refused by the registry's test
 * @why:	Reason, required unless CONTINUITY_STATE
 * @state:	Table of the guest-visible struct; NULL unless CONTINUITY_STATE
 * @section:	Section name in the stream, without the bus path
 * @props:	Closed by PROPS_END; NULL: none
 * @realize:	Checks properties, takes back ends, appears. Errors leave nothing behind
 * @unrealize:	Disappears and gives everything back
 * @reset:	To power-on values (cold or warm as the spec says). Guest stopped or device lock
 * held
 * @capture:	Copies the visible state to @state (a zeroed struct of @state->size). Guest stopped
 * @validate:	Judges a loaded scratch state against this device's configuration; may be NULL
 * @apply:	Takes a judged state over; derives timers, irq levels, mappings from it. Can't fail
 * @settle:	As @stop, unless it takes beyond time_ns() @until_ns: then ETIMEDOUT, and the device
 *		goes on. vCPUs and clock stand still; @stop may follow, @run undoes it. May be NULL
 * @stop, @run:	Guest stopped (quiesce I/O: no request in flight after it returns) and running
 * again; may be NULL
 */
struct device_class {
	const char *name, *help, *bus;
	size_t size;
	bool user, hotplug, family, own_lock;
	enum continuity continuity;
	const char *why;
	const struct state_table *state;
	const char *section;
	const struct prop *props;
	int (*realize)(struct device *dev, struct err *e);
	void (*unrealize)(struct device *dev);
	void (*reset)(struct device *dev);
	void (*capture)(const struct device *dev, void *state);
	int (*validate)(const struct device *dev, const void *state, struct err *e);
	void (*apply)(struct device *dev, const void *state);
	int (*settle)(struct device *dev, int64_t until_ns, struct err *e);
	void (*stop)(struct device *dev);
	void (*run)(struct device *dev);
};

/**
 * struct device - What all devices begin with
 * @class:	Its kind
 * @id:		User's id or NULL; owned
 * @path:	Place in the stream, before the section name ("0000:00:03.0"), empty for chipset
 * parts
 * @instance:	Instance number of its section (second serial port: 1)
 * @lock:	Protects everything in the device that a vCPU, the main thread or an I/O thread
 * touches. Chipset parts share one
 * @env:	The machine's services
 * @link:	In the machine's list, in realize order
 * @parent:	Whose bus it sits on and with whom it goes; NULL: the machine's
 * @realized:	Between realize and unrealize
 */
struct device {
	const struct device_class *class;
	char *id;
	char path[64];
	int instance;
	pthread_mutex_t *lock;
	pthread_mutex_t own_lock;
	const struct device_env *env;
	struct list link;
	struct device *parent;
	bool realized;
};

/* registry.c */
const char *device_name_of(const char *name);
const struct device_class *device_class_find(const char *name);
const struct device_class *const *device_classes(void); /* NULL-terminated */
void device_classes_add(const struct device_class *const *more);

struct device *device_create(const struct device_class *class, const struct device_env *env);
const struct prop *device_prop_find(const struct device_class *class, const char *name);
MUST_CHECK int device_set(struct device *dev, const char *name, const char *value, struct err *e);
MUST_CHECK int device_set_globals(struct device *dev, struct err *e);
MUST_CHECK int device_realize(struct device *dev, struct err *e);
void device_destroy(struct device *dev); /* main thread, without the device's lock */
void device_reset(struct device *dev);
/* The machine's interrupt input @line; not connected if the machine gives none. */
struct irq device_gsi(const struct device *dev, int line);
void device_request(const struct device *dev, enum machine_request what, int arg);

/* help.c: as "-device help" and "-device X,help" show it; the caller frees it. */
char *device_help(void);
char *device_class_help(const struct device_class *class);

/* The devices' man page, outlive-devices(7), in troff. */
void device_manual(FILE *out);

#endif
