/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PULSE_CORE_NUMBERED_H
#define PULSE_CORE_NUMBERED_H

#include "witness.h"

#define NUMBERED_WINDOW 4096

/** struct numbered - What a numbered packet carries; a peer sends it back as it is */
struct numbered {
	uint64_t life;
	uint64_t number;
	uint64_t check;
	uint8_t fill[40];
} __attribute__((packed));

/**
 * struct numbered_sent - What is known of one number
 * @number:	From 1
 * @at:		When it was sent (TSC); 0: answered or given up
 */
struct numbered_sent {
	uint64_t number;
	uint64_t at;
};

/**
 * struct numbered_window - The newest numbers, and what came back of them
 * @w:		Witness
 * @out:	Device of the report that is counted for
 * @next:	Number to be sent next
 * @highest:	Highest that came back
 * @oldest:	The oldest that may still be waited for
 * @waiting:	Sent, and neither answered nor given up
 * @pace:	How fast they are sent
 * @sent:	NUMBERED_WINDOW of them, zeroed; number N at N % NUMBERED_WINDOW
 */
struct numbered_window {
	struct witness *w;
	struct pulse_device *out;
	uint64_t next, highest, oldest, waiting;
	struct pace pace;
	struct numbered_sent *sent;
};

/**
 * numbered_start() - Begin with number 1
 * @n:		Set
 * @w:		Witness; its parameters say how many and how fast
 * @out:	Device of the report; its kind and depth are set
 * @sent:	Memory for the window
 */
void numbered_start(struct numbered_window *n, struct witness *w, struct pulse_device *out,
		    struct numbered_sent *sent);

/**
 * numbered_due() - Whether a packet may be sent now; if so, its step counts as done
 * @n:	Window
 * Return: true when the caller shall send one
 */
bool numbered_due(struct numbered_window *n);

/**
 * numbered_make() - Make the next packet; it counts as sent
 * @n:	Window
 * @p:	Gets it
 */
void numbered_make(struct numbered_window *n, struct numbered *p);

/**
 * numbered_take() - Judge a packet that came back
 * @n:	Window
 * @p:	What came; anything
 */
void numbered_take(struct numbered_window *n, const struct numbered *p);

/**
 * numbered_give_up() - Count the oldest number as lost when it waited for five seconds
 * @n:	Window
 * Return: true when there was something to look at; call again
 */
bool numbered_give_up(struct numbered_window *n);

#endif
