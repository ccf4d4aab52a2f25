# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception of the host modules."""

from __future__ import annotations


class TuningError(Exception):
    """The problem, its place and its remedy, in one line for the person who runs the play."""
