# SPDX-License-Identifier: Apache-2.0
"""tools/check-rooms names file and line of what breaks the order of the rooms."""


def test_a_room_may_use_itself_and_those_above(tree):
    tree.c("src/device/rtc.c", '#include "device/device.h"\n#include "base/err.h"\n#include <a.h>\n')
    tree.c("src/cli/main.c", '#include "base/err.h"\n')
    tree.c("src/upgrade/stage.c", '#include "device/device.h"\n')
    tree.agrees("rooms")


def test_a_room_may_not_use_one_below(tree):
    tree.c("src/kvm/vm.c", '#include "base/err.h"\n#include "device/device.h"\n')
    tree.complains("rooms", 'src/kvm/vm.c:3: "device/device.h": kvm may not use device')


def test_a_room_with_a_list_may_use_nothing_else(tree):
    tree.c("src/cli/main.c", '#include "kvm/kvm.h"\n')
    tree.complains("rooms", "src/cli/main.c:2:")


def test_what_is_taken_away_may_not_be_used(tree):
    tree.c("src/upgrade/stage.c", '#include "migrate/ram.h"\n')
    tree.complains("rooms", "src/upgrade/stage.c:2:")


def test_headers_are_named_with_their_room(tree):
    tree.c("src/kvm/vm.c", '#include "vm.h"\n')
    tree.complains("rooms", 'src/kvm/vm.c:2: "vm.h": write it as "room/header.h"')


def test_a_file_in_no_room_is_named(tree):
    tree.c("src/misc/vm.c", "")
    tree.complains("rooms", "src/misc/vm.c:1: in no room")


def test_ioctls_of_kvm_stay_in_their_room(tree):
    tree.c("src/kvm/vm.c", "int a = ioctl(fd, KVM_RUN, 0);\n")
    tree.agrees("rooms")
    tree.c("src/device/rtc.c", "/* ioctl(fd, KVM_RUN) */\nint a = ioctl(fd,\n\tKVM_RUN, 0);\n")
    tree.complains("rooms", "src/device/rtc.c:3: an ioctl of KVM")


def test_a_list_may_name_only_rooms_above(tree):
    tree.write("src/ROOMS", "base: kvm\nkvm\n")
    assert "kvm is not above it" in tree.run("rooms")[1]
