/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the life of a device. device_create() makes it with its defaults,
 * device_set() (props.c) changes them, device_realize() lets it appear to the guest,
 * device_destroy() takes it away and gives everything back, also halfway. What a class does is in
 * its ops; here is only what all have in common.
 */
#include "device/device.h"

#include "base/owned.h"
#include "device/props.h"

#include <assert.h>
#include <errno.h>

/**
 * device_create() - Make a device with its properties' defaults, not yet seen by the guest
 * @class:	Its kind
 * @env:	The machine's services; stays valid as long as the device
 *
 * Return: never NULL; release with device_destroy()
 */
struct device *device_create(const struct device_class *class, const struct device_env *env)
{
	struct device *dev = mem_zalloc(class->size);

	assert(class->size >= sizeof(*dev) && class->continuity);
	dev->class = class;
	dev->env = env;
	pthread_mutex_init(&dev->own_lock, NULL);
	dev->lock = class->own_lock || !env->chipset_lock ? &dev->own_lock : env->chipset_lock;
	list_init(&dev->link);
	props_set_defaults(dev);
	return dev;
}

/**
 * device_set_globals() - Set what the operator gave for all devices of this class
 * @dev:	Just created
 * @e:		Set on failure only
 *
 * Return: 0, or a negative errno
 */
int device_set_globals(struct device *dev, struct err *e)
{
	return dev->env->globals ? dev->env->globals(dev->env->globals_opaque, dev, e) : 0;
}

/**
 * device_realize() - Let a device appear to the guest
 * @dev:	Properties are set
 * @e:		Set on failure only; begins with the device's name and id
 *
 * Return: 0, or the class's negative errno, and the device is as it was
 */
int device_realize(struct device *dev, struct err *e)
{
	int r = 0;

	assert(!dev->realized);
	if (dev->class->realize)
		r = dev->class->realize(dev, e);
	if (r)
		return dev->id ? err_in(e, "%s '%s'", dev->class->name, dev->id)
			       : err_in(e, "%s", dev->class->name);
	dev->realized = true;
	return 0;
}

/**
 * device_destroy() - Take a device away from the guest and release it
 * @dev:	May be NULL, or never realized; main thread, without the device's lock
 */
void device_destroy(struct device *dev)
{
	if (!dev)
		return;
	if (dev->realized && dev->class->unrealize)
		dev->class->unrealize(dev);
	list_del(&dev->link);
	props_release(dev);
	pthread_mutex_destroy(&dev->own_lock);
	free(dev->id);
	free(dev);
}

/**
 * device_reset() - Put a device to its power-on values
 * @dev:	Realized; guest stopped, or the device's lock held
 */
void device_reset(struct device *dev)
{
	if (dev->class->reset)
		dev->class->reset(dev);
}

/**
 * device_gsi() - An interrupt input of the machine
 * @dev:	Who asks
 * @line:	0-23; 0-15 are the ISA lines. Below 0: none
 *
 * Return: the wire, not connected if the machine has no interrupt controller
 */
struct irq device_gsi(const struct device *dev, int line)
{
	struct irq irq = dev->env->gsi;

	if (line < 0)
		return (struct irq){0};
	irq.line = line;
	return irq;
}

/**
 * device_request() - Ask the machine for what it alone may do
 * @dev:	Who asks; any thread
 * @what:	Reset, power off, ...
 * @arg:	As the request says
 */
void device_request(const struct device *dev, enum machine_request what, int arg)
{
	if (dev->env->request)
		dev->env->request(dev->env->opaque, what, arg);
}
