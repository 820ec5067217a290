# SPDX-License-Identifier: Apache-2.0
"""Functions of a C file, found by the kernel's brace style (checked by clang-format): the
opening and the closing brace of a function, and of nothing else with a "(", stand in column 0.
"""
import re
from dataclasses import dataclass

@dataclass
class Function:
    """A function definition: lines count from the first of its head to its closing brace."""

    name: str
    line: int
    lines: int
    static: bool
    params: list


def parameters(text):
    """Names of the parameters between the outer parentheses."""
    names, depth, current = [], 0, ""
    for char in text + ",":
        depth += char in "(["
        depth -= char in ")]"
        if char == "," and depth == 0:
            pointer = re.search(r"\(\s*\*\s*(\w+)", current)
            words = re.findall(r"\w+", re.sub(r"\[[^]]*\]", "", current))
            if pointer:
                names.append(pointer.group(1))
            elif len(words) > 1:
                names.append(words[-1])
            current = ""
        else:
            current += char
    return names


def head_parts(head):
    """(name, parameter text) of the head of a function, or None.

    The parameters are what the last parentheses enclose, the name stands before them; what
    comes earlier (MUST_CHECK, PRINTF(2, 3)) does not matter.
    """
    end = head.rfind(")")
    depth = 0
    for start in range(end, -1, -1):
        depth += (head[start] == ")") - (head[start] == "(")
        if depth == 0:
            break
    name = re.search(r"(\w+)\s*$", head[:max(start, 0)]) if end > 0 else None
    return (name.group(1), head[start + 1:end]) if name else None


def functions(code):
    """All function definitions of blanked code (source.code)."""
    found, lines, start = [], code.split("\n"), None
    for index, line in enumerate(lines):
        if line.startswith("{") and not line.strip("{ "):
            start = index
        elif line.startswith("}") and start is not None:
            first = start
            while first > 0 and lines[first - 1].strip() and \
                    not lines[first - 1].rstrip().endswith((";", "}")) and \
                    not lines[first - 1].startswith("#"):
                first -= 1
            head = "\n".join(lines[first:start])
            parts = head_parts(head)
            if parts:
                found.append(Function(parts[0], first + 1, index - first + 1,
                                      bool(re.search(r"\bstatic\b", head)), parameters(parts[1])))
            start = None
    return found
