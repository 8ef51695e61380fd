"""/v1/responses: made, with what is kept of its conversation; run at once, or in the background."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from server.accounts.limits import Admission
from server.api.chat.wire_values import MAX_ITEMS
from server.api.decode import IN_A_THREAD_BYTES
from server.api.generation import Generation
from server.api.memory.following import tell_events
from server.api.responses.asked import asked, refusal, unknown_previous
from server.api.responses.background import BackgroundRun
from server.api.responses.build import build_response
from server.api.responses.items import encoded_items, read
from server.api.responses.kept import Keeping, KeptAnswer
from server.api.responses.wire import RESPONSES, InputItem, Recalled, ResponsesRequest
from server.api.services import Services
from server.errors import ApiError, brief
from server.http.exchange import Exchange
from server.ledger.records import UsageRecord
from server.memory.errors import NotKept, TooLong
from server.memory.memory import Memory
from server.memory.response_rows import KeptResponse
from server.requests.plan import Call

_MOST_REFERENCES = 64
_FEW = 64
"""Items that are looked at one by one for their size."""
T = TypeVar("T")


class Responses(Generation[ResponsesRequest]):
    """POST /v1/responses."""

    def __init__(self, services: Services, endpoint: str) -> None:
        super().__init__(services, endpoint, RESPONSES, build_response)

    async def read_body(self, admission: Admission, body: bytes) -> ResponsesRequest:
        wire = await super().read_body(admission, body)
        memory = self.services.memory
        if memory is not None:
            recalled = await self._recalled(memory, wire, admission)
            if recalled is not None:
                wire.recall(recalled)
        return wire

    async def _recalled(
        self, memory: Memory, wire: ResponsesRequest, admission: Admission
    ) -> Recalled | None:
        """None: it asks nothing of the memory, and nothing of it is kept."""
        owner = admission.caller.owner
        is_kept = _is_kept(wire, self.services.settings.response_store)
        has_earlier = wire.previous_response_id or wire.conversation_id
        if not (is_kept or has_earlier or _references(wire)):
            return None
        is_asked = bool(wire.store or wire.background or wire.conversation_id)
        if is_kept and is_asked:
            await asked(memory.responses.check_room, owner)
        elif is_kept:
            is_kept = await asked(memory.has_room, owner)
        chain, items = await self._earlier(memory, wire, owner)
        given = await _followed(memory, wire, items, owner)
        _check_count(len(items) + (1 if isinstance(given, str) else len(given)))
        if not is_kept:
            return Recalled(items, given)
        keeping = Keeping(
            memory=memory,
            owner=owner,
            given=await self._beside(encoded_items, given),
            previous=chain[-1] if chain else None,
            conversation_id=wire.conversation_id,
            is_asked=is_asked,
            admission=admission if wire.background else None,
            is_followed=bool(wire.stream),
        )
        return Recalled(items, given, partial(KeptAnswer, keeping=keeping))

    async def _earlier(
        self, memory: Memory, wire: ResponsesRequest, owner: str
    ) -> tuple[list[KeptResponse], list[InputItem]]:
        """The chain that it goes on from, and all items before its own."""
        if wire.conversation_id:
            try:
                kept = await asked(memory.conversations.items, wire.conversation_id, owner)
            except ApiError as error:
                error.param = "conversation"
                raise
            return [], await self._beside(read, [each.item for each in kept])
        if not wire.previous_response_id:
            return [], []
        chain = await asked(_chain, memory, wire.previous_response_id, owner)
        _check_goes_on(chain[-1])
        items = [i for kept in chain for i in (*kept.turn.input, *kept.turn.output)]
        return chain, await self._beside(read, items)

    async def _beside(self, work: Callable[[Any], T], given: Any) -> T:
        """What computes for long where there is much; short things are done at once."""
        if isinstance(given, str) or len(given) < _FEW:
            size = len(given) if isinstance(given, str) else sum(map(_size, given))
            if size < IN_A_THREAD_BYTES:
                return work(given)
        return await self.services.long_bodies(work, given)

    def prepare(
        self,
        exchange: Exchange,
        admission: Admission,
        wire: ResponsesRequest,
        spec: Any,
        record: UsageRecord,
    ) -> Call:
        record.stream = bool(wire.stream or wire.background)
        return super().prepare(exchange, admission, wire, spec, record)

    async def run(self, exchange: Exchange, call: Call) -> int:
        answer = call.plan.kept
        admission = answer.keeping.admission if isinstance(answer, KeptAnswer) else None
        if not isinstance(answer, KeptAnswer) or admission is None:
            return await super().run(exchange, call)
        if not answer.keeping.is_followed:
            call.service_class = "standard"
        run = BackgroundRun(call, admission.caller, answer)
        await self.services.background.begin(run, partial(super().run, call=call))
        if answer.keeping.is_followed:
            events = answer.follow(0, call.keep_alive_s)
            self.services.limiter.release(admission)
            with self.services.background.following(answer.keeping.owner):
                await tell_events(exchange, events, self.services, self.endpoint)
        else:
            self.services.metrics.answered("", self.endpoint, 200)
            await exchange.reply(200, answer.as_queued())
        return 0


def _size(item: Any) -> int:
    """About: of what is decoded, its texts."""
    if isinstance(item, InputItem):
        return IN_A_THREAD_BYTES if not isinstance(item.content, str) else len(item.content)
    return len(bytes(item))


def _is_kept(wire: ResponsesRequest, default: str) -> bool:
    """Raises ApiError 400 for what needs store and goes without."""
    is_kept = default == "always" if wire.store is None else wire.store
    for name in ("background", "conversation"):
        if getattr(wire, name) and not is_kept:
            message = f"{name} needs store: true: without it nothing is kept."
            raise ApiError.invalid(message, name, None, "store: true")
    if wire.previous_response_id and wire.conversation_id:
        message = "previous_response_id and conversation are two ways of going on: send one."
        raise ApiError.invalid(message, "conversation", None, "one of the two")
    return is_kept


def _check_goes_on(last: KeptResponse) -> None:
    if last.status not in ("completed", "incomplete"):
        shown = brief(last.response_id)
        message = f"The response {shown!r} is {last.status}: only one that is complete goes on."
        expected = "the id of a response that is completed or incomplete"
        raise ApiError.invalid(message, "previous_response_id", shown, expected)


def _chain(memory: Memory, response_id: str, owner: str) -> list[KeptResponse]:
    try:
        return memory.responses.chain(response_id, owner)
    except NotKept as missing:
        raise unknown_previous(missing.what) from None
    except TooLong as error:
        raise refusal(error) from None


def _check_count(count: int) -> None:
    if count > MAX_ITEMS:
        expected = f"at most {MAX_ITEMS} items, those kept of the conversation among them"
        raise ApiError.invalid(f"input holds {expected}.", "input", count, expected)


def _references(wire: ResponsesRequest) -> list[str]:
    given = () if isinstance(wire.input, str) else wire.input
    found = [item.id for item in given if item.type == "item_reference" and item.id]
    if len(found) > _MOST_REFERENCES:
        expected = f"at most {_MOST_REFERENCES} item_reference items"
        raise ApiError.invalid(f"input holds {expected}.", "input", len(found), expected)
    return found


async def _followed(
    memory: Memory, wire: ResponsesRequest, items: list[InputItem], owner: str
) -> str | list[InputItem]:
    """Its input, each reference to a kept item followed; one to an item that stands before it
    anyway is left out."""
    if isinstance(wire.input, str):
        return wire.input
    there = {item.id for item in items}
    wanted = [name for name in _references(wire) if name not in there]
    found = await asked(_items_of, memory, wanted, owner) if wanted else {}
    given = [_in_place(i, item, found, there) for i, item in enumerate(wire.input)]
    return [item for item in given if item is not None]


def _in_place(
    place: int, item: InputItem, found: dict[str, InputItem], there: set[str | None]
) -> InputItem | None:
    if item.type != "item_reference" or item.id in there:
        return item if item.type != "item_reference" else None
    if item.id not in found:
        field, shown = f"input[{place}].id", brief(item.id)
        message = f"{field} names {shown!r}, which is not kept here; send the item itself."
        raise ApiError.invalid(message, field, shown, "the id of an item that is kept here")
    return found[item.id]


def _items_of(memory: Memory, ids: list[str], owner: str) -> dict[str, InputItem]:
    """Those that are kept."""
    found: dict[str, InputItem] = {}
    for item_id in ids:
        if item_id in found:
            continue
        with suppress(NotKept):
            turn = memory.responses.response_of(item_id, owner).turn
            found |= {item.id: item for item in read((*turn.input, *turn.output)) if item.id}
    return found
