"""The conversations on this device."""

from studio.pages.chat.conversation import Conversation
from studio.shell.database import Database
from studio.shell.elements import message_of
from studio.shell.history import History

_database = Database("tensortab", "conversations")
chats = History(_database, Conversation)
read, write = chats.read, chats.write


async def open_database() -> None:
    await chats.read_list()


def is_open() -> bool:
    return chats.available


async def listing() -> list[dict]:
    """[{id, title, updated}], newest first. Raises OSError."""
    try:
        await chats.read_list()
    except Exception as error:
        raise OSError(message_of(error)) from None
    return chats.rows


async def remove(key: str) -> None:
    chats._known.pop(key, None)
    await _database.change(remove=[key])


async def everything() -> list[dict]:
    """The data of all conversations, for the export."""
    return [conversation.data for conversation in await chats.everything()]
