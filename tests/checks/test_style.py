# SPDX-License-Identifier: Apache-2.0
"""tools/check-style names file and line of what breaks a budget or a rule."""
import pytest

GOOD = """#include "base/err.h"

/**
 * half() - Half of an even number
 * @value, @other: Even
 * @sink:\tCalled with the half
 *
 * Return: 0, or -EINVAL
 */
MUST_CHECK int half(FILE *other, int value,
\t\t    void (*sink)(int))
{
\treturn value;
}

static int local(void)
{
\treturn 1;
}
"""


def body(lines):
    """A documented function with so many lines in all."""
    return "/**\n * f() - F\n */\nvoid f(void)\n{\n" + "\tg();\n" * (lines - 3) + "}\n"


def test_a_good_file_is_let_be(tree):
    tree.c("src/base/half.c", GOOD)
    tree.c("src/base/half.h", "#ifndef BASE_HALF_H\n#define BASE_HALF_H\n\nint half(int v);\n\n#endif\n")
    tree.write("tools/x.py", "# SPDX-License-Identifier: Apache-2.0\n")
    tree.agrees("style")


@pytest.mark.parametrize("text, complaint", [
    ("int a; \n", ":2: blanks at the end"),
    ("int a;" + "b" * 95 + "\n", ":2: more than 100 columns"),
    ("\t" * 12 + "int ab;\n", ":2: more than 100 columns"),
    (body(101), ":5: f: 101 lines, the budget is 100"),
    ("\n" * 800, ":801: more than 800 lines"),
    ("void f(void)\n{\n}\n", ":2: f: no kernel-doc comment"),
    ("/* f() - F */\nvoid f(void)\n{\n}\n", ":3: f: no kernel-doc comment"),
    (GOOD.replace("@value", "@number"), "half: documents @number, which it does not take"),
    (GOOD.replace("@value", "@number"), "half: does not document @value"),
    ("static void f(void)\n{\n\tgoto out;\nout:\n}\n", ":4: goto"),
    ("int LLVMFuzz(void)\n{\n}\n", ":2: LLVMFuzz: no kernel-doc comment"),
    ("/** struct s - No function */\nvoid s(void)\n{\n}\n", ":3: s: no kernel-doc comment"),
    ("int a;\n" * 101, ':1: no "Theory of operation"'),
])
def test_a_c_file_that_breaks_a_rule_is_named_with_its_line(tree, text, complaint):
    tree.c("src/base/bad.c", text)
    tree.complains("style", "src/base/bad.c" + complaint if complaint[0] == ":" else complaint)


def test_a_struct_is_documented_in_one_line_or_several(tree):
    tree.c("src/base/a.h", "#ifndef BASE_A_H\n#define BASE_A_H\n/** struct a - A */\nstruct a {\n};\n"
                           "/**\n * struct b - B\n */\nstruct b {\n};\n#endif\n")
    tree.agrees("style")


def test_two_headers_have_different_guards(tree):
    for room in ("base", "kvm"):
        tree.c(f"src/{room}/a.h", "#ifndef A_H\n#define A_H\n#endif\n")
    tree.complains("style", "src/kvm/a.h:2: include guard A_H is that of src/base/a.h too")


def test_goto_in_words_is_no_goto(tree):
    tree.c("src/base/good.c", '/* goto */\nstatic const char *a = "goto";\n')
    tree.agrees("style")


@pytest.mark.parametrize("text, complaint", [
    ("struct a;\n", "no include guard BASE_BAD_H"),
    ("#ifndef BASE_BAD_H\n#define BASE_BAD_H\n#endif\nint a;\n", "no include guard"),
    ("#ifndef BASE_BAD_H\n#define BASE_BAD_H\nstruct a {\n\tint b;\n};\n#endif\n",
     ":4: struct a: no kernel-doc comment"),
])
def test_a_header_that_breaks_a_rule_is_named(tree, text, complaint):
    tree.c("src/base/bad.h", text)
    tree.complains("style", "src/base/bad.h:", complaint)


def test_licence_line_is_asked_of_all_programs(tree):
    tree.write("src/base/a.c", "int a;\n")
    tree.write("tools/b", "#!/bin/sh\n")
    tree.write("src/meson.build", "\n")
    tree.complains("style", "src/base/a.c:1: no line", "tools/b:1: no line",
                   "src/meson.build:1: no line")


def test_long_python_functions_are_named(tree):
    tree.write("tools/a.py", "# SPDX-License-Identifier: Apache-2.0\ndef f():\n" + "    g()\n" * 100)
    tree.complains("style", "tools/a.py:2: f: more than 100 lines")


def test_median_of_function_lengths_is_kept(tree):
    for name in "abc":
        tree.c(f"src/base/{name}.c", body(20))
    tree.complains("style", "50 % of functions have up to 20 lines, the budget is 12")
