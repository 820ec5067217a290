# SPDX-License-Identifier: Apache-2.0
"""An ssh that loses the last moment of a migration: ssh_relay.py MODE FLAG SSH-COMMAND...

Carries standard input and output of the real ssh. As long as the file FLAG isn't there:
  word    when the target says that it has the guest, that word is lost, and so is the connection
  rest    the end of the stream, behind the states of the devices, doesn't reach the target; the connection is lost a
          moment after the source has sent all
The flag is then made: the next connection is a plain one.
"""
import os
import pathlib
import select
import subprocess
import sys
import time

WORD = b"\0\1\0\4\0\0\0\0"  # the return path's SHUT with 0: "I have it"
END = b'"page_size"'  # the description begins so; the end mark is in front of it
SILENCE = 1.0
mode, flag, command = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
if flag.exists():
    os.execvp(command[0], command)
ssh = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
tail, quiet_since = b"", None


def lose():
    """The connection is cut."""
    flag.touch()
    ssh.kill()
    sys.exit(255)


while True:
    ready = select.select([0, ssh.stdout], [], [], 0.05)[0]
    if quiet_since and not ready and time.monotonic() - quiet_since > SILENCE:
        lose()
    if 0 in ready:
        data = os.read(0, 1 << 16)
        if not data:
            ssh.stdin.close()
            sys.exit(ssh.wait())
        if mode == "rest" and (quiet_since or END in tail + data):
            quiet_since = time.monotonic()
            continue
        tail = data[-len(END):]
        ssh.stdin.write(data)
    if ssh.stdout in ready:
        data = os.read(ssh.stdout.fileno(), 1 << 16)
        if mode == "word" and WORD in data:
            lose()
        if not data:
            sys.exit(ssh.wait())
        os.write(1, data)
