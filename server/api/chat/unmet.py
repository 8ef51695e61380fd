"""What a body has that its wire type has no place for, inside of other fields, too."""

from collections.abc import Mapping

from server.api.chat.wire import ChoiceFields, SamplingFields
from server.api.fields import STREAM_OPTIONS, STRUCTURED_OUTPUTS, Refused, refuse


def refuse_unmet(wire: SamplingFields, known: Mapping[str, Refused]) -> None:
    """400 for fields that we know, cannot honour, and that would change the output."""
    refuse(wire.model_extra, known)
    if wire.structured_outputs is not None:
        refuse(wire.structured_outputs.model_extra, STRUCTURED_OUTPUTS, "structured_outputs.")


def refuse_unmet_choices(wire: ChoiceFields, known: Mapping[str, Refused]) -> None:
    """As `refuse_unmet`, for the endpoints whose streams have options."""
    refuse_unmet(wire, known)
    if wire.stream_options is not None:
        refuse(wire.stream_options.model_extra, STREAM_OPTIONS, "stream_options.")
