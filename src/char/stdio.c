/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: standard input and output. A terminal is put into raw mode, but for newline
 * conversion on output and, unless signal=off, the interrupt keys. The old settings come back when
 * the back end is closed and at exit(), and are put aside while the process is stopped by the
 * shell (SIGCONT sets raw mode anew). O_NONBLOCK belongs to the open file, which the shell shares
 * with us, so it is restored too.
 */
#include "char/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

struct stdio {
	struct char_backend c;
	struct char_stream stream;
};

/* The terminal is one per process, and exit handlers and signals have no argument: so this is too.
 */
static struct {
	bool in_use, tty, raw_signal;
	struct termios old;
	int old_in_flags, old_out_flags;
	struct sigaction old_cont;
} terminal;

static const struct option stdio_options[] = {
	{"signal", OPTION_BOOL, "interrupt keys act on the VMM, not on the guest (default on)"},
	OPTIONS_END,
};

static void set_raw(void)
{
	struct termios t = terminal.old;

	cfmakeraw(&t);
	t.c_oflag |= OPOST;
	if (terminal.raw_signal)
		t.c_lflag |= ISIG;
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	tcsetattr(STDIN_FILENO, TCSANOW, &t);
}

static void on_cont(int signum)
{
	if (terminal.in_use && terminal.tty)
		set_raw();
}

static void restore(void)
{
	if (!terminal.in_use)
		return;
	terminal.in_use = false;
	if (terminal.tty)
		tcsetattr(STDIN_FILENO, TCSANOW, &terminal.old);
	fcntl(STDIN_FILENO, F_SETFL, terminal.old_in_flags);
	fcntl(STDOUT_FILENO, F_SETFL, terminal.old_out_flags);
	sigaction(SIGCONT, &terminal.old_cont, NULL);
}

static void terminal_take(bool keys)
{
	static bool registered;
	struct sigaction cont = {.sa_handler = on_cont, .sa_flags = SA_RESTART};

	if (!registered)
		atexit(restore);
	registered = true;
	terminal.tty = tcgetattr(STDIN_FILENO, &terminal.old) == 0;
	terminal.old_in_flags = fcntl(STDIN_FILENO, F_GETFL);
	terminal.old_out_flags = fcntl(STDOUT_FILENO, F_GETFL);
	terminal.raw_signal = keys;
	terminal.in_use = true;
	fcntl(STDIN_FILENO, F_SETFL, terminal.old_in_flags | O_NONBLOCK);
	fcntl(STDOUT_FILENO, F_SETFL, terminal.old_out_flags | O_NONBLOCK);
	sigaction(SIGCONT, &cont, &terminal.old_cont);
	if (terminal.tty)
		set_raw();
}

/* The end of input (a pipe, C-d of a script) doesn't end the output. */
static void stdio_gone(struct char_backend *c)
{
	stream_close(&((struct stdio *)c)->stream);
}

static int stdio_open(struct char_backend *c, const json_t *options, struct err *e)
{
	struct stdio *s = (struct stdio *)c;

	if (terminal.in_use)
		return err_set(e, EBUSY, "stdio is used by another character device");
	if (fcntl(STDIN_FILENO, F_GETFL) < 0 || fcntl(STDOUT_FILENO, F_GETFL) < 0)
		return err_set(e, EBADF, "stdin or stdout is closed");
	terminal_take(option_bool(options, "signal", true));
	s->stream = (struct char_stream){
		.c = c, .in_fd = STDIN_FILENO, .out_fd = STDOUT_FILENO, .gone = stdio_gone};
	back_set_filename(c, "stdio");
	c->connected = true;
	return stream_open(&s->stream, e);
}

static void stdio_close(struct char_backend *c)
{
	struct stdio *s = (struct stdio *)c;

	stream_close(&s->stream);
	if (s->stream.c && !c->released)
		restore();
}

static ssize_t stdio_write(struct char_backend *c, const uint8_t *buf, size_t len)
{
	return stream_write(&((struct stdio *)c)->stream, buf, len);
}

static void stdio_wait_writable(struct char_backend *c, bool on)
{
	stream_wait_writable(&((struct stdio *)c)->stream, on);
}

static void stdio_resume(struct char_backend *c)
{
	stream_resume(&((struct stdio *)c)->stream);
}

/* The next process inherits 0 and 1, but only this one may give the terminal its old settings back.
 */
static int stdio_handover(struct char_backend *c, struct char_handover *ret, struct err *e)
{
	return err_set(e, ENOTSUP,
		       "chardev %s: stdio belongs to the shell that started this process; "
		       "use a socket or pty",
		       c->id);
}

const struct char_kind char_stdio = {
	.name = "stdio",
	.help = "standard input and output of this process",
	.options = stdio_options,
	.size = sizeof(struct stdio),
	.open = stdio_open,
	.close = stdio_close,
	.write = stdio_write,
	.wait_writable = stdio_wait_writable,
	.resume = stdio_resume,
	.handover = stdio_handover,
};
