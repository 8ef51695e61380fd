"""Wire types of a message's content: texts, and pictures."""

from typing import Annotated

from pydantic import Field, PrivateAttr

from server.api.chat.wire_values import MAX_ITEMS, Wire
from server.pictures.given import Place


class ImageUrl(Wire):
    """Of a picture."""

    url: Annotated[str, Field(description="A data URL of base64, or an address of an allowed host")]
    detail: Annotated[
        str | None, Field(description="auto, high: as it is; low: at most 512 pixels a side")
    ] = None
    _place: Place | None = PrivateAttr(None)

    @classmethod
    def at(cls, place: Place, url: str) -> "ImageUrl":
        """One that stands elsewhere in another API's body."""
        made = cls(url=url)
        made._place = place
        return made

    @property
    def place(self) -> Place | None:
        """Where it stands in another API's body; None: it is a chat's."""
        return self._place


class ContentPart(Wire):
    """`{"type": "text", "text": …}`, of a user or tool also `{"type": "image_url", "image_url":
    …}`; other types are refused by name, not by shape."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: Annotated[
        str | ImageUrl | None, Field(description="A picture, for models that read some")
    ] = None


Parts = Annotated[list[ContentPart], Field(max_length=MAX_ITEMS, fail_fast=True)]
