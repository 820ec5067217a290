/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_VIRTIO_CLASSES_H
#define DEVICE_VIRTIO_CLASSES_H

#include "device/device.h"

/* Every virtio class, as device/registry.c lists them: by its name, transitional and
 * non-transitional. */

#define VIRTIO_CLASS_TRIPLE(kind)                                                 \
	extern const struct device_class kind##_class, kind##_transitional_class, \
		kind##_non_transitional_class

VIRTIO_CLASS_TRIPLE(virtio_balloon);
VIRTIO_CLASS_TRIPLE(virtio_blk);
VIRTIO_CLASS_TRIPLE(virtio_net);
VIRTIO_CLASS_TRIPLE(virtio_rng);

VIRTIO_CLASS_TRIPLE(virtio_scsi);
VIRTIO_CLASS_TRIPLE(virtio_serial);
extern const struct device_class virtserialport_class, virtconsole_class, scsi_hd_class;

#define VIRTIO_CLASSES                                                                            \
	&virtio_balloon_class, &virtio_balloon_transitional_class,                                \
		&virtio_balloon_non_transitional_class, &virtio_blk_class,                        \
		&virtio_blk_transitional_class, &virtio_blk_non_transitional_class,               \
		&virtio_net_class, &virtio_net_transitional_class,                                \
		&virtio_net_non_transitional_class, &virtio_rng_class,                            \
		&virtio_rng_transitional_class, &virtio_rng_non_transitional_class,               \
		&virtio_serial_class, &virtio_serial_transitional_class,                          \
		&virtio_serial_non_transitional_class, &virtserialport_class, &virtconsole_class, \
		&virtio_scsi_class, &virtio_scsi_transitional_class,                              \
		&virtio_scsi_non_transitional_class, &scsi_hd_class

#endif
