/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: which CPU models there are, which of them run here, and what a model means
 * in features: asked by managers before any guest is there, of "-machine none", so nothing here
 * needs one. KVM is opened for each question; where there is none, every model lacks "kvm".
 */
#include "vmm/q35/ops/ops.h"

#include "base/owned.h"
#include "kvm/x86/processor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct x86_topology one_cpu = {1, 1, 1, 1};

/**
 * struct model_list - All names that -cpu takes
 */
struct model_list {
	struct x86_model_name names[192];
	size_t len;
};

static void collect(void *opaque, const struct x86_model_name *n)
{
	struct model_list *all = opaque;

	if (all->len < ARRAY_SIZE(all->names))
		all->names[all->len++] = *n;
}

/* base, host and max behind all others, as QEMU sorts. */
static int rank(const char *name)
{
	return !strcmp(name, "max") ? 3 : !strcmp(name, "host") ? 2 : !strcmp(name, "base") ? 1 : 0;
}

static int by_name(const void *a, const void *b)
{
	const struct x86_model_name *m = a, *n = b;
	int order = rank(m->name) - rank(n->name);

	return order ? order : strcmp(m->name, n->name);
}

static struct model_list *models_sorted(void)
{
	static const char *const others[] = {"base", "host", "max"};
	struct model_list *all = mem_zalloc(sizeof(*all));

	if (!all)
		abort();
	x86_models_each(collect, all);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		strcpy(all->names[all->len++].name, others[i]);
	qsort(all->names, all->len, sizeof(all->names[0]), by_name);
	return all;
}

static int host_read(struct x86_supported *s, struct err *e)
{
	struct kvm_host h;
	int r = kvm_host_open(&h, e);

	if (r < 0)
		return r;
	r = x86_supported_read(s, &h, e);
	kvm_host_close(&h);
	return r;
}

static void append(void *opaque, const char *name)
{
	json_array_append_new(opaque, json_string(name));
}

static json_t *unavailable(const char *name, const struct x86_supported *s)
{
	json_t *names = json_array();
	struct x86_processor p;
	struct err e;

	if (!s->kvm)
		append(names, "kvm");
	else if (x86_processor_init(&p, name, s, &e) == 0) {
		x86_processor_expand(&p, s, &one_cpu);
		x86_processor_filter(&p, s);
		x86_features_each(&p.missing, append, names);
	}
	return names;
}

static json_t *definition(const struct x86_model_name *n, const struct x86_supported *s)
{
	json_t *one = json_pack("{s:s, s:o, s:o, s:b, s:b, s:b}", "name", n->name, "typename",
				json_sprintf("%s-x86_64-cpu", n->name), "unavailable-features",
				unavailable(n->name, s), "static", !strcmp(n->name, "base"),
				"migration-safe", n->model || !strcmp(n->name, "base"),
				"deprecated", 0);

	if (n->alias)
		json_object_set_new(one, "alias-of",
				    json_sprintf("%s-v%u", n->model->name, n->version));
	return one;
}

/**
 * op_query_cpu_definitions() - QMP query-cpu-definitions
 * @opaque:	Not used
 * @rq:		The request
 * @args:	None
 * @ret:	The models, in QEMU's order
 * @e:		Never set
 *
 * Return: 0
 */
int op_query_cpu_definitions(void *opaque, struct control_request *rq, const json_t *args,
			     json_t **ret, struct err *e)
{
	OWNED(struct model_list *) all = models_sorted();
	struct x86_supported s = {0};
	struct err no_kvm;

	if (host_read(&s, &no_kvm) < 0)
		s.kvm = NULL;
	*ret = json_array();
	for (size_t i = all->len; i-- > 0;)
		json_array_append_new(*ret, definition(&all->names[i], &s));
	x86_supported_release(&s);
	return 0;
}

/* What -cpu takes as text. */
static int property_set(struct x86_processor *p, const char *name, const json_t *value,
			struct err *e)
{
	char number[32];

	if (json_is_boolean(value))
		return x86_processor_set(p, name, json_is_true(value) ? "on" : "off", e);
	if (json_is_string(value))
		return x86_processor_set(p, name, json_string_value(value), e);
	if (!json_is_integer(value))
		return err_set(e, EINVAL, "%s must be a boolean, a number or a string", name);
	snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return x86_processor_set(p, name, number, e);
}

/**
 * struct expansion - An answer that is being put together
 * @full:	With all properties, not only those that make the model
 */
struct expansion {
	json_t *props;
	bool full;
};

static void expansion_put(void *opaque, const struct x86_property *p)
{
	struct expansion *to = opaque;
	json_t *value;

	if ((p->minor && !to->full) || p->number > INT64_MAX)
		return; /* JSON here has no unsigned numbers of 64 bits */
	switch (p->kind) {
	case X86_PROP_BOOL: value = json_boolean(p->on); break;
	case X86_PROP_TEXT: value = json_string(p->text); break;
	default: value = json_integer(p->negative ? -1 : (json_int_t)p->number); break;
	}
	json_object_set_new(to->props, p->name, value);
}

static int expand(const json_t *model, bool full, const struct x86_supported *s, json_t **ret,
		  struct err *e)
{
	struct expansion to = {json_object(), full};
	const char *name = option_str(model, "name", ""), *key;
	struct x86_processor p;
	const json_t *value;
	int r = x86_processor_init(&p, name, s, e);

	json_object_foreach (json_object_get(model, "props"), key, value) {
		if (r == 0)
			r = property_set(&p, key, value, e);
	}
	if (r < 0) {
		json_decref(to.props);
		return r;
	}
	x86_processor_expand(&p, s, &one_cpu);
	x86_processor_each(&p, expansion_put, &to);
	*ret = json_pack("{s:{s:s, s:o}}", "model", "name", full ? name : "base", "props",
			 to.props);
	return 0;
}

/**
 * op_query_cpu_model_expansion() - QMP query-cpu-model-expansion
 * @opaque:	Not used
 * @rq:		The request
 * @args:	type, model
 * @ret:	The model in properties
 * @e:		Set on failure
 *
 * Errors: no such model or property; as kvm_host_open()
 * Return: 0, or a negative errno
 */
int op_query_cpu_model_expansion(void *opaque, struct control_request *rq, const json_t *args,
				 json_t **ret, struct err *e)
{
	bool full = !strcmp(option_str(args, "type", ""), "full");
	struct x86_supported s = {0};
	int r = host_read(&s, e);

	if (r == 0)
		r = expand(json_object_get(args, "model"), full, &s, ret, e);
	x86_supported_release(&s);
	if (r == -ENOENT)
		e->code = EINVAL;
	return r;
}

static void describe(FILE *out, const struct x86_model_name *n)
{
	struct x86_features unused;
	uint32_t model, stepping;
	const char *id;

	fprintf(out, "x86 %-20s  ", n->name);
	if (!n->model) {
		fputs(!strcmp(n->name, "base") ? "no features at all\n"
					       : "all that KVM passes on of this host's CPU\n",
		      out);
		return;
	}
	x86_model_load(n, &unused, &id, &model, &stepping);
	if (n->alias && strcmp(n->name, n->model->name))
		fprintf(out, "(alias of %s-v%u)\n", n->model->name, n->version);
	else if (n->alias)
		fputs("(alias configured by machine type)\n", out);
	else if (n->note)
		fprintf(out, "%s [%s]\n", id, n->note);
	else
		fprintf(out, "%s\n", id);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void flags_list(FILE *out)
{
	static const char *names[X86_FEATURE_WORDS * X86_FEATURE_BITS];
	size_t len = 0, column = 0;

	for (size_t w = 0; w < X86_FEATURE_WORDS; w++)
		for (size_t b = 0; b < X86_FEATURE_BITS; b++)
			if (x86_feature_words[w].names[b])
				names[len++] = x86_feature_words[w].names[b];
	qsort(names, len, sizeof(names[0]), by_text);
	for (size_t i = 0; i < len; i++) {
		size_t width = strlen(names[i]) + 1;

		if (i && !strcmp(names[i], names[i - 1]))
			continue;
		fprintf(out, "%s%s", column + width >= 75 ? "\n  " : column ? " " : "  ", names[i]);
		column = column + width >= 75 ? width : column + width;
	}
	fputs("\n", out);
}

/**
 * cpu_models_help() - What -cpu takes
 * @out:	Where to
 */
void cpu_models_help(FILE *out)
{
	OWNED(struct model_list *) all = models_sorted();

	fputs("Available CPUs:\n", out);
	for (size_t i = 0; i < all->len; i++)
		describe(out, &all->names[i]);
	fputs("\nRecognized CPUID flags:\n", out);
	flags_list(out);
}
