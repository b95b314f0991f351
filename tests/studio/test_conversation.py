"""The data of a conversation: plain Python that runs in CPython as it does in the page."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from studio.pages.chat.conversation import DEFAULTS, Conversation, check, parts_of, shorten


def talk() -> Conversation:
    """Two exchanges: m1 m2 m3 m4."""
    conversation = Conversation.new("c1", 1.0)
    parent = None
    for number, (role, text) in enumerate([("user", "one"), ("assistant", "1"), ("user", "two"), ("assistant", "2")]):
        parent = conversation.add(role, text, number, parent)
    return conversation


def test_a_path_is_what_was_said() -> None:
    conversation = talk()
    assert conversation.path() == ["m1", "m2", "m3", "m4"]
    assert conversation.title == "one"
    assert conversation.messages("m3") == [
        {"role": "user", "content": "one"}, {"role": "assistant", "content": "1"}, {"role": "user", "content": "two"},
    ]  # fmt: skip


def test_editing_adds_a_branch_and_keeps_the_old_one() -> None:
    conversation = talk()
    edited = conversation.add("user", "two, better", 9, "m2")
    assert conversation.path() == ["m1", "m2", edited]
    assert conversation.siblings(edited) == ["m3", edited]
    conversation.turn_to("m3")
    assert conversation.path() == ["m1", "m2", "m3", "m4"]


def test_removing_a_leaf_shows_its_newest_sibling() -> None:
    conversation = talk()
    second = conversation.add("assistant", "", 9, "m3")
    conversation.remove(second)
    assert conversation.path()[-1] == "m4"
    conversation.remove("m4")
    assert conversation.path()[-1] == "m3"


def test_a_message_with_answers_is_not_removed() -> None:
    conversation = talk()
    with pytest.raises(ValueError, match="m2 has answers"):
        conversation.remove("m2")
    assert conversation.path() == ["m1", "m2", "m3", "m4"]


def test_two_tabs_versions_become_branches() -> None:
    here, there = talk(), talk()
    mine = here.add("user", "here", 10.0, "m4")
    yours = there.add("user", "there", 11.0, "m4")
    there.add("assistant", "answered", 11.0, yours)
    there.add("assistant", "", 12.0, yours)
    assert mine == yours
    here.merge(there.data)
    assert [here.node(key)["content"] for key in here.children("m4")] == ["here", "there"]
    assert here.path()[-1] == mine, "what is shown stays"
    assert [here.node(key)["content"] for key in here.children("m6")] == ["answered"], "the empty one is not done"
    there.merge(here.data)
    assert sorted(node["content"] for node in there.data["nodes"].values()) == \
        ["", "1", "2", "answered", "here", "one", "there", "two"]  # fmt: skip
    before = copy.deepcopy(there.data)
    there.merge(here.data)
    assert there.data == before


def test_instructions_come_first() -> None:
    conversation = talk()
    conversation.data["system"] = "Be brief."
    assert conversation.messages("m1")[0] == {"role": "system", "content": "Be brief."}


def test_the_oldest_exchange_can_be_left_out() -> None:
    conversation = talk()
    last = conversation.add("user", "three", 9, "m4")
    assert conversation.leave_out_oldest(last)
    assert [message["content"] for message in conversation.messages(last)] == ["two", "2", "three"]
    assert conversation.leave_out_oldest(last)
    assert [message["content"] for message in conversation.messages(last)] == ["three"]
    assert not conversation.leave_out_oldest(last)
    assert conversation.path()[0] == "m1", "it stays in the chat"


def test_empty_answers_are_not_sent() -> None:
    conversation = talk()
    conversation.node("m2")["content"] = ""
    assert [message["content"] for message in conversation.messages("m3")] == ["one", "two"]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("Yes.", ("", "Yes.", False)),
        ("<think>\nOne\ntwo.\n</think>\n\nYes.", ("One\ntwo.", "Yes.", False)),
        ("\n<think>One", ("One", "", True)),
        ("<thi", ("", "", True)),
        ("<think>\n\n</think>\n\nYes.", ("", "Yes.", False)),
        ("One.\n</think>\n\nYes.", ("One.", "Yes.", False)),
        ("One.</think>", ("One.", "", False)),
        ("[THINK]One[/THINK]Yes.", ("One", "Yes.", False)),
        ("<thinking>One</thinking> <think>", ("One", "<think>", False)),
        ("The tag `</think>` ends it.", ("", "The tag `</think>` ends it.", False)),
        ("Write <think>x</think> so.", ("", "Write <think>x</think> so.", False)),
        ("```\nOne\n</think>\n```", ("", "```\nOne\n</think>\n```", False)),
        ("", ("", "", False)),
    ],
)
def test_a_thought_is_told_from_the_answer(content: str, parts: tuple) -> None:
    assert parts_of(content) == parts


def test_the_model_does_not_see_its_thoughts_again_and_an_export_quotes_them() -> None:
    conversation = talk()
    conversation.node("m1")["content"] = "<think>mine</think>"
    conversation.node("m2").update(content="<think>\nOne\n\ntwo\n</think>\n\nYes.", thought_for=3.2)
    assert [message["content"] for message in conversation.messages("m3")] == ["<think>mine</think>", "Yes.", "two"]
    assert "**Model**\n\n> One\n> \n> two\n\nYes.\n\n**You**" in conversation.markdown()
    assert check(conversation.data)["nodes"]["m2"]["thought_for"] == 3.2
    conversation.node("m2")["content"] = "<think>\nnot finished"
    assert [message["content"] for message in conversation.messages("m3")] == ["<think>mine</think>", "two"]


def test_markdown_and_sampling() -> None:
    conversation = talk()
    conversation.data["sampling"] = {"temperature": 0}
    assert conversation.sampling() == DEFAULTS | {"temperature": 0}
    assert conversation.markdown().startswith("# one\n\n**You**\n\none\n\n**Model**\n\n1")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.update(version=2),
        lambda data: data.update(head="m9"),
        lambda data: data.update(head=None),
        lambda data: data.update(title=7),
        lambda data: data["nodes"]["m1"].update(parent="m4"),
        lambda data: data["nodes"]["m1"].update(role="system"),
        lambda data: data["nodes"]["m2"].update(content=None),
        lambda data: data["nodes"].update(x=data["nodes"]["m1"]),
        lambda data: data.update(created="now"),
        lambda data: data.update(updated=float("nan")),
        lambda data: data.update(head=["m1"]),
        lambda data: data["nodes"]["m2"].update(parent=["m1"]),
        lambda data: data["nodes"].update({"m²": data["nodes"]["m1"]}),
    ],
)
def test_a_spoilt_import_is_refused(spoil) -> None:
    data = talk().data
    check(copy.deepcopy(data))
    spoil(data)
    with pytest.raises(ValueError, match="export"):
        check(data)


def test_an_import_keeps_known_fields_only() -> None:
    data = talk().data
    data["sampling"] = {"temperature": "hot", "top_k": 7.0, "model": "other", "seed": None, "min_p": True}
    data["unknown"] = data["nodes"]["m2"]["html"] = "<b>"
    data["nodes"]["m2"].update(stats={"timings": {"tokens_per_second": "fast", "ttft_ms": 5}, "usage": 3}, model=7)
    del data["nodes"]["m1"]["parent"], data["from"]
    found = check(data)
    assert found["sampling"] == {"top_k": 7}
    assert "unknown" not in found and found["from"] is None
    assert found["nodes"]["m1"]["parent"] is None
    assert found["nodes"]["m2"] == {
        "parent": "m1", "role": "assistant", "content": "1", "time": 1, "stats": {"timings": {"ttft_ms": 5}},
    }  # fmt: skip
    assert Conversation(found).path() == ["m1", "m2", "m3", "m4"]


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=6),
    max_leaves=20,
)


@given(st.one_of(json_values, st.fixed_dictionaries({
    "version": st.just(1), "id": st.text(max_size=3), "title": st.text(max_size=3), "system": st.just(""),
    "sampling": st.dictionaries(st.sampled_from([*DEFAULTS, "model"]), json_values, max_size=3),
    "created": st.just(0), "updated": st.just(0), "head": st.sampled_from([None, "m1", "m2"]),
    "from": st.sampled_from([None, "m1"]),
    "nodes": st.dictionaries(st.sampled_from(["m1", "m2", "m3", "x"]), st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool"]), "content": st.text(max_size=3)},
        optional={"parent": st.sampled_from([None, "m1", "m2", "m3", ["m1"]]), "time": json_values,
                  "stats": json_values, "model": json_values, "seed": json_values}) | json_values, max_size=3),
})))  # fmt: skip
def test_whatever_passes_the_check_can_be_shown(data: object) -> None:
    try:
        data = check(data)
    except ValueError:
        return
    conversation = Conversation(json.loads(json.dumps(data)))
    assert all(value is None or isinstance(value, int | float) for value in conversation.sampling().values())
    for key in conversation.path():
        assert key in conversation.siblings(key)
        stats = conversation.node(key).get("stats") or {}
        numbers = [*stats.get("timings", {}).values(), *stats.get("usage", {}).values()]
        assert all(isinstance(number, int | float) and abs(number) < 1e15 for number in numbers)
    conversation.markdown()


def test_a_long_title_is_shortened_between_words() -> None:
    assert shorten("word " * 30) == "word word word word word word word word word…"
