/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: KVM has the timer i8254, we have the speaker's port 0x61, which gates its
 * channel 2 and shows its output, and the HPET, which takes the place of channel 0. KVM doesn't
 * tell a channel's output: it follows from the moment at which the channel was loaded (the host's
 * monotonic clock), its count and its mode.
 */
#include "machine/q35/q35.h"

#include "base/clock.h"
#include "base/log.h"
#include "kvm/x86/irqchip.h"

#define PIT_HZ      1193182ULL
#define PIT_SPEAKER 2

static bool pit_load(struct q35 *q, struct kvm_pit_state2 *pit)
{
	struct err e;

	return x86_pit_get(q->kvm, pit, &e) == 0;
}

static void pit_store(struct q35 *q, const struct kvm_pit_state2 *pit)
{
	struct err e;

	if (x86_pit_set(q->kvm, pit, &e) < 0)
		log_error("PIT: %s", e.msg);
}

static bool pit_output(const struct kvm_pit_channel_state *c)
{
	uint64_t elapsed = (uint64_t)(time_ns() - c->count_load_time);
	uint64_t ticks = (uint64_t)((unsigned __int128)elapsed * PIT_HZ / NS_PER_SEC);
	uint64_t count = c->count ? c->count : 0x10000;

	switch (c->mode) {
	case 0: return ticks >= count;
	case 1: return ticks < count;
	case 2: return ticks && ticks % count == 0;
	case 3: return ticks % count < (count + 1) / 2;
	default: return ticks == count;
	}
}

/**
 * q35_pit_speaker() - What port 0x61 shows of channel 2
 * @opaque:	struct q35
 *
 * Source: Intel 8254 data sheet, "Mode definitions"
 * Return: bit 0 gate, bit 1 output
 */
unsigned int q35_pit_speaker(void *opaque)
{
	struct kvm_pit_state2 pit;
	const struct kvm_pit_channel_state *c = &pit.channels[PIT_SPEAKER];

	if (!pit_load(opaque, &pit))
		return 0;
	return (c->gate ? 1U : 0) | (pit_output(c) ? 2U : 0);
}

/**
 * q35_pit_gate() - Set the gate of channel 2
 * @opaque:	struct q35
 * @on:		Counting is allowed; a rising edge starts modes 1, 2, 3 and 5 anew
 */
void q35_pit_gate(void *opaque, bool on)
{
	struct kvm_pit_state2 pit;
	struct kvm_pit_channel_state *c = &pit.channels[PIT_SPEAKER];

	if (!pit_load(opaque, &pit) || !c->gate == !on)
		return;
	if (on && c->mode != 0 && c->mode != 4)
		c->count_load_time = time_ns();
	c->gate = on;
	pit_store(opaque, &pit);
}

/**
 * q35_pit_enable() - Connect channel 0 to its interrupt, or cut it off while the HPET replaces it
 * @opaque:	struct q35
 * @line:	Ignored
 * @on:		Connected
 */
void q35_pit_enable(void *opaque, int line, bool on)
{
	struct kvm_pit_state2 pit;
	uint32_t flags = on ? 0 : KVM_PIT_FLAGS_HPET_LEGACY;

	if (!pit_load(opaque, &pit) || (pit.flags & KVM_PIT_FLAGS_HPET_LEGACY) == flags)
		return;
	pit.flags = (pit.flags & ~KVM_PIT_FLAGS_HPET_LEGACY) | flags;
	pit_store(opaque, &pit);
}
