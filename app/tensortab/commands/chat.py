"""Chats with a model in the terminal.

MODEL is anything that pipeline() accepts: a file, a folder, a name of the catalogue or a Hugging Face id; by default
the catalogue's first. An empty line, the end of the input or Ctrl+C ends the chat.
"""

import argparse
import asyncio
import sys

from ..tasks import pipeline
from . import shown


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", nargs="?", help="a file, a folder, a name or a Hugging Face id")
    parser.add_argument("--context", type=int, help="tokens of the chat at most; by default all that the model allows")


def run(args: argparse.Namespace) -> None:
    asyncio.run(_chat(args.model, args.context))


async def _chat(model: str | None, context: int | None) -> None:
    pipe = await pipeline("text-generation", model=model, context=context)
    print(f"{pipe.name} on {pipe.generator.device.info['description'] or pipe.generator.device.info['device']}")
    messages: list[dict[str, str]] = []
    try:
        while question := _line():
            messages.append({"role": "user", "content": question})
            text = ""
            async for chunk in await pipe.chat.completions.create(messages=messages, stream=True):
                piece = chunk["choices"][0]["delta"].get("content", "")
                text += piece
                print(shown(piece), end="", flush=True)
            print()
            messages.append({"role": "assistant", "content": text})
    finally:
        pipe.free()


def _line() -> str:
    """The user's line, without the spaces around it; "" at the end of the input."""
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return ""
