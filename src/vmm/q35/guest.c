/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: from a command line to a machine. Back ends first (disks, networks), then
 * the machine, then serial ports and the user's devices, each in the order given. The first reset
 * puts everything into its power-on state; a guest that waits for its state isn't reset but loaded.
 */
#include "vmm/q35/migration/announce.h"
#include "vmm/q35/migration/migration.h"
#include "vmm/q35/ops/ops.h"

#include "base/clock.h"
#include "base/owned.h"
#include "block/block.h"
#include "device/classes.h"
#include "device/pci/pcie_port.h"
#include "machine/q35/q35_chipset.h"
#include "machine/x86/chips.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* -object of this id, NULL: there is none. */
static const json_t *object_find(const struct vmm *v, const char *id)
{
	const struct vmm_items *all = &v->options->groups[VMM_OBJECT];

	for (size_t i = 0; id && i < all->len; i++)
		if (!strcmp(option_str(all->items[i].values, "id", ""), id))
			return all->items[i].values;
	return NULL;
}

static int backend_fill(struct q35_ram_part *part, const json_t *o, struct err *e)
{
	const char *type = option_str(o, "qom-type", "");
	bool file = !strcmp(type, "memory-backend-file");

	if (!file && strcmp(type, "memory-backend-memfd") && strcmp(type, "memory-backend-ram"))
		return err_set(e, EINVAL, "memory-backend: '%s' is a %s, not memory",
			       option_str(o, "id", ""), type);
	part->bytes = (uint64_t)option_int(o, "size", (int64_t)part->bytes);
	part->name = option_str(o, "id", "pc.ram");
	part->options.kind = file                               ? RAM_FILE
			     : option_bool(o, "hugetlb", false) ? RAM_HUGETLB
								: RAM_MEMFD;
	part->options.copy = file && !option_bool(o, "share", false);
	part->options.path = file ? option_str(o, "mem-path", NULL) : NULL;
	part->options.hugepage_bytes = (uint64_t)option_int(o, "hugetlbsize", 0);
	part->options.prealloc = option_bool(o, "prealloc", false);
	part->options.huge = !option_bool(o, "seal", false);
	return 0;
}

/* -kernel and the like, or -machine kernel=. */
static const char *boot_text(const struct vmm_options *o, enum vmm_group group, const char *key)
{
	const char *text = vmm_text(o, group);

	return text ? text : option_str(vmm_values(o, VMM_MACHINE), key, NULL);
}

/*
 * Firmware is a file, or the name of one where Debian's packages put them. Without a kernel to
 * start SeaBIOS is what a guest begins with.
 */
static const char *firmware(struct vmm *v)
{
	static const char *const folders[] = {"/usr/share/seabios", "/usr/share/qemu",
					      "/usr/share/ovmf"};
	static char path[PATH_MAX];
	const char *name = vmm_text(v->options, VMM_BIOS);

	if (!name)
		name = option_str(vmm_values(v->options, VMM_MACHINE), "firmware", NULL);
	if (!name && boot_text(v->options, VMM_KERNEL, "kernel"))
		return NULL;
	if (!name)
		name = "bios-256k.bin";
	if (strchr(name, '/') || access(name, R_OK) == 0)
		return name;
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		snprintf(path, sizeof(path), "%s/%s", folders[i], name);
		if (access(path, R_OK) == 0)
			return path;
	}
	return name;
}

/* Main memory in one piece. */
static int one_part(struct vmm *v, struct q35_ram_config *ram, struct err *e)
{
	const char *id = option_str(vmm_values(v->options, VMM_MACHINE), "memory-backend", NULL);
	const json_t *o = object_find(v, id);
	struct q35_ram_part *part = &ram->parts[0];

	ram->parts_len = 1;
	*part = (struct q35_ram_part){ram->bytes, "pc.ram", {.kind = RAM_MEMFD, .huge = true}};
	if (id && !o)
		return err_set(e, ENOENT, "memory-backend: there is no object '%s'", id);
	if (o && backend_fill(part, o, e) < 0)
		return -e->code;
	if (part->bytes != ram->bytes)
		return err_set(e, EINVAL, "memory-backend %s has %ju bytes, -m says %ju", id,
			       (uintmax_t)part->bytes, (uintmax_t)ram->bytes);
	return 0;
}

/* A piece for each node that has memory. */
static int node_parts(struct vmm *v, struct q35_ram_config *ram, struct q35_numa *numa,
		      const char *const memdev[Q35_NODES_MAX], struct err *e)
{
	for (unsigned int i = 0; i < numa->nodes; i++) {
		struct q35_ram_part *part = &ram->parts[ram->parts_len];
		const json_t *o = object_find(v, memdev[i]);

		if (!memdev[i])
			continue;
		if (!o)
			return err_set(e, ENOENT, "-numa node: there is no object '%s'", memdev[i]);
		*part = (struct q35_ram_part){.options = {.huge = true}};
		if (backend_fill(part, o, e) < 0)
			return -e->code;
		numa->bytes[i] = part->bytes;
		ram->parts_len++;
	}
	return 0;
}

static int ram_fill(struct vmm *v, struct q35_ram_config *ram, struct q35_numa *numa, struct err *e)
{
	const char *memdev[Q35_NODES_MAX] = {0};
	int r;

	*ram = (struct q35_ram_config){.bytes = v->options->ram_bytes, .bios = firmware(v)};
	r = guest_numa_fill(v->options, numa, memdev, e);
	if (r < 0 || !numa->nodes)
		return r < 0 ? r : one_part(v, ram, e);
	r = node_parts(v, ram, numa, memdev, e);
	return r < 0 ? r : guest_numa_check(v->options, numa, e);
}

static void policy_fill(struct vmm *v, struct vm_policy *p)
{
	const char *watchdog = vmm_text(v->options, VMM_WATCHDOG_ACTION);
	OWNED_JSON *one = json_pack("{s:s?}", "watchdog", watchdog);

	policy_set(p, vmm_values(v->options, VMM_ACTION));
	policy_set(p, one);
	if (vmm_given(v->options, VMM_NO_REBOOT))
		p->reboot = REBOOT_SHUTDOWN;
	if (vmm_given(v->options, VMM_NO_SHUTDOWN))
		p->shutdown = SHUTDOWN_PAUSE;
}

static uint8_t serials_of(const struct vmm *v)
{
	uint8_t mask = 0;

	for (size_t i = 0; i < 4; i++)
		if (vmm_serial(v, i))
			mask |= (uint8_t)(1 << i);
	for (size_t i = 0; i < v->options->groups[VMM_DEVICE].len; i++) {
		const json_t *d = v->options->groups[VMM_DEVICE].items[i].values;

		if (!strcmp(option_str(d, "driver", ""), "isa-serial"))
			mask |= (uint8_t)(1 << (option_int(d, "index",
							   __builtin_ctz(~(unsigned int)mask)) &
						3));
	}
	return mask;
}

/* The last -smbios type=TYPE that names the field. */
static const char *smbios_field(void *opaque, int type, const char *name)
{
	const struct vmm *v = opaque;
	const struct vmm_items *all = &v->options->groups[VMM_SMBIOS];
	const char *found = NULL;

	for (size_t i = 0; i < all->len; i++)
		if (option_int(all->items[i].values, "type", -1) == type)
			found = option_str(all->items[i].values, name, found);
	return found;
}

/* The i-th string of all lists, or of all items of the type. */
static const char *smbios_nth(void *opaque, int type, const char *name, unsigned int i)
{
	const struct vmm *v = opaque;
	const struct vmm_items *all = &v->options->groups[VMM_SMBIOS];
	static char number[24];

	for (size_t k = 0; k < all->len; k++) {
		const json_t *value = json_object_get(all->items[k].values, name);

		if (option_int(all->items[k].values, "type", -1) != type)
			continue;
		if (json_is_array(value) && i < json_array_size(value))
			return json_string_value(json_array_get(value, i));
		i -= json_is_array(value) ? (unsigned int)json_array_size(value) : 0;
		if (json_is_array(value) || i--)
			continue;
		if (!json_is_integer(value))
			return value ? json_string_value(value) : "";
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
		return number;
	}
	return NULL;
}

/* path=FILE is a further value: the file's content. */
static int smbios_file(json_t *values, const char *path, struct err *e)
{
	OWNED_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	char content[4096] = "";
	ssize_t n = fd < 0 ? -1 : read(fd, content, sizeof(content) - 1);

	if (n < 0)
		return err_sys(e, "path %s", path);
	if (!json_object_get(values, "value"))
		json_object_set_new(values, "value", json_array());
	if (n == sizeof(content) - 1 || strlen(content) != (size_t)n ||
	    json_array_append_new(json_object_get(values, "value"), json_string(content)) < 0)
		return err_set(e, EINVAL, "path %s: up to 4094 bytes of UTF-8 text are expected",
			       path);
	return 0;
}

static int smbios_files(struct vmm *v, struct err *e)
{
	const struct vmm_items *all = &v->options->groups[VMM_SMBIOS];
	json_t *path;
	size_t i;

	for (size_t k = 0; k < all->len; k++) {
		json_array_foreach (json_object_get(all->items[k].values, "path"), i, path) {
			if (smbios_file(all->items[k].values, json_string_value(path), e) < 0)
				return vmm_err_item(e, &all->items[k]);
		}
	}
	return 0;
}

/* -rtc base=: what the guest's clock shows when it starts; the clock counts in UTC. */
static int rtc_base(const struct vmm *v, int64_t *ret, struct err *e)
{
	const char *base = option_str(vmm_values(v->options, VMM_RTC), "base", "utc"), *end;
	time_t now = (time_t)(time_wall_ns() / NS_PER_SEC);
	struct tm tm = {0};

	*ret = now;
	if (!strcmp(base, "utc"))
		return 0;
	if (!strcmp(base, "localtime")) {
		localtime_r(&now, &tm);
		*ret += tm.tm_gmtoff;
		return 0;
	}
	end = strptime(base, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!end) {
		memset(&tm, 0, sizeof(tm));
		end = strptime(base, "%Y-%m-%d", &tm);
	}
	*ret = timegm(&tm);
	if (end && !*end)
		return 0;
	err_set(e, EINVAL,
		"base: '%s' is neither utc, localtime nor a date such as "
		"2026-01-31T12:00:00",
		base);
	return vmm_err_item(e, &v->options->groups[VMM_RTC].items[0]);
}

static void boot_fill(const struct vmm *v, struct q35_boot_config *b)
{
	const json_t *o = vmm_values(v->options, VMM_BOOT);

	*b = (struct q35_boot_config){
		.order = option_str(o, "order", NULL),
		.once = option_str(o, "once", NULL),
		.splash = option_str(o, "splash", NULL),
		.splash_ms = option_int(o, "splash-time", -1),
		.reboot_ms = option_int(o, "reboot-timeout", -1),
		.menu = option_bool(o, "menu", false),
		.strict = option_bool(o, "strict", false),
	};
}

static uint32_t ring_entries(const struct vmm_options *o)
{
	const struct vmm_items *all = &o->groups[VMM_ACCEL];
	int64_t entries = 0;

	for (size_t i = 0; i < all->len; i++)
		entries = option_int(all->items[i].values, "dirty-ring-size", entries);
	return (uint32_t)entries;
}

static enum q35_smm smm_of(const struct vmm_options *o)
{
	const char *word = option_str(vmm_values(o, VMM_MACHINE), "smm", "auto");

	return !strcmp(word, "on") ? Q35_SMM_ON : !strcmp(word, "off") ? Q35_SMM_OFF : Q35_SMM_AUTO;
}

static int config_fill(struct vmm *v, struct q35_config *c, struct q35_numa *numa, struct err *e)
{
	const struct vmm_options *o = v->options;

	*c = (struct q35_config){
		.cpus = o->smp.cpus,
		.max_cpus = o->smp.max_cpus,
		.topology = {o->smp.sockets, o->smp.dies, o->smp.cores, o->smp.threads},
		.cpu = vmm_given(o, VMM_CPU) ? o->groups[VMM_CPU].items[0].argument : "host",
		.kernel = boot_text(o, VMM_KERNEL, "kernel"),
		.initrd = boot_text(o, VMM_INITRD, "initrd"),
		.append = boot_text(o, VMM_APPEND, "append"),
		.hpet = !vmm_given(o, VMM_NO_HPET) &&
			option_bool(vmm_values(o, VMM_MACHINE), "hpet", true),
		.vmport = strcmp(option_str(vmm_values(o, VMM_MACHINE), "vmport", "auto"), "off"),
		.rtc_slew = !strcmp(option_str(vmm_values(o, VMM_RTC), "driftfix", "none"), "slew"),
		.smm = smm_of(o),
		.incoming = vmm_given(o, VMM_INCOMING),
		.serials = serials_of(v),
		.smbios = smbios_field,
		.smbios_nth = smbios_nth,
		.globals = guest_globals,
		.opaque = v,
		.dirty_ring_entries = ring_entries(o),
	};
	memcpy(c->uuid, o->uuid, sizeof(c->uuid));
	policy_fill(v, &c->policy);
	boot_fill(v, &c->boot);
	if (guest_globals_check(v, e) < 0 || smbios_files(v, e) < 0 ||
	    rtc_base(v, &c->rtc_s, e) < 0)
		return -e->code;
	if (ram_fill(v, &c->ram, numa, e) < 0)
		return -e->code;
	c->numa = numa->nodes ? numa : NULL;
	return 0;
}

static int make(struct guest *g, struct q35_config *c, const struct guest_parts *parts,
		struct err *e)
{
	int r = parts ? 0 : guest_backends_make(g, e);

	if (r >= 0)
		r = guest_objects_make(g, parts ? parts->objects : NULL, e);
	if (r >= 0)
		r = guest_drive_policies(g->v, e);
	if (r >= 0)
		r = guest_flash_fill(g->v, &c->ram, e);
	if (r >= 0)
		r = q35_create(&g->q, c, g->v->loop, e);
	if (r >= 0)
		r = guest_files_make(g, parts, e);
	if (r < 0)
		return r;
	guest_eject_init(g);
	r = parts ? guest_devices_take(g, parts->devices, e) : guest_devices_make(g, e);
	return r < 0 ? r : q35_boot_order_update(g->q, e);
}

/**
 * guest_create() - Make the guest that the options describe
 * @ret:	Set on success only
 * @v:		Options, loop, QMP
 * @parts:	From another process; NULL: a new guest
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int guest_create(struct guest **ret, struct vmm *v, const struct guest_parts *parts, struct err *e)
{
	struct guest *g = mem_zalloc(sizeof(*g));
	OWNED(struct q35_numa *) numa = mem_zalloc(sizeof(*numa));
	struct q35_config c;
	int r = config_fill(v, &c, numa, e);

	g->v = v;
	g->incoming = c.incoming || parts;
	g->adopted = parts != NULL;
	g->migration = migration_create(g);
	g->devices = json_array();
	g->objects = json_array();
	list_init(&g->files);
	if (c.incoming && !parts)
		block_begin_inactive();
	g->stopped = vmm_given(v->options, VMM_STOPPED);
	c.incoming = g->incoming;
	c.io_error = guest_io_error;
	c.io_error_opaque = g;
	if (parts) {
		c.smm = parts->smm ? Q35_SMM_ON : Q35_SMM_OFF;
		c.vmport = parts->vmport;
		c.ram.adopt = parts->adopt_ram;
		c.ram.opaque = parts->opaque;
	}
	if (r >= 0)
		r = migration_globals(g->migration, e);
	if (r >= 0)
		r = make(g, &c, parts, e);
	if (r < 0) {
		guest_destroy(g);
		return r;
	}
	guest_ops_fill(g);
	guest_events_watch(g);
	control_set_ops(v->control, &g->ops);
	*ret = g;
	return 0;
}

/**
 * guest_destroy() - End the guest
 * @g:		May be half made
 */
void guest_destroy(struct guest *g)
{
	control_set_ops(g->v->control, NULL);
	announce_end(g);
	migration_end(g->migration);
	if (g->q) {
		guest_keystrokes_release(g);
		guest_dump_release(g);
		q35_destroy(g->q);
		guest_eject_release(g);
	}
	guest_files_end(g);
	json_decref(g->devices);
	guest_objects_release(g);
	free(g);
}

static const char *incoming_uri(const struct guest *g)
{
	const char *uri = vmm_text(g->v->options, VMM_INCOMING);

	return uri && strcmp(uri, "defer") ? uri : NULL;
}

/**
 * guest_begin() - Reset and run, or wait for the guest's state
 * @g:		Made
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno of where the state should come from
 */
int guest_begin(struct guest *g, struct err *e)
{
	bool direct = g->q->direct;

	if (g->incoming)
		g->q->direct = false; /* the kernel is started at a reset, but not at this one */
	vm_reset(&g->q->vm, false);
	g->q->direct = direct;
	if (!g->incoming && !g->stopped)
		vm_start(&g->q->vm);
	if (!g->incoming)
		return 0;
	vm_set_state(&g->q->vm, RUN_INMIGRATE);
	if (g->adopted || !incoming_uri(g))
		return 0;
	return incoming_begin(g->migration, incoming_uri(g), true, e);
}

static void bus_capture(void *opaque, void *state)
{
	q35_bus_capture(opaque, state);
}

static void bus_apply(void *opaque, const void *state)
{
}

/* Each bus behind a port has a section in QEMU's streams, which says that it has no interrupt
 * inputs of its own. Outlives without it are fine, too. */
static void add_buses(struct guest *g, struct migrate_sections *s)
{
	struct migrate_section section = {.name = "PCIBUS",
					  .table = &q35_bus_table,
					  .capture = bus_capture,
					  .apply = bus_apply,
					  .optional = true};
	struct device *dev;

	list_for_each (dev, &g->q->devices, link) {
		if (dev->class != &pcie_port_class)
			continue;
		section.instance++;
		section.opaque = CONTAINER_OF(dev, struct pci_device, dev)->secondary;
		migrate_sections_add(s, &section);
	}
}

/**
 * guest_sections() - The machine's sections
 * @g:		The guest
 * @ret:	Filled in; release with migrate_sections_destroy()
 * @e:		Set on failure only: the device that can't follow, and why
 *
 * Return: 0, or a negative errno
 */
int guest_sections(struct guest *g, struct migrate_sections *ret, struct err *e)
{
	struct device *dev;
	int r = 0;

	*ret = (struct migrate_sections){0};
	guest_ejected_remove(g); /* what the guest has let go isn't there on the other side */
	list_for_each (dev, &g->q->devices, link)
		if (r >= 0)
			r = migrate_sections_add_device(ret, dev, e);
	add_buses(g, ret);
	if (r < 0)
		migrate_sections_destroy(ret);
	return r;
}
