/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the LPC bridge on the wire: QEMU's "ICH9LPC" version 1 with power management
 * and its subsections inside.
 */
#include "device/wire.h"
#include "machine/q35/lpc.h"

#include <errno.h>
#include <string.h>

#define P struct pm_state
#define L struct lpc_state

static bool always(const void *state)
{
	return true;
}

static const struct state_field tco_fields[] = {
	FIELD("tco.rld", struct tco_state, rld),
	FIELD("tco.din", struct tco_state, din),
	FIELD("tco.dout", struct tco_state, dout),
	FIELD("tco.sts1", struct tco_state, sts1),
	FIELD("tco.sts2", struct tco_state, sts2),
	FIELD("tco.cnt1", struct tco_state, cnt1),
	FIELD("tco.cnt2", struct tco_state, cnt2),
	FIELD("tco.msg1", struct tco_state, msg1),
	FIELD("tco.msg2", struct tco_state, msg2),
	FIELD("tco.wdcnt", struct tco_state, wdcnt),
	FIELD("tco.tmr", struct tco_state, tmr),
	FIELD("sw_irq_gen", struct tco_state, sw_irq_gen),
	FIELD_TIMER("tco_timer", struct tco_state, timer),
	FIELD("expire_time", struct tco_state, expire),
	FIELD("timeouts_no", struct tco_state, timeouts),
	NOT_SENT(struct tco_state, reserved, "padding"),
	FIELDS_END,
};

static const struct state_table tco_table = {
	.name = "tco io device status",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct tco_state),
	.fields = tco_fields,
};

static const struct state_field status_fields[] = {
	FIELD("up", struct pcihp_status, up),
	FIELD("down", struct pcihp_status, down),
	FIELDS_END,
};

static const struct state_table status_table = {
	.name = "acpi_pcihp_pci_status",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct pcihp_status),
	.fields = status_fields,
};

static const struct state_field cpu_fields[] = {
	FIELD("is_inserting", struct cpuhp_status, inserting),
	FIELD("is_removing", struct cpuhp_status, removing),
	FIELD("ost_event", struct cpuhp_status, ost_event),
	FIELD("ost_status", struct cpuhp_status, ost_status),
	NOT_SENT(struct cpuhp_status, reserved, "padding"),
	FIELDS_END,
};

static const struct state_table cpu_table = {
	.name = "CPU hotplug device state",
	.version = 1,
	.min_version = 1,
	.size = sizeof(struct cpuhp_status),
	.fields = cpu_fields,
};

/* Structs on the wire whose members lie in struct pm_state itself. */
#define FIELD_INLINE(wire, type, tbl)                                                    \
	{                                                                                \
		.name = (wire), .kind = STATE_STRUCT, .offset = 0, .size = sizeof(type), \
		.count = 1, .stride = sizeof(type), .count_offset = -1, .table = (tbl)   \
	}

static const struct state_field memhp_inner_fields[] = {
	FIELD("selector", P, memhp_selector),
	FIELDS_END,
};

static const struct state_table memhp_inner = {
	.name = "memory hotplug state",
	.version = 1,
	.min_version = 1,
	.size = sizeof(P),
	.fields = memhp_inner_fields,
};

static const struct state_field memhp_fields[] = {
	FIELD_INLINE("acpi_memory_hotplug", P, &memhp_inner),
	FIELDS_END,
};

static const struct state_table memhp_sub = {
	.name = "ich9_pm/memhp",
	.version = 1,
	.min_version = 1,
	.size = sizeof(P),
	.fields = memhp_fields,
	.needed = always,
};

static const struct state_field tco_sub_fields[] = {
	FIELD_STRUCT("tco_regs", P, tco, &tco_table),
	FIELDS_END,
};

static const struct state_table tco_sub = {
	.name = "ich9_pm/tco",
	.version = 1,
	.min_version = 1,
	.size = sizeof(P),
	.fields = tco_sub_fields,
	.needed = always,
};

static bool cpuhp_needed(const void *state)
{
	return ((const P *)state)->cpuhp_modern;
}

static const struct state_field cpuhp_inner_fields[] = {
	FIELD("selector", P, cpuhp_selector),
	FIELD("command", P, cpuhp_command),
	FIELD_STRUCTS_N("devs", P, cpuhp, cpuhp_count, &cpu_table),
	FIELDS_END,
};

static const struct state_table cpuhp_inner = {
	.name = "CPU hotplug state",
	.version = 1,
	.min_version = 1,
	.size = sizeof(P),
	.fields = cpuhp_inner_fields,
};

/* That the subsection is there says that the guest has switched to the registers. */
static int cpuhp_loaded(void *member, struct state_reader *r, unsigned int version, struct err *e)
{
	*(bool *)member = true;
	return 0;
}

static void cpuhp_nothing(const void *member, struct state_writer *w)
{
}

static const struct state_codec cpuhp_modern_codec = {"presence", cpuhp_nothing, cpuhp_loaded, 0};

static const struct state_field cpuhp_fields[] = {
	FIELD_CODEC("cpuhp_modern", P, cpuhp_modern, &cpuhp_modern_codec),
	FIELD_INLINE("cpuhp_state", P, &cpuhp_inner),
	FIELDS_END,
};

static const struct state_table cpuhp_sub = {
	.name = "ich9_pm/cpuhp",
	.version = 1,
	.min_version = 1,
	.size = sizeof(P),
	.fields = cpuhp_fields,
	.needed = cpuhp_needed,
};

static bool pcihp_needed(const void *state)
{
	return !((const P *)state)->pcihp_off;
}

static const struct state_field pcihp_fields[] = {
	FIELD("acpi_pci_hotplug.hotplug_select", P, pcihp_select),
	FIELD_STRUCTS("acpi_pci_hotplug.acpi_pcihp_pci_status", P, pcihp, &status_table),
	FIELD("acpi_pci_hotplug.acpi_index", P, acpi_index),
	FIELDS_END,
};

static const struct state_table pcihp_sub = {
	.name = "ich9_pm/pcihp",
	.version = 1,
	.min_version = 1,
	.size = sizeof(P),
	.fields = pcihp_fields,
	.needed = pcihp_needed,
};

static const struct state_table *const pm_subs[] = {&memhp_sub, &tco_sub, &cpuhp_sub, &pcihp_sub,
						    NULL};

static const struct state_field pm_fields[] = {
	FIELD("acpi_regs.pm1.evt.sts", P, sts),
	FIELD("acpi_regs.pm1.evt.en", P, en),
	FIELD("acpi_regs.pm1.cnt.cnt", P, cnt),
	FIELD_TIMER("acpi_regs.tmr.timer", P, timer),
	FIELD("acpi_regs.tmr.overflow_time", P, overflow),
	FIELD_U8S("acpi_regs.gpe.sts", P, gpe_sts),
	FIELD_U8S("acpi_regs.gpe.en", P, gpe_en),
	FIELD("smi_en", P, smi_en),
	FIELD("smi_sts", P, smi_sts),
	NOT_SENT(P, cpuhp_count, "how many CPUs there can be is configuration"),
	NOT_SENT(P, pcihp_off, "whether ACPI does PCI hot-plug is configuration"),
	NOT_SENT(P, reserved, "padding"),
	FIELDS_END,
};

static const struct state_table pm_table = {
	.name = "ich9_pm",
	.version = 1,
	.min_version = 1,
	.size = sizeof(P),
	.fields = pm_fields,
	.subsections = pm_subs,
};

static const struct state_field apm_fields[] = {
	FIELD("apmc", L, apmc),
	FIELD("apms", L, apms),
	FIELDS_END,
};

static const struct state_table apm_table = {
	.name = "APM State",
	.version = 1,
	.min_version = 1,
	.size = sizeof(L),
	.fields = apm_fields,
};

static bool reset_needed(const void *state)
{
	return ((const L *)state)->rst_cnt != 0;
}

static const struct state_field reset_fields[] = {
	FIELD("rst_cnt", L, rst_cnt),
	FIELDS_END,
};

static const struct state_table reset_sub = {
	.name = "ICH9LPC/rst_cnt",
	.version = 1,
	.min_version = 1,
	.size = sizeof(L),
	.fields = reset_fields,
	.needed = reset_needed,
};

static bool smi_needed(const void *state)
{
	static const uint8_t none[8];
	const L *s = state;

	return s->smi_ok || memcmp(s->smi_guest, none, sizeof(none)) != 0;
}

static const struct state_field smi_fields[] = {
	FIELD_U8S("smi_guest_features_le", L, smi_guest),
	FIELD("smi_features_ok", L, smi_ok),
	FIELD("smi_negotiated_features", L, smi_negotiated),
	FIELDS_END,
};

static const struct state_table smi_sub = {
	.name = "ICH9LPC/smi_feat",
	.version = 1,
	.min_version = 1,
	.size = sizeof(L),
	.fields = smi_fields,
	.needed = smi_needed,
};

static const struct state_table *const lpc_subs[] = {&reset_sub, &smi_sub, NULL};

static const struct state_field lpc_fields[] = {
	FIELD_STRUCT("d", L, pci, &pci_device_state),
	FIELD_INLINE("apm", L, &apm_table),
	FIELD_STRUCT("pm", L, pm, &pm_table),
	FIELD_U8S("chip_config", L, rcrb),
	FIELD("sci_level", L, sci_level),
	NOT_SENT(L, reserved, "padding"),
	FIELDS_END,
};

const struct state_table lpc_table = {
	.name = "ICH9LPC",
	.version = 1,
	.min_version = 1,
	.size = sizeof(L),
	.fields = lpc_fields,
	.subsections = lpc_subs,
};
