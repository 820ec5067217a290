/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEVICE_IRQ_H
#define DEVICE_IRQ_H

#include "base/compiler.h"

#include <stdbool.h>

/**
 * struct irq - A wire to an interrupt input
 * @set:	Drives it; callable from any thread; NULL: not connected
 * @opaque:	Of the input's owner
 * @line:	Which of its inputs
 */
struct irq {
	void (*set)(void *opaque, int line, bool level);
	void *opaque;
	int line;
};

static inline void irq_set(const struct irq *irq, bool level)
{
	if (irq->set)
		irq->set(irq->opaque, irq->line, level);
}

static inline void irq_pulse(const struct irq *irq)
{
	irq_set(irq, true);
	irq_set(irq, false);
}

#endif
