#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Replace the VMM five times under a guest that writes memory, and show what the guest felt.

Prints a table and writes a picture (upgrade.svg in the build folder). Part of the demo, or by itself:
tools/demo_parts/upgrade.py [BUILD].
"""
import json
import os
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TIMES = 5
WIDTH, HEIGHT, LEFT, TOP = 720, 300, 60, 50


def show(step, words):
    """One line of the story."""
    print(f"  {step:<10} {words}", flush=True)


def process_of(qmp):
    """The process that has the guest, found by the thread of its first vCPU."""
    thread = qmp.command("query-cpus-fast")[0]["thread-id"]
    with open(f"/proc/{thread}/status", encoding="ascii") as file:
        return int(file.read().split("Tgid:")[1].split()[0])


def upgrade(guest):
    """One upgrade: the new process, milliseconds of the pause as host and guest saw it, and in all."""
    guest.ask("zp")  # forget the gaps so far
    begin = time.monotonic()
    report = guest.vmm.qmp.command("outlive-upgrade", timeout=60)
    total = (time.monotonic() - begin) * 1e3
    felt = max(gap["ns"] for gap in json.loads(guest.ask("p"))["largest"]) / 1e6
    return {"pid": process_of(guest.vmm.qmp), "host": report["pause-us"]["running"] / 1e3, "felt": felt,
            "total": total}


def bar(index, value, scale, colour, shift):
    """A bar of the picture with its number above."""
    step = (WIDTH - LEFT) / TIMES
    x, height = LEFT + index * step + shift, value * scale
    y = TOP + HEIGHT - height
    return (f'<rect x="{x:.1f}" y="{y:.1f}" width="40" height="{height:.1f}" fill="{colour}"/>'
            f'<text x="{x + 20:.1f}" y="{y - 5:.1f}" text-anchor="middle">{value:.2f}</text>')


def picture(rows, quiet):
    """What the guest felt, as SVG; `quiet` is its longest gap while nothing was done to it."""
    scale = HEIGHT / max([row["felt"] for row in rows] + [row["host"] for row in rows] + [quiet, 1])
    line = TOP + HEIGHT - quiet * scale
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 20}" height="{HEIGHT + 110}" '
             'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
             f'<text x="{LEFT}" y="24" font-size="16">'
             f'The VMM replaced {TIMES} times under a guest that writes: ms</text>']
    for index, row in enumerate(rows):
        parts.append(bar(index, row["host"], scale, "#8fb4d9", 10))
        parts.append(bar(index, row["felt"], scale, "#d9822b", 56))
        parts.append(f'<text x="{LEFT + index * (WIDTH - LEFT) / TIMES + 10:.0f}" y="{TOP + HEIGHT + 18}">'
                     f'process {row["pid"]}</text>')
    parts.append(f'<line x1="{LEFT}" x2="{WIDTH}" y1="{line:.1f}" y2="{line:.1f}" stroke="#777" stroke-dasharray="5"/>'
                 f'<text x="2" y="{line - 4:.1f}" fill="#777">quiet {quiet:.2f}</text>'
                 f'<text x="{LEFT}" y="{TOP + HEIGHT + 44}" fill="#8fb4d9">pause by the host</text>'
                 f'<text x="{LEFT + 160}" y="{TOP + HEIGHT + 44}" fill="#d9822b">longest gap that the guest felt</text>'
                 "</svg>")
    return "\n".join(parts)


def longest_when_quiet(guest):
    """The longest gap over as long as an upgrade takes: what else the machine does to the guest."""
    guest.ask("zp")
    time.sleep(0.1)
    return max(gap["ns"] for gap in json.loads(guest.ask("p"))["largest"]) / 1e6


def story(folder, build):
    """The part; how many pages were wrong."""
    from frame import paths, vmm, witness
    program = vmm.Program("outlive-vmm", (str(paths.outlive_vmm()),))
    options = witness.options(args="rate=20M verify=20M", cpus=2, memory_mib=256, boot="pvh")
    with vmm.Vmm(program, options, os.path.join(folder, "vmm.log")) as machine:
        guest = witness.Witness(machine).start()
        show("start", f"a 256 MiB guest writes 20 MB/s in process {machine.pid}")
        quiet = longest_when_quiet(guest)
        rows = [upgrade(guest) for _ in range(TIMES)]
        for row in rows:
            show("upgrade", f"now process {row['pid']}: pause {row['host']:.2f} ms by the host, longest gap felt "
                 f"{row['felt']:.2f} ms (quiet: {quiet:.2f} ms), {row['total']:.0f} ms in all")
        checked = json.loads(guest.ask("v"))
        show("check", f"same connections, all memory read back: {checked['faults']} pages wrong")
        guest.close()
        machine.quit()
    target = os.path.join(build, "upgrade.svg")
    with open(target, "w", encoding="utf-8") as file:
        file.write(picture(rows, quiet))
    show("picture", target)
    return checked["faults"]


def run(build):
    """The part; its exit code."""
    print("\nThe VMM is replaced under a guest that goes on writing its memory.\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="old") as folder:
        return 1 if story(folder, build) else 0


def main():
    """By itself."""
    build = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build"))
    os.environ["OUTLIVE_BUILD"] = build
    sys.path.insert(0, os.path.join(ROOT, "tests"))
    return run(build)


if __name__ == "__main__":
    sys.exit(main())
