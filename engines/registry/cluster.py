"""The name of a cluster, in a registry's file and on the command line."""

import re
from typing import Annotated

from pydantic import AfterValidator


def cluster_name(value: str) -> str:
    """Raises ValueError."""
    if not re.fullmatch(r"ray|ray://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}", value):
        raise ValueError("right would be ray, or ray://HOST:PORT, like ray://head:10001")
    return value


ClusterName = Annotated[str, AfterValidator(cluster_name)]
