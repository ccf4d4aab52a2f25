# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exception that all tuning modules raise for problems of the host or of its settings."""

from __future__ import annotations


class TuningError(Exception):
    """A problem of the host, or of the settings for its tuning.

    The message is one line: the problem, its place and its remedy.
    """
