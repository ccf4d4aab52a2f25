"""moto's EC2 cannot launch from the second or a later version of a template with user data.

This patch corrects that.
"""

from collections.abc import Callable
from typing import Any

from moto.ec2.models.launch_templates import LaunchTemplate
from moto.ec2.utils import parse_user_data

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace


def install(hooks: Hooks) -> None:
    """Decode the user data of every version. moto decodes only the first version's user data."""
    create: Callable[..., Any] = LaunchTemplate.create_version
    if create.__module__ == __name__:
        return

    def create_version(self: LaunchTemplate, data: dict[str, Any], description: str) -> Any:
        if isinstance(data.get("UserData"), str):
            data = {**data, "UserData": parse_user_data(data["UserData"])}
        return create(self, data, description)

    replace(LaunchTemplate, "create_version", create_version)
