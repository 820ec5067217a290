/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: what the machine does when the guest ends, hangs or panics, and the NMI. */
#include "vmm/q35/ops/ops.h"

#include <string.h>

static const char *const reboots[] = {"reset", "shutdown", NULL};
static const char *const shutdowns[] = {"poweroff", "pause", NULL};
static const char *const panics[] = {"shutdown", "pause", "exit-failure", "none", NULL};
static const char *const watchdogs[] = {"reset", "shutdown", "poweroff",   "pause",
					"debug", "none",     "inject-nmi", NULL};

/* Index of a word, or -1 if it is none of them. */
static int word_index(const char *word, const char *const *words)
{
	for (int i = 0; word && words[i]; i++)
		if (!strcmp(words[i], word))
			return i;
	return -1;
}

/**
 * policy_set() - Change what the machine does when the guest ends, hangs or panics
 * @p:		Changed where @actions says something
 * @actions:	As -action and set-action have it; checked; may be NULL
 */
void policy_set(struct vm_policy *p, const json_t *actions)
{
	int reboot = word_index(option_str(actions, "reboot", NULL), reboots);
	int shutdown = word_index(option_str(actions, "shutdown", NULL), shutdowns);
	int panic = word_index(option_str(actions, "panic", NULL), panics);
	int watchdog = word_index(option_str(actions, "watchdog", NULL), watchdogs);

	if (reboot >= 0)
		p->reboot = (enum reboot_action)reboot;
	if (shutdown >= 0)
		p->shutdown = (enum shutdown_action)shutdown;
	if (panic >= 0)
		p->panic = (enum panic_action)panic;
	if (watchdog >= 0)
		p->watchdog = (enum watchdog_action)watchdog;
}

/**
 * policy_describe() - What the machine does, in the words of policy_set()
 * @p:		The policy
 *
 * Return: new reference
 */
json_t *policy_describe(const struct vm_policy *p)
{
	return json_pack("{s:s, s:s, s:s, s:s}", "reboot", reboots[p->reboot], "shutdown",
			 shutdowns[p->shutdown], "panic", panics[p->panic], "watchdog",
			 watchdogs[p->watchdog]);
}

/**
 * op_set_action() - QMP set-action
 * @opaque:	The guest
 * @rq:		The command
 * @args:	Actions by cause
 * @ret:	Stays NULL
 * @e:		Not set
 *
 * Return: 0
 */
int op_set_action(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		  struct err *e)
{
	policy_set(&((struct guest *)opaque)->q->vm.c.policy, args);
	return 0;
}

/**
 * op_watchdog_set_action() - QMP watchdog-set-action
 * @opaque:	The guest
 * @rq:		The command
 * @args:	The action
 * @ret:	Stays NULL
 * @e:		Not set
 *
 * Return: 0
 */
int op_watchdog_set_action(void *opaque, struct control_request *rq, const json_t *args,
			   json_t **ret, struct err *e)
{
	OWNED_JSON *actions = json_pack("{s:s}", "watchdog", option_str(args, "action", "reset"));

	policy_set(&((struct guest *)opaque)->q->vm.c.policy, actions);
	return 0;
}

/**
 * op_inject_nmi() - QMP inject-nmi: a non-maskable interrupt to all vCPUs
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	Stays NULL
 * @e:		Not set
 *
 * Return: 0
 */
int op_inject_nmi(void *opaque, struct control_request *rq, const json_t *args, json_t **ret,
		  struct err *e)
{
	struct guest *g = opaque;

	vm_nmi(&g->q->vm);
	return 0;
}

/**
 * op_rtc_reset_reinjection() - QMP rtc-reset-reinjection: the guest has set its clock by itself
 * @opaque:	The guest
 * @rq:		The command
 * @args:	None
 * @ret:	Stays NULL
 * @e:		Not set
 *
 * Return: 0
 */
int op_rtc_reset_reinjection(void *opaque, struct control_request *rq, const json_t *args,
			     json_t **ret, struct err *e)
{
	rtc_forget_ticks(((struct guest *)opaque)->q->rtc);
	return 0;
}
