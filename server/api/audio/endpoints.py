"""POST /v1/audio/transcriptions and /v1/audio/translations, over the same way as a chat."""

import logging
from collections.abc import Sequence
from typing import Any, Final

from pydantic import TypeAdapter

from engines.audio.decoding import (
    KNOWN,
    CannotDecode,
    RecordingRefused,
    billed_seconds,
    seconds_of,
)
from engines.audio.splitting import LONGEST_S, pieces
from engines.host.interpreter_turns import in_short_turns
from engines.registry.spec import Task
from server.accounts.limits import Admission
from server.api.audio.build import build_speech, check_speech
from server.api.audio.form import Recording, SpeechForm
from server.api.audio.while_there import while_there
from server.api.audio.wire import TRANSCRIPTIONS, TRANSLATIONS, SpeechFields
from server.api.decode import decoded, named_model
from server.api.form_endpoint import FormEndpoint
from server.api.generation import Generation
from server.api.idempotency.taken import TakenBody
from server.api.regions import check_region
from server.api.services import Services
from server.errors import ApiError
from server.http.exchange import Exchange
from server.http.request_log import line_of
from server.requests.plan import Call, Plan

log = logging.getLogger("fjord.api")

MOST_HELD: Final = 2**29
"""Bytes of samples that wait or are heard, of all requests."""
_MB: Final = 10**6


class HeldSamples:
    """How many there are, of all of the process's requests."""

    def __init__(self) -> None:
        self.bytes = 0

    def take(self, count: int) -> None:
        """Raises ApiError 503."""
        if self.bytes + count > MOST_HELD:
            message = "Too many recordings are being transcribed now."
            raise ApiError.retry(503, "OVERLOADED", message, 5)
        self.bytes += count

    def give_back(self, count: int) -> None:
        self.bytes -= count


HELD: Final = HeldSamples()


class SpeechEndpoint(FormEndpoint, Generation[SpeechFields]):
    """What both do."""

    task: Task = "transcribe"
    translates = False

    def __init__(
        self, services: Services, endpoint: str, adapter: TypeAdapter[Any] = TRANSCRIPTIONS
    ) -> None:
        super().__init__(services, endpoint, adapter, _no_build)

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        form = SpeechForm(self._most_bytes)
        work = self.serve_taken(exchange, admission, form)
        return await self.serve_and_close(admission, form, work)

    async def take_form(self, exchange: Exchange, admission: Admission) -> SpeechForm:
        form = SpeechForm(self._most_bytes, is_keyed=True)
        try:
            await form.take(exchange)
        except BaseException:
            await form.close()
            raise
        return form

    @property
    def _most_bytes(self) -> int:
        return int(self.services.settings.audio_mb * _MB)

    async def serve_taken(self, exchange: Exchange, admission: Admission, taken: TakenBody) -> int:
        assert isinstance(taken, SpeechForm)
        heard = _Heard()
        try:
            with self.noting_rejection(exchange, admission.caller):
                call = await self._call(exchange, admission, taken, heard)
            return await self.run(exchange, call)
        finally:
            heard.give_back()

    async def _call(
        self, exchange: Exchange, admission: Admission, form: SpeechForm, heard: "_Heard"
    ) -> Call:
        services = self.services
        services.check_open()
        recording, fields = await form.read(exchange)
        try:
            wire = await decoded(self.adapter, fields, services.long_bodies)
        except Exception:
            line_of(exchange.scope).note(**named_model(fields))
            raise
        self._count_unknown(wire)
        spec = services.model(wire.model, admission.caller, self.task)
        check_region(wire.region, self.services.registry.regions)
        check_speech(wire)
        record = self._record(exchange, admission.caller, wire, spec)
        await services.ledger.check_budget(record.key_id, record.currency)
        services.check_queue(spec.alias, record.owner)
        deadline = self.deadline(exchange)
        samples = await while_there(exchange, deadline, self._samples(recording))
        heard.take(len(samples))
        parts = await in_short_turns(list, pieces(samples))
        self._check_pieces(parts, samples, admission)
        plan = build_speech(
            *(wire, spec, record.record_id, parts, billed_seconds(samples)),
            translates=self.translates,
        )
        call = self.call_of(exchange, admission, wire, spec, record, plan)
        call.deadline = deadline  # of all that it takes, its decoding too
        return call

    async def _samples(self, recording: Recording) -> memoryview:
        """Raises ApiError 400, 503."""
        try:
            return await self.services.decoder.samples(recording.file)
        except RecordingRefused as refusal:
            message = f"The recording cannot be read: {refusal}."
            raise ApiError.invalid(message, "file", None, KNOWN) from None
        except CannotDecode as trouble:
            log.error("recordings cannot be decoded: %s", trouble)
            message = "Recordings cannot be decoded here; the server's log says why."
            raise ApiError(503, "MODEL_UNAVAILABLE", message) from None

    def _check_pieces(
        self, parts: Sequence[memoryview], samples: memoryview, admission: Admission
    ) -> None:
        """Raises ApiError 400 where a key can never have so many at once."""
        limit = max(1, self.services.limiter.concurrent(admission.caller))
        if len(parts) > limit:
            surely = (limit - 1) * (LONGEST_S - 1) + LONGEST_S
            expected = f"at most {surely} seconds"
            message = (
                f"A recording of {seconds_of(samples):.0f} seconds is heard in {len(parts)} pieces "
                f"at once; this API key may have {limit}, which is enough for {surely} seconds."
            )
            raise ApiError.invalid(message, "file", None, expected)


class Transcriptions(SpeechEndpoint):
    """POST /v1/audio/transcriptions."""


class Translations(SpeechEndpoint):
    """POST /v1/audio/translations: into English."""

    translates = True

    def __init__(self, services: Services, endpoint: str) -> None:
        super().__init__(services, endpoint, TRANSLATIONS)


class _Heard:
    """Of HELD, what one request holds until it is over."""

    def __init__(self) -> None:
        self._bytes = 0

    def take(self, count: int) -> None:
        HELD.take(count)
        self._bytes += count

    def give_back(self) -> None:
        HELD.give_back(self._bytes)
        self._bytes = 0


def _no_build(*_: Any) -> Plan:
    raise AssertionError("a recording is no body")
