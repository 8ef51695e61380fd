"""What the scripted engine makes of a recording."""

from collections.abc import Mapping
from typing import Any

from engines.base import Prompt
from engines.speech import BYTES_A_SAMPLE, SAMPLE_RATE, Speech


def heard(speech: Speech, args: Mapping[str, Any]) -> Prompt:
    """How long it is, in which language; args may have the language that it hears."""
    speech.language.code = speech.language.code or str(args.get("language", "en"))
    seconds = len(speech.samples) / (SAMPLE_RATE * BYTES_A_SAMPLE)
    text = f" {seconds:.2f} seconds of {speech.language.code}"
    if speech.translates:
        text += " in English"
    if speech.has_times:
        text = f"<|0.00|>{text}<|{seconds:.2f}|>"
    return Prompt(token_ids=[0] * 4, rendered=text)
