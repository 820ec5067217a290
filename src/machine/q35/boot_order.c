/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: firmware learns in two ways what to start from. CMOS has three letters'
 * worth of drive kinds (-boot order=). fw_cfg's file "bootorder" has a line for each device with a
 * bootindex, lowest first: its path in Open Firmware's style, from the host bridge down. The file
 * is written anew at each reset, for what was plugged meanwhile.
 *
 * Source: QEMU's docs/specs/fw_cfg and SeaBIOS' docs/Runtime_config for names and paths
 */
#include "machine/q35/boot_order.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/owned.h"
#include "device/virtio/scsi.h"
#include "machine/q35/q35.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CMOS_ORDER  0x3d /* first and second kind */
#define CMOS_THIRD  0x38
#define CMOS_FLOPPY 0x01 /* in CMOS_THIRD: don't check the floppy's signature */
#define PATH_BYTES  256
#define SPLASH_MAX  (16 * MiB)
#define MS_MAX      0xffff

static uint8_t kind_of(char letter)
{
	switch (letter) {
	case 'a':
	case 'b': return 1;
	case 'c': return 2;
	case 'd': return 3;
	case 'n': return 4;
	default: return 0;
	}
}

static int order_parse(const char *order, uint8_t kinds[3], struct err *e)
{
	if (strlen(order) > 3)
		return err_set(e, EINVAL, "-boot: '%s' is more than three drives", order);
	memset(kinds, 0, 3);
	for (size_t i = 0; order[i]; i++) {
		kinds[i] = kind_of(order[i]);
		if (!kinds[i])
			return err_set(e, EINVAL,
				       "-boot: there is no drive '%c', only a, b, c, d and n",
				       order[i]);
	}
	return 0;
}

static void order_set(struct q35 *q, const uint8_t kinds[3])
{
	rtc_set_cmos(q->rtc, CMOS_ORDER, (uint8_t)(kinds[1] << 4 | kinds[0]));
	rtc_set_cmos(q->rtc, CMOS_THIRD, (uint8_t)(kinds[2] << 4));
}

static int letters_fill(struct q35 *q, const struct q35_boot_config *c, struct err *e)
{
	uint8_t once[3];
	int r = order_parse(c->order ? c->order : "cad", q->boot_kinds, e);

	if (r >= 0)
		r = order_parse(c->once ? c->once : "", once, e);
	if (r < 0)
		return r;
	q->boot_once = c->once != NULL;
	order_set(q, c->once ? once : q->boot_kinds);
	return 0;
}

static int splash_kind(const char *path, const uint8_t *data, size_t len, const char **name,
		       struct err *e)
{
	if (len >= 30 && load_le16(data) == 0xd8ff)
		*name = "bootsplash.jpg";
	else if (len >= 30 && load_le16(data) == 0x4d42 && load_le16(data + 28) == 24)
		*name = "bootsplash.bmp";
	else
		return err_set(e, EINVAL, "-boot: splash %s is neither JPEG nor BMP with 24 bits",
			       path);
	return 0;
}

static int splash_fill(struct q35 *q, const char *path, struct err *e)
{
	OWNED_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	OWNED(uint8_t *) data = NULL;
	const char *name = NULL;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "-boot: splash %s", path);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > SPLASH_MAX)
		return err_set(e, EINVAL, "-boot: splash %s isn't a file of at most 16 MiB", path);
	data = mem_zalloc((size_t)st.st_size + 1);
	if (read(fd, data, (size_t)st.st_size) != st.st_size)
		return err_set(e, EIO, "-boot: splash %s can't be read", path);
	r = splash_kind(path, data, (size_t)st.st_size, &name, e);
	return r < 0 ? r : fw_cfg_add_file(q->fw_cfg, name, data, (size_t)st.st_size, e);
}

static int times_fill(struct q35 *q, const struct q35_boot_config *c, struct err *e)
{
	uint8_t wait[2], fail[4];
	int r = 0;

	if (c->splash_ms > MS_MAX)
		return err_set(e, ERANGE, "-boot: splash-time is 0 to %d ms", MS_MAX);
	if (c->reboot_ms < -1 || c->reboot_ms > MS_MAX)
		return err_set(e, ERANGE, "-boot: reboot-timeout is -1 to %d ms", MS_MAX);
	store_le16(wait, (uint16_t)c->splash_ms);
	store_le32(fail, (uint32_t)c->reboot_ms);
	if (c->splash_ms >= 0)
		r = fw_cfg_add_file(q->fw_cfg, "etc/boot-menu-wait", wait, sizeof(wait), e);
	return r < 0 ? r : fw_cfg_add_file(q->fw_cfg, "etc/boot-fail-wait", fail, sizeof(fail), e);
}

/**
 * q35_boot_order_fill() - Tell the firmware what -boot says
 * @q:		The machine with its chipset
 * @c:		-boot
 * @e:		Set on failure only
 *
 * Errors: EINVAL no such drive, no picture; ERANGE; else of the picture's file
 * Return: 0, or a negative errno
 */
int q35_boot_order_fill(struct q35 *q, const struct q35_boot_config *c, struct err *e)
{
	int r = letters_fill(q, c, e);

	q->boot_strict = c->strict;
	fw_cfg_add_u16(q->fw_cfg, FW_CFG_BOOT_MENU, c->menu);
	if (r >= 0)
		r = times_fill(q, c, e);
	if (r >= 0 && c->splash)
		r = splash_fill(q, c->splash, e);
	return r < 0 ? r : fw_cfg_add_file(q->fw_cfg, "bootorder", "", 0, e);
}

/**
 * q35_boot_order_reset() - A first start's order is over at the reset behind it
 * @q:	The machine, being reset
 */
void q35_boot_order_reset(struct q35 *q)
{
	struct err e;

	if (q->boot_once && q->started)
		order_set(q, q->boot_kinds);
	q->boot_once = q->boot_once && !q->started;
	q->started = true;
	if (q35_boot_order_update(q, &e) < 0)
		log_warn("boot order: %s", e.msg);
}

/* Appends; what doesn't fit is cut off, which no bus is deep enough for. */
__attribute__((format(printf, 2, 3))) static void path_add(char path[PATH_BYTES], const char *fmt,
							   ...)
{
	size_t at = strlen(path);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(path + at, PATH_BYTES - at, fmt, ap);
	va_end(ap);
}

static void path_class(char path[PATH_BYTES], const struct pci_device *d)
{
	uint16_t class = load_le16(d->config + 0x0a);

	switch (class) {
	case 0x0100: path_add(path, "/scsi"); break;
	case 0x0200: path_add(path, "/ethernet"); break;
	case 0x0604: path_add(path, "/pci-bridge"); break;
	default: path_add(path, "/pci%04x,%04x", load_le16(d->config), load_le16(d->config + 2));
	}
}

static void path_pci(char path[PATH_BYTES], const struct pci_device *d)
{
	if (d->bus->bridge)
		path_pci(path, d->bus->bridge);
	else
		path_add(path, "/pci@i0cf8");
	path_class(path, d);
	path_add(path, "@%x", (unsigned int)PCI_SLOT(d->devfn));
	if (PCI_FN(d->devfn))
		path_add(path, ",%x", (unsigned int)PCI_FN(d->devfn));
}

/* False: the firmware can't start from such a device. */
static bool path_make(char path[PATH_BYTES], const struct device *dev)
{
	const struct scsi_disk *disk;

	path[0] = '\0';
	if (dev->class == &scsi_hd_class) {
		disk = CONTAINER_OF(dev, const struct scsi_disk, dev);
		path_pci(path, &disk->c->v.pci);
		path_add(path, "/channel@%x/disk@%x,%x", disk->channel, disk->id, disk->lun);
		return true;
	}
	if (strcmp(dev->class->bus, "PCI"))
		return false;
	path_pci(path, CONTAINER_OF(dev, const struct pci_device, dev));
	path_add(path,
		 !strncmp(dev->class->name, "virtio-net", 10) ? "/ethernet-phy@0" : "/disk@0,0");
	return true;
}

/* -1: not in the order. */
static int32_t bootindex_of(const struct device *dev)
{
	const struct prop *p = device_prop_find(dev->class, "bootindex");

	return p ? *(const int32_t *)((const char *)dev + p->offset) : -1;
}

/**
 * q35_boot_order_check() - May a device have its bootindex?
 * @q:		The machine
 * @dev:	Not in it yet; its properties are set
 * @e:		Set on failure only
 *
 * Errors: EEXIST another device has it
 * Return: 0, or a negative errno
 */
int q35_boot_order_check(struct q35 *q, const struct device *dev, struct err *e)
{
	int32_t index = bootindex_of(dev);
	struct device *other;

	list_for_each (other, &q->devices, link)
		if (index >= 0 && bootindex_of(other) == index)
			return err_set(e, EEXIST, "bootindex %d is that of %s '%s' already", index,
				       other->class->name, other->id ? other->id : other->path);
	return 0;
}

/* The device that comes next behind @last, NULL: none. */
static struct device *next_device(struct q35 *q, int32_t last)
{
	struct device *dev, *best = NULL;

	list_for_each (dev, &q->devices, link) {
		int32_t index = bootindex_of(dev);

		if (index > last && (!best || index < bootindex_of(best)))
			best = dev;
	}
	return best;
}

/**
 * q35_boot_order_update() - Write the file "bootorder"
 * @q:		The machine; main thread
 * @e:		Set on failure only
 *
 * Errors: ENOSPC fw_cfg is full
 * Return: 0, or a negative errno
 */
int q35_boot_order_update(struct q35 *q, struct err *e)
{
	OWNED(char *) text = str_dup("");
	struct device *dev;
	int32_t last = -1;
	int r;

	while ((dev = next_device(q, last))) {
		char path[PATH_BYTES];

		last = bootindex_of(dev);
		if (path_make(path, dev)) {
			char *longer = str_printf("%s%s%s", text, *text ? "\n" : "", path);

			free(text);
			text = longer;
		}
	}
	if (q->boot_strict && *text) {
		char *longer = str_printf("%s\nHALT", text);

		free(text);
		text = longer;
	}
	pthread_mutex_lock(q->fw_cfg->dev.lock);
	r = fw_cfg_add_file(q->fw_cfg, "bootorder", text, *text ? strlen(text) + 1 : 0, e);
	pthread_mutex_unlock(q->fw_cfg->dev.lock);
	return r;
}
