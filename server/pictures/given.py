"""A picture as a body gives it: base64 with its media type beside it or in a data URL, or an
address. What is wrong with it is said once it is known whether the model reads any."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engines.content import PICTURE, picture_parts
from engines.registry.spec import ModelSpec
from server.errors import ApiError, brief

MEDIA_TYPES = ("image/png", "image/jpeg", "image/jpg", "image/webp", "image/gif")
"""What is said to be one of these is read as what its bytes are."""
DATA_URL = "data:image/png;base64,… (or image/jpeg, image/webp, image/gif)"
DETAILS = ("auto", "low", "high")
ROLES = ("user", "tool")
"""Whose messages may have pictures."""
_HEAD = re.compile(r"data:([^;,]{0,127})((?:;[^;,]{0,127}){0,4}),", re.IGNORECASE)
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in the body it stands."""

    part: str
    """messages[0].content[1]"""
    kind: str
    """What it is called there: image_url."""
    field: str
    """What holds the picture itself: messages[0].content[1].image_url.url"""
    role: str = "user"
    instead: str = "text"
    """What a model without pictures takes there."""
    type_field: str | None = None
    """What is named where no picture may stand; None: the part's type."""
    detail_field: str = "detail"

    @property
    def refused(self) -> str:
        return self.type_field or f"{self.part}.type"


@dataclass(frozen=True, slots=True)
class GivenPicture:
    """Nothing of it is looked at yet."""

    place: Place
    url: str | None = None
    data: str | None = None
    """Base64, where there is no `url`."""
    detail: str | None = None
    media_type: str | None = None
    """Of `data`."""

    @property
    def content(self) -> dict[str, Any]:
        """As a part of a message."""
        return {"type": PICTURE, PICTURE: self}


@dataclass(frozen=True, slots=True)
class CheckedPicture:
    """Either `base64` or `address` is there."""

    field: str
    base64: str | None = None
    address: str | None = None
    is_low: bool = False


def check_pictures(messages: Sequence[Mapping[str, Any]], spec: ModelSpec) -> None:
    """Leaves checked ones in their places. Raises ApiError 400 where the model reads none, or not
    so many, and where one is wrong."""
    for number, part in enumerate(picture_parts(messages), 1):
        place: Place = part[PICTURE].place
        if spec.most_images == 0:
            raise text_only(place.refused, place.kind, place.instead)
        if place.role not in ROLES:
            raise _misplaced(place)
        if number > spec.most_images:
            expected = f"at most {spec.most_images} pictures in a request"
            message = f"{place.part} is picture {number}; {spec.alias} takes {expected}."
            raise ApiError.invalid(message, place.part, number, expected)
        part[PICTURE] = _checked(part[PICTURE])


def text_only(field: str, provided: str, expected: str) -> ApiError:
    """What a picture, a sound or a file gets where it is not read."""
    message = f"This model reads text only; {field} is {provided!r}."
    return ApiError.invalid(message, field, provided, expected)


def _misplaced(place: Place) -> ApiError:
    expected = "a picture in a user's message or a tool's"
    message = f"{place.part} is a picture in a message of the role {place.role}; right would be "
    return ApiError.invalid(f"{message}{expected}.", place.refused, place.kind, expected)


def _checked(given: GivenPicture) -> CheckedPicture:
    field = given.place.field
    _check_detail(given)
    if given.url is None:
        if given.data is None:
            raise ApiError.invalid(f"Missing required field: {field}.", field, None, DATA_URL)
        if given.media_type is not None:
            _check_media_type(given.media_type.lower(), field)
        return CheckedPicture(field, base64=given.data)
    is_low = given.detail == "low"
    if _ADDRESS.match(given.url):
        return CheckedPicture(field, address=given.url, is_low=is_low)
    head = _HEAD.match(given.url[:1024])
    if head is None or not head[2].lower().endswith(";base64"):
        message = f"{field} is no data URL of base64; right would be {DATA_URL}."
        raise ApiError.invalid(message, field, brief(given.url[:16]), DATA_URL)
    _check_media_type(head[1].strip().lower(), field)
    return CheckedPicture(field, base64=given.url[head.end() :], is_low=is_low)


def _check_detail(given: GivenPicture) -> None:
    if given.detail is not None and given.detail not in DETAILS:
        field = given.place.detail_field
        expected = f"one of {', '.join(DETAILS)}"
        message = f"{field} is {brief(given.detail)!r}; expected {expected}."
        raise ApiError.invalid(message, field, brief(given.detail), expected)


def _check_media_type(media_type: str, field: str) -> None:
    if media_type not in MEDIA_TYPES:
        expected = "image/png, image/jpeg, image/webp or image/gif"
        message = f"{field}: the media type is {brief(media_type)!r}; right would be {expected}."
        raise ApiError.invalid(message, field, brief(media_type), expected)
