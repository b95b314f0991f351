"""What a prompt contains of the files that are attached to a chat: all of them, or the passages that are nearest to the
question. Pure Python: CPython runs its tests.

A message's `files` are [{"id", "name", "unit", "passages"}, ...] (see Document); an answer's `quotes` are [{"file": id,
"passage": number}, ...], in the order of their numbers in the prompt."""

from studio.pages.chat.conversation import Conversation, without_thought
from studio.shell.files import Document

MOST_QUOTES = 6  # a small model loses the thread among more
FRAME = 100  # tokens of the words around files and messages


def tokens(text: str) -> int:
    """About how many tokens a text has, rather too many: three bytes each, where English has about four."""
    return len(text.encode()) // 3 + 1


def path_of(conversation: Conversation, until: str) -> list[str]:
    """The ids of the messages up to `until`, oldest first."""
    keys, key = [], until
    while key is not None:
        keys.append(key)
        key = conversation.node(key)["parent"]
    keys.reverse()
    return keys


def files_of(conversation: Conversation, until: str) -> list[dict]:
    """The files of the messages up to `until`."""
    return [file for key in path_of(conversation, until) for file in conversation.node(key).get("files", [])]


def file_of(conversation: Conversation, name: str) -> dict | None:
    """The file with this id, if a message of the chat still has it."""
    for node in conversation.data["nodes"].values():
        for file in node.get("files", []):
            if file["id"] == name:
                return file
    return None


def room(conversation: Conversation, until: str, context: int) -> int:
    """The tokens that files may have in the prompt of an answer to the message `until`."""
    messages = sum([tokens(message["content"]) + 8 for message in conversation.messages(until)])
    return context - min(conversation.sampling()["max_tokens"], context // 4) - messages - FRAME


def fit(conversation: Conversation, until: str, context: int) -> bool:
    """Whether the prompt can contain all files whole, each in its own message."""
    path = path_of(conversation, until)
    first = conversation.data["from"]
    left_out = path[:path.index(first)] if first in path else []
    if any(conversation.node(key).get("files") for key in left_out):
        return False
    size = sum([tokens(passage) for file in files_of(conversation, until) for _, passage in file["passages"]])
    return size <= room(conversation, until, context)


def whole(node: dict) -> str:
    """A message with its files."""
    parts = ["The file “%s”:\n\n%s" % (file["name"], document_of(file).text().strip())
             for file in node.get("files", [])]
    return "\n\n---\n\n".join(parts + [without_thought(node)])


def chosen(files: list[dict], found: list, most: int) -> list[dict]:
    """The quotes for a prompt: the beginning of each file, and what was found, as far as `most` tokens allow; in the
    order of the files. found: [(number of the file, number of its passage), ...], the nearest first."""
    picked: list[tuple] = []
    left = most
    for file, passage in [(number, 0) for number in range(len(files))][:MOST_QUOTES // 2] + found:
        cost = tokens(files[file]["passages"][passage][1]) + 20
        if (file, passage) not in picked and cost <= left and len(picked) < MOST_QUOTES:
            picked.append((file, passage))
            left -= cost
    return [{"file": files[file]["id"], "passage": passage} for file, passage in sorted(picked)]


def quoting(question: str, conversation: Conversation, quotes: list[dict]) -> str:
    """The question with its quotes."""
    parts = []
    for number, quote in enumerate(quotes):
        file = file_of(conversation, quote["file"])
        if file is not None and quote["passage"] < len(file["passages"]):
            document, place = document_of(file), quote["passage"]
            parts.append("[%d] %s, %s:\n%s" % (number + 1, file["name"], document.place(place),
                                               document.passages[place][1].strip()))
    return "Passages of the attached files:\n\n%s\n\nAnswer with the help of these passages, and name the numbers of " \
        "those that you use, such as [1].\n\n%s" % ("\n\n".join(parts), question)


def messages(conversation: Conversation, until: str, quotes: list[dict] | None) -> list[dict]:
    """The request's messages, with the files whole or, if there are quotes, with these in the question."""
    def said(key: str) -> str:
        node = conversation.node(key)
        if quotes is None:
            return whole(node)
        return quoting(node["content"], conversation, quotes) if key == until else without_thought(node)
    return conversation.messages(until, said)


def document_of(file: dict) -> Document:
    return Document(file["name"], file["unit"], file["passages"])
