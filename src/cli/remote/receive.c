/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: outlive receive, the other end of "outlive migrate NAME ssh://...", started
 * by ssh. It says what it speaks, takes one question, and starts a VMM with the guest's machine
 * under the names that this host's rules give. The VMM has a session of its own and lives on when
 * ssh ends; it ends by itself if the guest doesn't arrive, also when this program has been killed.
 * Then nothing of it is left here.
 */
#include "cli/remote/remote.h"

#include "base/clock.h"
#include "base/option.h"
#include "base/owned.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define QUESTION_SECONDS 600
#define SETTLE_SECONDS   60
#define LOOK_MS          50

/**
 * struct arrival - A guest that comes
 * @m:		Its machine
 * @g:		Its folder, once @made
 * @question:	What the other side wants
 * @guest:	Its description there
 * @made:	There is a folder
 * @stream:	Our end of the VMM's stream; -1: none, the source connects by itself
 */
struct arrival {
	struct move m;
	struct guest g;
	const json_t *question, *guest;
	bool made;
	int stream;
};

static void names_take(struct move *m)
{
	static const char *const lists[] = {"chardevs", "netdevs", "blockdevs", "objects"};
	size_t n;
	json_t *one;

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		json_array_foreach (json_object_get(m->config, lists[i]), n, one) {
			move_paths(m, one);
			move_names(m, one);
		}
}

/* The guest's folder over there is its folder here. */
static void rule_for_folder(struct move *m, const char *there)
{
	json_array_insert_new(
		m->rules, 0,
		json_pack("[{s:s, s:s, s:s}]", "kind", "path", "from", there, "to", "@DIR@"));
}

static bool are_words(const json_t *list)
{
	size_t i;
	json_t *word;

	json_array_foreach ((json_t *)(uintptr_t)list, i, word) {
		if (!json_is_string(word))
			return false;
	}
	return json_is_array(list);
}

static int config_read(struct arrival *a, struct err *e)
{
	struct move *m = &a->m;
	const char *cwd = option_str(a->guest, "cwd", NULL);
	const char *dir = option_str(a->guest, "dir", NULL);
	int r = rules_load(json_object_get(a->question, "map"), &m->rules, e);

	if (r < 0)
		return r;
	m->words = json_incref(json_object_get(a->guest, "argv"));
	json_object_update(m->config, json_object_get(a->guest, "config"));
	if (!cwd || !dir || !are_words(m->words))
		return err_set(e, EPROTO, "the other side's description is incomplete");
	m->cwd = str_dup(cwd);
	rule_for_folder(m, dir);
	return 0;
}

/* The VMM's command line, and what stands in the way. */
static int prepare(struct arrival *a, struct err *e)
{
	struct move *m = &a->m;
	OWNED(char) *program = vmm_program();
	int r = config_read(a, e);

	if (r < 0)
		return r;
	move_add(m, program, NULL);
	words_read(m);
	names_take(m);
	build_options(m);
	move_add_own(m);
	return 0;
}

static int stream_open(struct arrival *a, struct err *e)
{
	int pair[2];
	int r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, "socketpair");
	a->stream = pair[0];
	r = qmp_give_fd(&a->m.target, REMOTE_FD, pair[1], e);
	close(pair[1]);
	return r;
}

static int channels_set(struct arrival *a, struct err *e)
{
	int n = (int)option_int(a->question, "channels", 0);
	int r = 0;

	if (n)
		r = qmp_command(&a->m.target, "migrate-set-parameters",
				json_pack("{s:i}", "multifd-channels", n), NULL, e);
	if (n && r >= 0)
		r = qmp_command(&a->m.target, "migrate-set-capabilities",
				json_pack("{s:[{s:s, s:b}]}", "capabilities", "capability",
					  "multifd", "state", 1),
				NULL, e);
	return r;
}

/* The VMM waits for the stream. */
static int await(struct arrival *a, struct err *e)
{
	const char *direct = option_str(a->question, "direct", NULL);
	int r = direct ? channels_set(a, e) : stream_open(a, e);

	if (r < 0)
		return r;
	return qmp_command(&a->m.target, "migrate-incoming",
			   json_pack("{s:s, s:b}", "uri", direct ? direct : "fd:" REMOTE_FD,
				     "exit-on-error", true),
			   NULL, e);
}

/* Its launch record; @arrived: the guest runs here. */
static int record(struct arrival *a, bool arrived, struct err *e)
{
	OWNED_JSON *r = move_record(&a->m, &a->g, option_str(a->guest, "memory", "?"),
				    option_str(a->guest, "cpus", "?"));

	json_object_set_new(r, "from", json_string(option_str(a->question, "token", "")));
	if (arrived)
		json_object_set_new(r, "arrived",
				    json_integer((json_int_t)(time_wall_ns() / NS_PER_SEC)));
	return move_record_write(&a->g, r, e);
}

static int start(struct arrival *a, struct err *e)
{
	OWNED(char) *qmp = guest_path(&a->g, "qmp.sock"), *log = guest_path(&a->g, "log");
	json_t *argv = move_placed(a->m.argv, &a->g);
	int r;

	json_array_append_new(argv, json_string("-incoming"));
	json_array_append_new(argv, json_string("defer"));
	json_decref(a->m.argv);
	a->m.argv = argv;
	r = record(a, false, e);
	if (r >= 0)
		r = target_start(&a->m, qmp, log, e);
	return r < 0 ? r : await(a, e);
}

/* The "status" that a command of the VMM answers; "" if it doesn't answer now. */
static void ask_inside(const struct guest *g, const char *command, char status[32])
{
	OWNED_JSON *answer = NULL;
	struct err e;
	struct qmp q;

	*status = '\0';
	if (qmp_open(g, 1, &q, &e) < 0)
		return;
	if (qmp_command(&q, command, NULL, &answer, &e) >= 0)
		snprintf(status, 32, "%s", option_str(answer, "status", ""));
	qmp_close(&q);
}

static bool is_here(const struct guest *g)
{
	char status[32];

	ask_inside(g, "query-status", status);
	return *status && strcmp(status, "inmigrate") != 0;
}

/* The VMM listens, and nobody has connected. */
static bool is_alone(const struct guest *g)
{
	char status[32];

	ask_inside(g, "query-migrate", status);
	return !strcmp(status, "setup");
}

static bool has_ended(struct arrival *a)
{
	if (waitpid(a->m.target_pid, NULL, WNOHANG) != a->m.target_pid)
		return false;
	a->m.target_pid = 0;
	return true;
}

/* With --direct nothing comes on standard input but its end. */
static bool input_ended(void)
{
	struct pollfd poll_fd = {.fd = STDIN_FILENO, .events = POLLIN};
	char byte;

	return poll(&poll_fd, 1, 0) == 1 && read(STDIN_FILENO, &byte, 1) <= 0;
}

/*
 * The VMM runs the guest, or ends by itself; only one to which nobody comes any more is ended here.
 * However long it takes: a VMM that may have the guest is left alone.
 */
static int wait_decided(struct arrival *a, bool direct, struct err *e)
{
	OWNED(char) *log = guest_path(&a->g, "log"), *last = NULL;

	while (!is_here(&a->g)) {
		if (has_ended(a)) {
			last = vmm_last_words(log);
			return err_set(e, EREMOTEIO, "the guest didn't arrive: %s", last);
		}
		if (direct && input_ended() && is_alone(&a->g))
			return err_set(e, ECANCELED, "the source has gone");
		poll(NULL, 0, LOOK_MS);
	}
	return 0;
}

static int wait_arrived(struct arrival *a, struct err *e)
{
	bool direct = a->stream < 0;
	struct err unwritten;
	int r;

	if (!direct)
		forward(fd_take(&a->stream));
	qmp_close(&a->m.target);
	r = wait_decided(a, direct, e);
	if (r >= 0 && record(a, true, &unwritten) < 0)
		fprintf(stderr, "outlive: %s\n", unwritten.msg); /* it runs here all the same */
	return r;
}

/* Ended by itself, or here: in any case it never runs the guest. */
static void leave_nothing(struct arrival *a)
{
	target_kill(&a->m);
	guest_remove(&a->g);
}

static int refuse(struct arrival *a, struct err *e)
{
	OWNED_JSON *answer = json_pack("{s:O, s:O}", "blockers", a->m.blockers, "notes",
				       a->m.notes);
	int r = remote_put(STDOUT_FILENO, answer, e);

	return r < 0 ? cli_fail(CLI_FAILED, e) : CLI_REFUSED;
}

static int complain(struct err *e)
{
	OWNED_JSON *answer = json_pack("{s:s}", "error", e->msg);
	struct err ignored;

	if (remote_put(STDOUT_FILENO, answer, &ignored) < 0)
		return cli_fail(CLI_FAILED, e);
	return CLI_FAILED;
}

static int take(struct arrival *a, struct err *e)
{
	OWNED_JSON *ready = NULL;
	int r = start(a, e);

	if (r < 0) {
		leave_nothing(a);
		return complain(e);
	}
	ready = json_pack("{s:{s:s, s:i}, s:O}", "ready", "version", OUTLIVE_VERSION, "pid",
			  (int)a->m.target_pid, "notes", a->m.notes);
	r = remote_put(STDOUT_FILENO, ready, e);
	if (r >= 0)
		r = wait_arrived(a, e);
	if (r >= 0)
		return CLI_OK;
	leave_nothing(a);
	return cli_fail(CLI_FAILED, e);
}

static int receive(struct arrival *a, const char *name, struct err *e)
{
	int r = prepare(a, e);

	if (r < 0)
		return complain(e);
	r = guest_make(name, &a->g, e);
	if (r < 0)
		return complain(e);
	a->made = true;
	needs_check(&a->m, json_object_get(a->guest, "images"), a->g.dir,
		    option_bool(a->question, "copied", false));
	if (!json_array_size(a->m.blockers))
		return take(a, e);
	guest_remove(&a->g);
	return refuse(a, e);
}

/* Settling. */

/**
 * enum whereabouts - Where a guest of another host is, as seen from here
 */
enum whereabouts { HERE = 1, ELSEWHERE, NOT_YET };

static enum whereabouts look(const char *name, const char *token)
{
	enum whereabouts found = NOT_YET;
	struct guest g;
	struct err e;

	if (guest_open(name, &g, &e) < 0)
		return ELSEWHERE;
	if (strcmp(option_str(g.record, "from", ""), token))
		found = ELSEWHERE;
	else if (json_object_get(g.record, "arrived"))
		found = HERE;
	else if (g.pid && is_here(&g))
		found = HERE;
	guest_release(&g);
	return found;
}

/* What was under way may still be: its VMM sees the end of the stream, and decides. */
static int settle(const char *name, const json_t *question, struct err *e)
{
	int64_t limit = time_ns() + SETTLE_SECONDS * NS_PER_SEC;
	const char *token = option_str(question, "token", "");
	enum whereabouts found;
	OWNED_JSON *answer = NULL;

	while ((found = look(name, token)) == NOT_YET && time_ns() < limit)
		poll(NULL, 0, LOOK_MS);
	if (found == NOT_YET) {
		err_set(e, ETIMEDOUT,
			"nobody knows whether '%s' has run here; see 'outlive info %s' and "
			"'outlive logs %s' on this host",
			name, name, name);
		return complain(e);
	}
	answer = json_pack("{s:s}", "settled", found == HERE ? "here" : "elsewhere");
	return remote_put(STDOUT_FILENO, answer, e) < 0 ? cli_fail(CLI_FAILED, e) : CLI_OK;
}

static int answer(const char *name, const json_t *question, struct err *e)
{
	struct arrival a = {
		.question = question, .guest = json_object_get(question, "guest"), .stream = -1};
	int code;

	if (!strcmp(option_str(question, "do", ""), "settle"))
		return settle(name, question, e);
	move_init(&a.m, name, false);
	a.m.remote = true;
	code = receive(&a, name, e);
	move_release(&a.m);
	fd_close(&a.stream);
	if (a.made)
		guest_release(&a.g);
	return code;
}

/**
 * cmd_receive() - outlive receive
 * @args:	Parsed
 *
 * Return: enum cli_exit
 */
int cmd_receive(const struct cli_args *args)
{
	OWNED_JSON *hello = json_pack("{s:i, s:s}", "outlive-receive", REMOTE_PROTOCOL, "version",
				      OUTLIVE_VERSION);
	OWNED_JSON *question = NULL;
	struct remote_text text = {.fd = STDIN_FILENO};
	struct err e = {0};
	int r;

	signal(SIGPIPE, SIG_IGN); /* the connection may end before what was started here has */
	signal(SIGHUP, SIG_IGN);
	r = remote_put(STDOUT_FILENO, hello, &e);
	if (r >= 0)
		r = remote_get(&text, QUESTION_SECONDS, NULL, NULL, &question, &e);
	free(text.in);
	if (r == -EPIPE)
		return CLI_OK; /* the other side thought better of it */
	if (r < 0)
		return cli_fail(CLI_FAILED, &e);
	return answer(args->words[0], question, &e);
}
