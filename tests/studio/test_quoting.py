"""What a prompt contains of the files of a chat: all of them, or the passages that are nearest to the question."""

import pytest
from studio.pages.chat import quoting
from studio.pages.chat.conversation import Conversation, check
from studio.shell.files import check_files

FILE = {"id": "f1", "name": "sea.pdf", "unit": "page", "passages": [[1, "Ships sail.\n\n"], [2, "Tides come.\n\n"]]}
LINES = [[n, f"Line {n}. ".ljust(600)] for n in range(1, 21)]
LONG = {"id": "f2", "name": "long.txt", "unit": "line", "passages": LINES}


def chat(*files: dict, text: str = "What sails?") -> tuple[Conversation, str]:
    conversation = Conversation.new("c1", 0)
    question = conversation.add("user", text, 1)
    conversation.node(question)["files"] = list(files)
    return conversation, question


def test_a_file_that_fits_is_in_its_message_whole() -> None:
    conversation, question = chat(FILE)
    assert quoting.fit(conversation, question, 2048)
    said = "The file “sea.pdf”:\n\nShips sail.\n\nTides come.\n\n---\n\nWhat sails?"
    assert quoting.messages(conversation, question, None) == [{"role": "user", "content": said}]


def test_files_fit_if_the_answer_and_the_other_messages_have_room_too() -> None:
    conversation, question = chat(LONG)  # 12,000 bytes: 4,000 tokens
    assert quoting.room(conversation, question, 4096) == 4096 - 512 - (len("What sails?") // 3 + 1 + 8) - 100
    assert not quoting.fit(conversation, question, 4096)
    assert quoting.fit(conversation, question, 8192)
    conversation.data["sampling"]["max_tokens"] = 100_000  # no more than a quarter of the context is kept free for it
    assert quoting.fit(conversation, question, 8192)


def test_files_of_messages_that_were_left_out_are_searched() -> None:
    conversation, question = chat(FILE)
    answer = conversation.add("assistant", "Ships.", 2, question)
    later = conversation.add("user", "And tides?", 3, answer)
    assert quoting.fit(conversation, later, 2048)
    conversation.data["from"] = later
    assert quoting.files_of(conversation, later) == [FILE]
    assert not quoting.fit(conversation, later, 2048)


def test_quotes_are_the_beginning_of_each_file_and_what_is_nearest_in_the_order_of_the_files() -> None:
    found = [(1, 15), (0, 1), (1, 3), (1, 0), (1, 8), (1, 9)]
    quotes = quoting.chosen([FILE, LONG], found, 4000)
    assert [(quote["file"], quote["passage"]) for quote in quotes] == [
        ("f1", 0), ("f1", 1), ("f2", 0), ("f2", 3), ("f2", 8), ("f2", 15)]  # fmt: skip
    few = quoting.chosen([FILE, LONG], found, 300)  # a passage of LONG has 201 tokens
    assert [(quote["file"], quote["passage"]) for quote in few] == [("f1", 0), ("f1", 1), ("f2", 0)]


def test_quotes_have_numbers_and_places_in_the_question() -> None:
    conversation, question = chat(FILE)
    quotes = [{"file": "f1", "passage": 1}, {"file": "gone", "passage": 0}, {"file": "f1", "passage": 99}]
    (message,) = quoting.messages(conversation, question, quotes)
    assert message["content"] == (
        "Passages of the attached files:\n\n[1] sea.pdf, page 2:\nTides come.\n\nAnswer with the help of these "
        "passages, and name the numbers of those that you use, such as [1].\n\nWhat sails?"
    )


def test_files_and_quotes_survive_an_export_and_broken_ones_are_refused() -> None:
    conversation, question = chat(FILE)
    answer = conversation.add("assistant", "Ships.", 2, question)
    conversation.node(answer)["quotes"] = [{"file": "f1", "passage": 1}]
    again = check(conversation.data)
    assert again["nodes"][question]["files"] == [FILE] and again["nodes"][answer]["quotes"][0]["passage"] == 1
    assert "*sea.pdf*" in conversation.markdown()
    conversation.node(answer)["quotes"] = [{"file": "f1", "passage": -1}]
    with pytest.raises(ValueError, match="quotes"):
        check(conversation.data)


@pytest.mark.parametrize(
    "change",
    [{"id": 1}, {"name": None}, {"unit": "mile"}, {"passages": []}, {"passages": [[1]]}, {"passages": [[-1, "x"]]},
     {"passages": [[1, 2]]}, {"passages": "text"}],
)  # fmt: skip
def test_a_broken_file_of_an_import_is_refused(change: dict) -> None:
    with pytest.raises(ValueError, match="files of a message are broken"):
        check_files([FILE | change])
