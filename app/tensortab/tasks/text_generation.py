"""text-generation: a prompt or a conversation goes on. Called as in transformers, or by `.chat` as OpenAI's client."""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from ..device import choose
from ..errors import Error
from ..formats import open_checkpoint
from ..generate import Generator, Sampling, Token
from ..sources.model import default, find
from ..tokenizer import load_tokenizer
from . import Progress
from .chat import Chat

if TYPE_CHECKING:
    from ..results import TextGenerationOutput

NEW_TOKENS = 256  # transformers' default for this task


async def create(model: Any, device: Any, context: int | None, on_progress: Progress) -> "TextGeneration":
    device = device or await choose()
    model = default("text-generation") if model is None else model
    source = await find(model, lambda done, total: on_progress("download", done, total))
    checkpoint = await open_checkpoint(source)
    generator = Generator(checkpoint, device, context)
    try:
        tokenizer = await generator.load(on_progress, lambda: load_tokenizer(checkpoint))
    except BaseException:  # stopped by the user, too
        generator.free()
        raise
    return TextGeneration(str(getattr(source, "name", model)), tokenizer, generator)


class TextGeneration:
    """await pipe("Once", max_new_tokens=32) -> [{"generated_text": "Once upon ..."}]"""

    def __init__(self, name: str, tokenizer: Any, generator: Generator) -> None:
        self.name, self.tokenizer, self.generator = name, tokenizer, generator
        self.chat = Chat(self)

    async def __call__(
        self,
        text_inputs: str | list[dict[str, str]],
        max_new_tokens: int = NEW_TOKENS,
        do_sample: bool = False,
        temperature: float = 1.0,
        top_k: int = 50,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        return_full_text: bool = True,
    ) -> "list[TextGenerationOutput]":
        """Continues a text, or answers a conversation [{"role", "content"}, ...]. Names and defaults are transformers'.

        Raises Error("context_exceeded") or ("bad_request").
        """
        chat = not isinstance(text_inputs, str)
        sampling = Sampling(
            temperature if do_sample else 0.0, top_p, top_k if do_sample else 0, min_p, repetition_penalty, seed,
            frozenset(self.tokenizer.eos),
        )  # fmt: skip
        prompt = self.prompt(text_inputs)
        text = "".join([piece async for _, piece in self.stream(prompt, sampling, max_new_tokens)])
        if chat and return_full_text:
            return [{"generated_text": [*text_inputs, {"role": "assistant", "content": text}]}]
        return [{"generated_text": text_inputs + text if return_full_text and isinstance(text_inputs, str) else text}]

    def prompt(self, text: str | list[dict[str, Any]]) -> list[int]:
        """Token ids of a text, or of a conversation in the model's chat template."""
        if isinstance(text, str):
            ids = self.tokenizer.encode(text)
            if not ids and self.tokenizer.bos is not None:
                ids = [self.tokenizer.bos]
        else:
            ids = self.tokenizer.encode(self.tokenizer.apply_chat_template(text), add_special_tokens=False)
        if not ids:
            raise Error("bad_request", "The prompt is empty: write something.")
        return ids

    def stream(
        self, prompt: list[int], sampling: Sampling, max_tokens: int | None, top_logprobs: int = -1
    ) -> AsyncGenerator[tuple[Token | None, str], None]:
        """(token, the text that it completes), until a stop id, `max_tokens` or the end of the context; then
        (None, the rest of the text) if it ends within a character."""
        return self._stream(self.generator.generate(prompt, sampling, max_tokens, top_logprobs))

    async def _stream(self, tokens: AsyncGenerator[Token, None]) -> AsyncGenerator[tuple[Token | None, str], None]:
        text = self.tokenizer.stream()
        try:
            async for token in tokens:
                yield token, text.feed(token.id)
        finally:
            await tokens.aclose()
        if rest := text.end():
            yield None, rest

    def abort(self) -> None:
        """Ends what is being generated after the token being read."""
        self.generator.abort()

    def free(self) -> None:
        """Gives the GPU's memory back."""
        self.generator.free()
