# SPDX-License-Identifier: Apache-2.0
"""A Debian kernel under outlive-vmm: a shell on its console, a file on its disk, ping over its NIC.

On a machine whose KVM runs guest kernels at full speed it runs there; else in the lab, an emulated KVM host,
where everything takes some 20 times longer but is the same.
"""
import json
import os
import subprocess
import time

from . import local, show, title

FILE = "/mnt/note"
NOTE = "written before the reboot"
GUEST_IP, HOST_IP = "10.77.1.2", "10.77.1.1"


def kvm_is_fast():
    """Ask outlive doctor, which measures it."""
    from frame.paths import outlive
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False, "this machine has no usable /dev/kvm"
    done = subprocess.run([outlive(), "doctor", "--json"], capture_output=True, text=True, timeout=60)
    for finding in json.loads(done.stdout or "[]"):
        if finding["check"] == "speed of ring 0":
            return finding["level"] != "missing", f"guest kernels run at {finding['found']} here"
    return False, "outlive doctor doesn't tell how fast guest kernels run here"


def host_for(folder):
    """This machine, or an emulated one."""
    fast, why = kvm_is_fast()
    if fast:
        show("host", f"this machine: {why}")
        return local.Local(folder)
    from lab.host import Lab
    show("host", f"the lab, an emulated KVM host: {why}")
    return Lab(memory=2048)


def disk_for(folder):
    """An empty disk with a file system."""
    from lab import image
    return image.make_disk(os.path.join(folder, "disk.img"), 32)


def first_boot(guest, start):
    """A shell, a file, ping, reboot."""
    said = guest.expect("OUTLIVE-GUEST up").splitlines()[-1].split()
    show("boot", f"Linux {said[2]} is up after {time.monotonic() - start:.1f} s; its console has a shell:")
    talk(guest, "uname -sr; nproc; grep -m1 'model name' /proc/cpuinfo")
    talk(guest, f"echo {NOTE} >{FILE}; sync; ls -l {FILE}")
    talk(guest, f"ping -c 3 -q {HOST_IP} | tail -2")
    show("reboot", "the guest restarts itself")
    guest.type("umount /mnt; reboot -f")


def ask(guest, command):
    """Run a command in the guest's shell; return what it says. What the console echoes has quotes in the marks."""
    guest.type(f"echo ANSWER''-BEGINS; {command}; echo ANSWER''-ENDS")
    guest.expect("ANSWER-BEGINS")
    lines = guest.expect("ANSWER-ENDS").replace("\r", "").splitlines()
    return [line.strip() for line in lines if line.strip() and "ANSWER-ENDS" not in line]


def talk(guest, command):
    """Run a command in the guest's shell and show both."""
    print(f"             # {command}")
    for line in ask(guest, command):
        print(f"             {line}", flush=True)


def second_boot(guest):
    """The file is still there; then the power button."""
    guest.expect("OUTLIVE-GUEST up")
    kept = NOTE in ask(guest, f"cat {FILE}")
    show("disk", f"{FILE} reads \"{NOTE}\" after the reboot" if kept else f"{FILE} is lost")
    guest.type("sync; poweroff -f")
    show("end", f"the guest powered off; exit status of outlive-vmm {guest.wait()}")
    return 0 if kept else 1


def run(folder):
    """The whole part."""
    from frame import linux
    from frame.paths import outlive_vmm

    from lab import image
    title("A Debian guest: shell on the serial console, virtio disk, virtio network.")
    if not outlive_vmm().exists():
        show("skipped", "this tree has no outlive-vmm")
        return 0
    guest_image = image.guest_image("6.1")
    show("kernel", f"Debian's {guest_image.release}")
    with host_for(folder) as host:
        linux.make_tap(host)
        host.run(f"cp --sparse=always {disk_for(host.work)} /tmp/outlive-demo-{os.getpid()}.img")
        words = f"guest.mount=vda:/mnt guest.ip=eth0:{GUEST_IP}/24 guest.end=shell"
        start = time.monotonic()
        guest = linux.Guest(host, [*linux.machine(2, 384), *linux.kernel(guest_image, None, words),
                                   *linux.disk(f"/tmp/outlive-demo-{os.getpid()}.img"), *linux.tap()],
                            run="/run" if hasattr(host, "console_log") else folder)
        first_boot(guest, start)
        code = second_boot(guest)
        host.run(f"rm -f /tmp/outlive-demo-{os.getpid()}.img")
    return code
