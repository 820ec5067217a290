/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the kernel has a limited number of interrupt routes. What is signalled on
 * the eventfd of a vector that got none would be lost, so the main thread listens there instead
 * and sends the MSI, for which no route is needed. A vector that gets a route later (the guest
 * masks and unmasks it) is the kernel's again, and its relay ends at the next signal that it sees.
 *
 * That a route is missing is found on any thread; sources of the main loop are the main thread's,
 * so it is asked by loop_post(). A device may be gone when the request is served: then it finds
 * relays without a device and frees them.
 */
#include "base/log.h"
#include "base/owned.h"
#include "device/pci/internal.h"

#include <string.h>

/**
 * struct msix_relays - Vectors of a function that the main thread raises
 * @d:		The function; NULL: it is gone (main thread)
 * @posted:	The main thread was asked to look; under msix.lock
 * @relays:	One for each vector; @wanted under msix.lock, @source is the main thread's
 */
struct msix_relays {
	struct pci_device *d;
	bool posted;
	struct relay {
		struct msix_relays *all;
		bool wanted;
		sd_event_source *source;
	} relays[];
};

static int on_signal(sd_event_source *source, int fd, uint32_t events, void *opaque)
{
	struct relay *r = opaque;
	struct pci_device *d = r->all->d;

	if (!msix_forward(d, (unsigned int)(r - r->all->relays))) {
		pthread_mutex_lock(&d->msix.lock);
		r->wanted = false;
		pthread_mutex_unlock(&d->msix.lock);
		r->source = sd_event_source_unref(source);
	}
	return 0;
}

static void listen(struct pci_device *d, struct relay *r, int fd)
{
	static struct log_limit limit;
	int n = sd_event_add_io(loop_event(d->dev.env->loop), &r->source, fd, EPOLLIN, on_signal,
				r);

	if (n < 0)
		log_guest(&limit, "%s: listen for a vector: %s", d->dev.path, strerror(-n));
}

static void on_wanted(void *opaque)
{
	struct msix_relays *all = opaque;
	struct pci_msix *x = all->d ? &all->d->msix : NULL;

	if (!x) {
		free(all);
		return;
	}
	pthread_mutex_lock(&x->lock);
	all->posted = false;
	for (unsigned int v = 0; v < x->entries; v++)
		if (all->relays[v].wanted && !all->relays[v].source)
			listen(all->d, &all->relays[v], x->vectors[v].fd);
	pthread_mutex_unlock(&x->lock);
}

static struct msix_relays *relays_create(struct pci_device *d)
{
	struct msix_relays *all =
		mem_zalloc(sizeof(*all) + d->msix.entries * sizeof(all->relays[0]));

	all->d = d;
	for (unsigned int v = 0; v < d->msix.entries; v++)
		all->relays[v].all = all;
	return all;
}

/**
 * msix_relay() - Have the main thread raise a vector that the kernel has no route for
 * @d:		The function; its msix.lock held, any thread
 * @vector:	Has an eventfd
 */
void msix_relay(struct pci_device *d, unsigned int vector)
{
	struct pci_msix *x = &d->msix;

	if (!d->dev.env->loop)
		return;
	if (!x->relays)
		x->relays = relays_create(d);
	x->relays->relays[vector].wanted = true;
	if (!x->relays->posted)
		loop_post(d->dev.env->loop, on_wanted, x->relays);
	x->relays->posted = true;
}

/**
 * msix_relays_release() - Listen no longer
 * @d:		Detached; main thread
 */
void msix_relays_release(struct pci_device *d)
{
	struct msix_relays *all = d->msix.relays;

	d->msix.relays = NULL;
	if (!all)
		return;
	for (unsigned int v = 0; v < d->msix.entries; v++)
		sd_event_source_disable_unref(all->relays[v].source);
	all->d = NULL;
	if (!all->posted)
		free(all);
}
