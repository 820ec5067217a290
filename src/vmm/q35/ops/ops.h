/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_OPS_H
#define VMM_OPS_H

#include "control/control.h"
#include "device/virtio/balloon.h"
#include "vmm/q35/guest.h"

/* The machine's part of QMP by theme; machine.c is the table. Main thread. */

/* device.c */
control_op op_device_add, op_device_del;
/* The devices' way to the machine: requests, and what the guest ejects. */
void guest_eject_init(struct guest *g);
void guest_eject_release(struct guest *g);
/* Takes away what the guest has let go by now. */
void guest_ejected_remove(struct guest *g);
bool guest_ejected(struct guest *g);
/* The @i-th of the user's devices, as guest->devices lists them; NULL: there are fewer. */
struct device *guest_device_at(struct guest *g, size_t i);
/* Its path in the object tree; the caller frees it. */
char *guest_device_path(struct guest *g, const struct device *dev);

/* object.c */
control_op op_object_add, op_object_del, op_query_iothreads, op_query_memdev;
MUST_CHECK int guest_objects_make(struct guest *g, const json_t *objects, struct err *e);
void guest_objects_release(struct guest *g);
const json_t *guest_object_find(const struct guest *g, const char *id);

/* block.c */
control_op op_query_block, op_query_blockstats, op_block_set_io_throttle;

/* cpu.c: need no guest */
control_op op_query_cpu_definitions, op_query_cpu_model_expansion;

/* vcpu.c */
control_op op_query_cpus_fast, op_query_hotpluggable_cpus, op_query_acpi_ospm_status;
MUST_CHECK int guest_vcpu_check(const struct guest *g, const char *driver, struct err *e);
/* A plugged vCPU as -device takes it; new reference. */
json_t *guest_vcpu_argument(const struct guest *g, unsigned int place);
char *guest_vcpu_path(struct guest *g, unsigned int place);
void guest_ost(void *opaque, const struct device_ost *what); /* struct device_env.ost */

/* configuration.c */
control_op op_query_configuration, op_query_vm_generation_id;
/* The devices for another process on this host: as they were asked for, with what they drew. */
json_t *guest_devices_carried(struct guest *g);

/* memory.c */
control_op op_balloon, op_query_balloon, op_query_memory_size, op_query_memory_devices;
/* struct control_ops.memory_read and .memory_read_virtual */
bool guest_memory_read(void *opaque, uint64_t gpa, void *buf, uint64_t len);
MUST_CHECK int guest_memory_read_virtual(void *opaque, unsigned int place, uint64_t gva, void *buf,
					 uint64_t len, struct err *e);
/* The balloon, or NULL. Changes of its size become events while it is there. */
struct device *guest_balloon(struct guest *g);
void guest_balloon_watch(struct guest *g, struct device *dev);
json_t *balloon_statistics(struct device *dev);

/* qom.c, qom_value.c */
control_op op_qom_list, op_qom_get, op_qom_set;
json_t *prop_value(const struct device *dev, const struct prop *p);
json_t *mac_value(const uint8_t mac[6]);

/* pci.c */
control_op op_query_pci;

/* net.c */
control_op op_set_link, op_announce_self, op_query_rx_filter;
bool device_is_nic(const struct device *dev);
void guest_nic_watch(struct guest *g, struct device *dev);

/* port.c: what a guest does with a port of virtio-serial becomes an event while it is there. */
void guest_port_watch(struct guest *g, struct device *dev);
void guest_ports_tell(struct guest *g);

/* dump.c */
control_op op_dump_guest_memory, op_query_dump;
void guest_dump_release(struct guest *g);

/* stats.c */
control_op op_query_stats, op_query_stats_schemas;

/* keys.c */
control_op op_send_key;
void guest_keystrokes_release(struct guest *g);

/* run.c */
control_op op_inject_nmi, op_rtc_reset_reinjection, op_set_action, op_watchdog_set_action;
void policy_set(struct vm_policy *p, const json_t *actions);
json_t *policy_describe(const struct vm_policy *p);

#endif
