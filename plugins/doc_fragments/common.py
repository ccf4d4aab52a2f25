# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation fragments that several modules share: check mode, diff mode, and options."""

from __future__ import annotations


class ModuleDocFragment:
    """The documentation fragments. Each attribute is one fragment. A module names the fragments that it uses."""

    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode; the module never changes anything.
    support: full
  diff_mode:
    description: Nothing changes, so there is no difference to show.
    support: none
"""

    RESOURCE = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and report what would change.
    support: full
  diff_mode:
    description: Shows the state before and after the change.
    support: full
"""

    STATE = r"""
options:
  state:
    description: Whether the resource shall exist.
    type: str
    choices: [present, absent]
    default: present
"""

    RELEASE = r"""
options:
  root:
    description: The directory of the releases.
    type: path
    required: true
  release:
    description: The name of the next release, which is installed.
    type: str
    required: true
  unit:
    description: The engine's unit.
    type: str
    default: trading-engine.service
  config:
    description: The engine's configuration.
    type: path
    default: /etc/trading/engine.toml
  journal:
    description: The engine's journal directory.
    type: path
    default: /var/lib/trading/journal
"""
