# SPDX-License-Identifier: Apache-2.0
"""The checks of layout, analysis, documents and the other architecture find bad samples."""
import json

PACKAGES = "build gcc  compiler\n"
MAKEFILE = "LEVELS := unit\nall:\nsetup-all:\n"


def documents(tree, **files):
    """A tree whose documents are right but for `files`."""
    tree.write("tools/packages.txt", files.get("packages", PACKAGES))
    tree.write("docs/dependencies.md", files.get("dependencies", "| `gcc` | compiler |\n"))
    tree.write("Makefile", MAKEFILE)
    tree.write("docs/outlive.1.md", "# outlive\n\n## Exit codes\n")
    tree.write("README.md", files.get("readme", "[man](docs/outlive.1.md#exit-codes) outlive(1) "
                                                "`make all` `make test-unit` memfd_create(2)\n"))


def test_layout_is_checked_by_clang_format(tree):
    tree.write(".clang-format", "BasedOnStyle: LLVM\n")
    tree.c("src/base/a.c", "int a;\n")
    tree.agrees("format")
    tree.c("src/base/a.c", "int   a;\n")
    tree.complains("format", "src/base/a.c:2:")


def test_cppcheck_names_an_error(tree):
    tree.c("src/base/a.c", "int f(void)\n{\n\tint a[2] = {0};\n\treturn a[2];\n}\n")
    tree.complains("cppcheck", "src/base/a.c:5: arrayIndexOutOfBounds")
    tree.c("src/base/a.c", "int f(void)\n{\n\tint a[2] = {0};\n\treturn a[1];\n}\n")
    tree.agrees("cppcheck")


def test_documents_that_agree(tree):
    documents(tree)
    tree.agrees("docs")


def test_a_package_without_its_reason_in_the_documents(tree):
    documents(tree, packages=PACKAGES + "build meson  build\n")
    tree.complains("docs", "tools/packages.txt:2: meson is not in docs/dependencies.md")


def test_a_package_in_the_documents_only(tree):
    documents(tree, dependencies="| `gcc` | c |\n| `glib` | no |\n")
    tree.complains("docs", "docs/dependencies.md:2: glib is not in tools/packages.txt")


def test_dead_links_pages_and_targets(tree):
    documents(tree, readme="[a](none.md)\n[b](docs/outlive.1.md#none)\noutlive-vmm(8)\n`make tea`\n"
                           "```\n[in a sample](none.md)\n```\n")
    tree.complains("docs", "README.md:1: link to none.md", "README.md:2: no heading #none",
                   "README.md:3: no man page outlive-vmm.8", "README.md:4: no target tea")
    assert ":6:" not in tree.run("docs")[1]


def compile_commands(tree, *names):
    """A build folder whose commands compile these files."""
    entries = [{"directory": str(tree.top / "build"), "file": f"../{name}",
                "command": f"cc -I../src -std=gnu11 -Wall -Werror -O2 -m64 -o x.o -c ../{name}"}
               for name in names]
    tree.write("build/compile_commands.json", json.dumps(entries))


def test_neutral_rooms_compile_for_aarch64(tree):
    tree.c("src/base/a.c", '#include <jansson.h>\n#include <linux/kvm.h>\n'
                           '__u64 a = sizeof(struct user_pt_regs);\n')
    tree.c("src/kvm/x86/b.c", '#error "x86 only"\n')
    compile_commands(tree, "src/base/a.c", "src/kvm/x86/b.c")
    tree.agrees("aarch64")


def test_x86_in_a_neutral_room_is_named(tree):
    tree.c("src/base/a.c", "#include <linux/kvm.h>\nstruct kvm_pit_state2 a;\n")
    tree.c("src/base/b.c", 'void f(void);\nvoid f(void)\n{\n\t__asm__("cpuid");\n}\n')
    compile_commands(tree, "src/base/a.c", "src/base/b.c")
    tree.complains("aarch64", "src/base/a.c:3:", "src/base/b.c", "2 failed")
