"""text-generation: a prompt or a conversation goes on. Called as in transformers, or by `.chat` as OpenAI's client."""

from collections.abc import AsyncGenerator
from typing import Any

from ..decoder import Decoder, Token
from ..errors import Error
from ..generate import Generator, Tokens
from ..loading import Files, Progress
from ..sampling import Sampling
from ..tokenizer import load_tokenizer
from .chat import Chat

NEW_TOKENS = 256  # transformers' default for this task


async def declare(files: Files, context: int | None) -> "TextGeneration":
    return TextGeneration(files, context)


class TextGeneration:
    """await pipe("Once", max_new_tokens=32) -> [{"generated_text": "Once upon ..."}]

    context: tokens of a text at most, the prompt included.
    """

    def __init__(self, files: Files, context: int | None) -> None:
        self.name, self.checkpoint = files.name, files.checkpoint
        self.generator = Generator(Decoder(files.checkpoint, files.device, context))
        self.context = self.generator.context
        self.tokenizer: Any = None  # from load() on
        self.chat = Chat(self)

    async def load(self, on_progress: Progress) -> None:
        decoder = self.generator.decoder
        self.tokenizer = await decoder.load(on_progress, lambda: load_tokenizer(self.checkpoint))

    @property
    def nbytes(self) -> int:
        """Bytes of the model and its cache on the GPU."""
        return self.generator.decoder.nbytes

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
    ) -> list[dict[str, Any]]:
        """Continues a text, or answers a conversation [{"role", "content"}, ...]. Names and defaults are transformers'.

        Raises Error("context_exceeded") or ("bad_request").
        """
        chat = not isinstance(text_inputs, str)
        sampling = Sampling(
            temperature if do_sample else 0.0, top_p, top_k if do_sample else 0, min_p, repetition_penalty, seed,
            frozenset(self.tokenizer.eos),
        )  # fmt: skip
        prompt = self.prompt(text_inputs)
        tokens = self.tokens(prompt, sampling, max_new_tokens)
        text = "".join([piece async for _, piece in self.text(tokens)])
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

    def tokens(
        self, prompt: list[int], sampling: Sampling, max_tokens: int | None = None, top_logprobs: int = -1
    ) -> Tokens:
        """What follows a prompt, until a stop id, `max_tokens` or the end of the context (generate.py)."""
        return self.generator.generate(prompt, sampling, max_tokens, top_logprobs)

    async def text(self, tokens: Tokens) -> AsyncGenerator[tuple[Token | None, str], None]:
        """(token, the text that it completes); then (None, the rest of the text) if it ends within a character."""
        text = self.tokenizer.stream()
        try:
            async for token in tokens:
                yield token, text.feed(token.id)
        finally:
            await tokens.close()
        if rest := text.end():
            yield None, rest

    def abort(self) -> None:
        """Ends what is being generated after the token being read."""
        self.generator.abort()

    def free(self) -> None:
        """Gives the GPU's memory back."""
        self.generator.free()
