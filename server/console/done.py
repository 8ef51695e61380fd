"""What a page says after a form was sent: the address has a code of these, never words."""

from collections.abc import Mapping
from typing import Final

DONE: Final[Mapping[str, str]] = {
    "key-changed": "The key is changed.",
    "key-revoked": "The key is revoked: it is refused from now on.",
    "key-shown": "This was sent before: nothing was made twice. A key's text is shown only once; "
    "rotate the key if it was not kept.",
    "owner-made": "The owner is made.",
    "owner-changed": "The owner is changed.",
    "owner-archived": "The owner is archived: its keys are refused.",
    "owner-restored": "The owner is restored: its keys are accepted.",
    "member-made": "The member is made.",
    "member-changed": "The member is changed.",
    "member-disabled": "The member is disabled: its keys are refused.",
    "member-enabled": "The member is enabled: its keys are accepted.",
    "sessions-ended": "The member is signed out everywhere.",
    "invoice-issued": "What was a draft is issued.",
    "sent-before": "This was sent before: nothing was done twice.",
}
