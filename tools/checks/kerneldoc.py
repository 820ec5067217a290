# SPDX-License-Identifier: Apache-2.0
"""Kernel-doc comments: which names are documented, with which parameters."""
import re
from dataclasses import dataclass, field

BLOCK = re.compile(r"/\*\*(?:\n\s*\*)?( .*?)\*/", re.S)
TITLE = re.compile(r"^\s*(?:(struct|enum|union)\s+)?(\w+)(?:\(\))?(?:\s+-|\s*:)")
PARAM = r"@(\w+(?:\.\w+)*|\.\.\.)"
PARAMS = re.compile(rf"^\s*\*\s*({PARAM}(?:,\s*{PARAM})*):", re.M)


@dataclass
class Doc:
    """One kernel-doc comment."""

    name: str
    kind: str
    line: int
    params: list = field(default_factory=list)


def docs(text):
    """All kernel-doc comments of a C file."""
    found = []
    for block in BLOCK.finditer(text):
        title = TITLE.match(block.group(1).split("\n")[0])
        if title:
            kind = title.group(1) or "function"
            found.append(Doc(title.group(2), kind, text.count("\n", 0, block.start()) + 1,
                             [name for match in PARAMS.finditer(block.group(1))
                              for name in re.findall(PARAM, match.group(1))]))
    return found
