# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that read and write sets of CPUs in the kernel's two notations.

The notations are lists, such as "0-3,8", and hexadecimal masks, such as "ff,00000001".
"""

from __future__ import annotations


def parse(text: str) -> frozenset[int]:
    """Return the set of CPU numbers in a kernel CPU list such as "0-3,8". An empty text is the empty set.

    Raises ValueError, naming the part that is not a CPU number or an ascending range.
    """
    cpus: set[int] = set()
    for part in text.replace("\n", "").split(","):
        piece = part.strip()
        if not piece:
            continue
        first, dash, last = piece.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"'{piece}' is not a CPU number or a range such as 2-5")
        low, high = int(first), int(last) if dash else int(first)
        if high < low:
            raise ValueError(f"'{piece}' is a descending range")
        cpus.update(range(low, high + 1))
    return frozenset(cpus)


def render(cpus: frozenset[int]) -> str:
    """Return the shortest kernel CPU list of a set, for example {0, 1, 2, 5} as "0-2,5"."""
    ranges: list[list[int]] = []
    for cpu in sorted(cpus):
        if ranges and cpu == ranges[-1][1] + 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def mask(cpus: frozenset[int]) -> str:
    """Return a set of CPUs as the kernel's hexadecimal mask: groups of 32 bits, the highest group first."""
    bits = sum(1 << cpu for cpu in cpus)
    groups = [f"{bits >> shift & 0xFFFFFFFF:08x}" for shift in range(0, max(bits.bit_length(), 1), 32)]
    groups[-1] = groups[-1].lstrip("0") or "0"
    return ",".join(reversed(groups))


def parse_mask(text: str) -> frozenset[int]:
    """Return the CPU numbers of the kernel's hexadecimal mask. Raises ValueError for a text that is no mask."""
    bits = int(text.strip().replace(",", "") or "0", 16)
    return frozenset(cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1)
