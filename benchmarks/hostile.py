"""Bodies within the size limit that are as costly as can be, by name."""

from collections.abc import Mapping

from benchmarks.hostile_body import Builder
from benchmarks.hostile_forms import FORMS
from benchmarks.hostile_texts import BODIES

CATALOGUE: Mapping[str, Builder] = {**BODIES, **FORMS}
