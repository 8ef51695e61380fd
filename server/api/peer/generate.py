"""The endpoint of generations."""

from server.api.peer.answer import PeerAnswer, PeerAnswers
from server.api.peer.door import PeerDoor, PeerQuestion
from server.api.peer.held import HeldPrompts
from server.http.exchange import Exchange
from server.http.request_log import line_of
from server.peers.stream import GONE
from server.peers.wire import GenerateCall


class GenerateQuestion(PeerQuestion[GenerateCall]):
    """Of a prompt that was rendered here, a few seconds ago at most."""

    kind = GenerateCall

    def __init__(self, door: PeerDoor, held: HeldPrompts, answers: PeerAnswers) -> None:
        super().__init__(door)
        self._held, self._answers = held, answers

    async def serve(self, exchange: Exchange, call: GenerateCall) -> None:
        held = self._held.take(call.held)
        if held is None:
            await exchange.reply(GONE, b"")
            return
        answer = PeerAnswer(held, call, exchange, self.services)
        self._answers.add(answer)
        try:
            await answer.run(self.services.supervisor)
        finally:
            self._answers.remove(answer)
            self.door.metrics.count(answer.alias, answer.record.completion_tokens)
            line_of(exchange.scope).note(
                model=answer.alias,
                request=answer.request.request_id,
                completion_tokens=answer.record.completion_tokens,
            )
