"""The request that an engine gets for a chat body: sampling, seeds, messages."""

from tests.support.chat_bodies import ASK, asked


def test_greedy_choices_and_a_top_p_of_zero_take_the_likeliest_token() -> None:
    for change in ({"top_p": 0}, {"temperature": 0, "n": 3}, {"temperature": 0, "top_p": 0}):
        s = asked(change).sampling
        assert (s.top_k, s.top_p) == (1, 1.0)
        assert s.temperature > 0
    s = asked({"temperature": 0}).sampling
    assert (s.temperature, s.top_k) == (0, 0)


def test_every_seed_is_one_that_engines_take() -> None:
    seeds = [asked({"seed": seed}).sampling.seed for seed in (-1, 0, -(2**63), 2**63 - 1)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seeds[0] != seeds[1]
    assert asked({}).sampling.seed is None


def test_an_earlier_trace_is_given_back_to_the_template() -> None:
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "y", "reasoning_content": "because"},
    ]
    assert asked({"messages": messages}).messages[1]["reasoning_content"] == "because"


def test_the_aliass_own_system_prompt_stands_first_where_none_is_sent() -> None:
    assert asked({}, system_prompt="Be kind.").messages[0] == {
        "role": "system",
        "content": "Be kind.",
    }
    own = {"messages": [{"role": "developer", "content": "No."}, *ASK["messages"]]}
    assert asked(own, system_prompt="Be kind.").messages[0]["content"] == "No."
