# SPDX-License-Identifier: Apache-2.0
"""The `lab` command: options, output, exit codes.

Exit codes: the command's own; 124 the limit was reached (--timeout), 125 the lab
itself failed, 2 a wrong option, 130 and 143 ended by SIGINT and SIGTERM.
"""

import argparse
import dataclasses
import json
import os
import shlex
import signal
import sys

from . import doctor, image, kernels, paths, qemu, session, terminal
from .host import Lab, hidden

EXAMPLES = """examples:
  lab/lab run -- ls -l /dev/kvm               a command in an emulated KVM host
  lab/lab run --kernel 6.12 tests/x.sh        a script, on Debian's 6.12
  lab/lab run --device nvme,serial=1,drive=d --qemu "-drive if=none,id=d,file=DISK" -- lsblk
  lab/lab shell --memory 3072                 a prompt; Ctrl-] or Ctrl-D leaves
  lab/lab pair -- 'sleep 5' 'ping -c 3 10.77.0.1'
  lab/lab guest-image                         kernel and initramfs for a nested guest
  lab/lab kernels --fetch                     download all kernels now
"""


def _host_options(parser):
    add = parser.add_argument
    add("--memory", type=int, default=2048, metavar="MIB", help="host memory (default 2048)")
    add("--cpus", type=int, default=2, metavar="N", help="host CPUs (default 2)")
    add("--cpu", default=qemu.CPU, metavar="MODEL", help=f"QEMU CPU model (default {qemu.CPU})")
    add("--kernel", default="6.1", choices=kernels.SERIES, help="host kernel (default 6.1)")
    add("--device", action="append", default=[], metavar="TEXT", help="a QEMU -device; repeatable")
    add("--net", action="append", default=[], metavar="TEXT", help="\"user\" or a -netdev text with id=; repeatable")
    add("--share", action="append", default=[], metavar="DIR[:ro]", help="folder at the same path inside, writable")
    add("--modules", default="", metavar="A,B", help="kernel modules to load")
    add("--env", action="append", default=[], metavar="K=V", help="environment of the command; repeatable")
    add("--append", default="", metavar="TEXT", help="more for the kernel command line")
    add("--qemu", action="append", default=[], metavar="ARGS", help="more QEMU arguments, split as a shell does")
    add("--read-only", action="store_true", help="no writable layer over the root")
    add("--keep", action="store_true", help="keep the run's folder: console.log, jobs/, work/")


def _run_options(parser):
    add = parser.add_argument
    add("--timeout", type=float, default=600, metavar="S", help="limit for the command, from ready on (default 600)")
    add("--stall", type=float, default=120, metavar="S", help="silence after which the known hang is retried")
    add("--json", action="store_true", help="a summary on stdout; the command's output goes to stderr")
    add("--summary", metavar="FILE", help="write the JSON summary to a file")


def parser():
    """Return the parser for the command line."""
    top = argparse.ArgumentParser(prog="lab", description=__doc__, epilog=EXAMPLES,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    run = sub.add_parser("run", help="run a script or a command in an emulated KVM host")
    _host_options(run)
    _run_options(run)
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="SCRIPT [ARG...] | -- COMMAND [ARG...]")
    pair = sub.add_parser("pair", help="two hosts joined by a network, a script in each")
    _host_options(pair)
    _run_options(pair)
    pair.add_argument("scripts", nargs=2, metavar="SCRIPT", help="a file, or shell text")
    _host_options(sub.add_parser("shell", help="a prompt in an emulated KVM host"))
    kern = sub.add_parser("kernels", help="list kernels, fetch them")
    kern.add_argument("names", nargs="*", metavar="SERIES-FLAVOUR", help="such as 6.12-cloud (default: all)")
    kern.add_argument("--fetch", action="store_true", help="download what isn't there")
    kern.add_argument("--update", action="store_true", help="download newer versions")
    kern.add_argument("--json", action="store_true")
    guest = sub.add_parser("guest-image", help="kernel and initramfs for a nested guest")
    guest.add_argument("--kernel", default="6.1", choices=kernels.SERIES)
    guest.add_argument("--flavour", default="cloud", choices=kernels.METAPACKAGES)
    guest.add_argument("--json", action="store_true")
    doc = sub.add_parser("doctor", help="say whether this machine can run the lab")
    doc.add_argument("--json", action="store_true")
    return top


def _options(args, name="lab"):
    """Return Lab's options from the command line's."""
    env = dict(pair.partition("=")[::2] for pair in args.env)
    return {
        "kernel": args.kernel, "memory": args.memory, "cpus": args.cpus, "cpu": args.cpu, "devices": args.device,
        "nets": args.net, "shares": args.share, "modules": [m for m in args.modules.split(",") if m], "env": env,
        "append": args.append, "qemu_args": [word for text in args.qemu for word in shlex.split(text)],
        "overlay": not args.read_only, "keep": args.keep,
    }


def _script(words):
    """Return the shell text for SCRIPT ARG... ; a script is handed over as text."""
    path = words[0]
    if not os.path.isfile(path):
        raise paths.LabError(f"{path}: no such script (a command comes after --)")
    full = os.path.realpath(path)
    if not hidden(full) or full.startswith(str(paths.PROJECT) + "/"):
        runner = [] if os.access(full, os.X_OK) else ["/bin/sh"]
        return shlex.join([*runner, full, *words[1:]])
    text = open(full, encoding="utf-8").read()
    head = text.split("\n", 1)[0]
    interpreter = shlex.split(head[2:]) if head.startswith("#!") else ["/bin/sh"]
    return (f"cat >/run/lab/script <<'{END_OF_SCRIPT}'\n{text}\n{END_OF_SCRIPT}\n"
            + shlex.join([*interpreter, "/run/lab/script", *words[1:]]))


END_OF_SCRIPT = "==end-of-the-lab-script=="


def _command(words):
    """Return the shell text for what stands behind the options of `lab run`."""
    if words[:1] != ["--"]:
        if not words:
            raise paths.LabError("nothing to run: lab run SCRIPT, or lab run -- COMMAND")
        return _script(words)
    if len(words) == 2:
        return words[1]
    return shlex.join(words[1:]) if words[1:] else "true"


def _cwd():
    """Return this process's folder if the host sees it too, else None."""
    cwd = os.getcwd()
    return cwd if not hidden(cwd) or cwd.startswith(str(paths.PROJECT)) else None


def _sink(stream, prefix=b""):
    """Return a function that writes output to @stream, each line behind @prefix."""
    state = {"start": True}

    def write(data):
        if prefix:
            lines = data.splitlines(keepends=True)
            data = b"".join(prefix + line if i or state["start"] else line for i, line in enumerate(lines))
            state["start"] = lines[-1].endswith(b"\n")
        stream.write(data)
        stream.flush()
    return write


def _finish(args, summary):
    text = json.dumps(dataclasses.asdict(summary))
    if args.json:
        print(text)
    if args.summary:
        with open(args.summary, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    if summary.error:
        print(f"lab: {summary.error}", file=sys.stderr)
    if summary.retries and not args.json:
        print(f"lab: retried: {', '.join(summary.retry_reasons)}", file=sys.stderr)
    for folder in summary.folders:
        print(f"lab: kept {folder}", file=sys.stderr)
    return summary.exit_code


def _run(args):
    out = sys.stderr.buffer if args.json else sys.stdout.buffer
    summary = session.run_one(_command(args.command), args.timeout, _sink(out), _cwd(), stall_s=args.stall,
                              **_options(args))
    return _finish(args, summary)


def _pair(args):
    out = sys.stderr.buffer if args.json else sys.stdout.buffer
    commands = [_script([text]) if os.path.isfile(text) else text for text in args.scripts]
    summary = session.run_pair(commands, args.timeout, (_sink(out, b"a: "), _sink(out, b"b: ")), _cwd(),
                               stall_s=args.stall, **_options(args))
    return _finish(args, summary)


def _shell(args):
    with Lab(shell=True, **_options(args)) as lab:
        print(f"host kernel {lab.release}, ready in {lab.ready_s:.1f} s; shared folder {lab.work}; Ctrl-] leaves",
              file=sys.stderr)
        return terminal.attach(lab, _cwd())


def _kernels(args):
    names = args.names or [f"{s}-{f}" for s in kernels.SERIES for f in kernels.METAPACKAGES]
    if args.fetch or args.update:
        for name in names:
            print(f"lab: {name}", file=sys.stderr)
            kernels.fetch(*name.split("-", 1), update=args.update)
    rows = [{"name": f"{k.series}-{k.flavour}", "release": k.release, "version": k.version,
             "vmlinuz": str(k.vmlinuz), "vmlinux": str(k.vmlinux)} for k in kernels.unpacked()]
    rows = [row for row in rows if row["name"] in names]
    if args.json:
        print(json.dumps(rows))
        return 0
    for row in rows:
        print(f"{row['name']:13} {row['release']:28} {row['vmlinux']}")
    for name in sorted(set(names) - {row["name"] for row in rows}):
        print(f"{name:13} not here (lab kernels --fetch {name})")
    return 0


def _guest_image(args):
    guest = image.guest_image(args.kernel, args.flavour)
    if args.json:
        print(json.dumps({"kernel": str(guest.vmlinuz), "vmlinux": str(guest.vmlinux), "initrd": str(guest.initrd),
                          "release": guest.release, "append": guest.append}))
        return 0
    print(f"kernel  {guest.vmlinuz}\nvmlinux {guest.vmlinux}\ninitrd  {guest.initrd}\nappend  {guest.append}\n\n"
          f"qemu-system-x86_64 -M q35 -accel kvm -cpu host -m 512 -nographic -no-reboot -nic none \\\n"
          f"  -kernel {guest.vmlinux} \\\n  -initrd {guest.initrd} \\\n  -append '{guest.append}'")
    return 0


def _doctor(args):
    return doctor.report(args.json)


VERBS = {"run": _run, "pair": _pair, "shell": _shell, "kernels": _kernels, "guest-image": _guest_image,
         "doctor": _doctor}


def _ended(number, frame):
    raise SystemExit(128 + number)


def main(argv=None):
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _ended)
    try:
        return VERBS[args.verb](args)
    except paths.LabError as e:
        print(f"lab: {e}", file=sys.stderr)
        return session.EXIT_LAB
    except KeyboardInterrupt:
        return 130
