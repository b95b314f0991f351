"""text-generation: continues a prompt or a conversation. It is called as in transformers, or, by `.chat`, as OpenAI's
client."""

from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any, overload

from ..decoder import Decoder, Token
from ..errors import Error
from ..generate import Generator, Tokens
from ..loading import Files, Progress
from ..sampling import Sampling
from ..tokenizer import load_tokenizer
from .chat import Chat, conversation

if TYPE_CHECKING:
    from typing import Unpack

    from ..results import TextGenerationOptions, TextGenerationOutput

NEW_TOKENS = 256  # transformers' default for this task


async def declare(files: Files, context: int | None) -> "TextGeneration":
    return TextGeneration(files, context)


class TextGeneration:
    """await pipe("Once", max_new_tokens=32) -> [{"generated_text": "Once upon ..."}]

    context: the most tokens of a text, the prompt included.
    """

    def __init__(self, files: Files, context: int | None) -> None:
        self.name, self.checkpoint = files.name, files.checkpoint
        self.generator = Generator(Decoder(files.checkpoint, files.device, context))
        self.context = self.generator.context
        self.tokenizer: Any = None  # set by load()
        self.chat = Chat(self)

    async def load(self, on_progress: Progress) -> None:
        """Brings the model to the device. pipeline() calls it, and frees everything if it fails."""
        decoder = self.generator.decoder
        self.tokenizer = await decoder.load(on_progress, lambda: load_tokenizer(self.checkpoint))

    @property
    def nbytes(self) -> int:
        """Bytes of the model and its cache on the GPU."""
        return self.generator.decoder.nbytes

    @overload
    async def __call__(
        self, text_inputs: str | list[dict[str, Any]], **options: "Unpack[TextGenerationOptions]"
    ) -> "list[TextGenerationOutput]": ...
    @overload
    async def __call__(
        self, text_inputs: list[str] | list[list[dict[str, Any]]], **options: "Unpack[TextGenerationOptions]"
    ) -> "list[list[TextGenerationOutput]]": ...
    async def __call__(
        self,
        text_inputs: str | list[Any],
        max_new_tokens: int = NEW_TOKENS,
        do_sample: bool = False,
        temperature: float = 1.0,
        top_k: int = 50,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        return_full_text: bool = True,
        continue_final_message: bool | None = None,
    ) -> list[Any]:
        """Continues a text, or answers a conversation [{"role", "content"}, ...], and returns [{"generated_text"}]. For
        a list of texts or of conversations it returns a list of these. Names and defaults are transformers'.

        continue_final_message: whether the last message is continued instead of being answered; by default it is if it
        is the assistant's. Raises Error("context_exceeded") or ("bad_request").
        """
        sampling = Sampling(
            temperature if do_sample else 0.0, top_p, top_k if do_sample else 0, min_p, repetition_penalty, seed,
            frozenset(self.tokenizer.eos),
        )  # fmt: skip
        several = isinstance(text_inputs, list | tuple) and not isinstance(next(iter(text_inputs), None), dict)
        requests = [
            self._request(given, sampling, max_new_tokens, continue_final_message)
            for given in (text_inputs if several else [text_inputs])
        ]
        if not requests:
            raise Error(
                "bad_request", "There is nothing to continue: expected a text, a conversation, or a list of these."
            )
        results = []
        for tokens, whole in requests:
            text = "".join([piece async for _, piece in self.text(tokens)])
            results.append([{"generated_text": whole(text) if return_full_text else text}])
        return results if several else results[0]

    def _request(
        self, given: Any, sampling: Sampling, max_new_tokens: int, goes_on: bool | None
    ) -> tuple[Tokens, Callable[[str], Any]]:
        """The tokens that follow a text or a conversation, and a function that joins their text to it."""
        if isinstance(given, str):
            return self.tokens(self.prompt(given), sampling, max_new_tokens), lambda text: given + text
        chat = conversation(given)
        if goes_on is None:
            goes_on = chat[-1]["role"] == "assistant"
        *before, last = given

        def whole(text: str) -> list[dict[str, Any]]:
            if goes_on:
                return [*before, {**last, "content": chat[-1]["content"] + text}]
            return [*given, {"role": "assistant", "content": text}]

        return self.tokens(self.prompt(chat, goes_on), sampling, max_new_tokens), whole

    def prompt(self, text: str | list[dict[str, Any]], continue_final_message: bool = False) -> list[int]:
        """The token ids of a text, or of a conversation in the model's chat template. Raises Error("bad_request")."""
        if isinstance(text, str):
            ids = self.tokenizer.encode(text)
            if not ids and self.tokenizer.bos is not None:
                ids = [self.tokenizer.bos]
        else:
            text = self.tokenizer.apply_chat_template(text, continue_final_message=continue_final_message)
            ids = self.tokenizer.encode(text, add_special_tokens=False)
        if not ids:
            raise Error("bad_request", "The prompt is empty: write a text.")
        return ids

    def tokens(
        self, prompt: list[int], sampling: Sampling, max_tokens: int | None = None, top_logprobs: int = -1
    ) -> Tokens:
        """The tokens that follow a prompt, until a stop id, `max_tokens` or the end of the context (generate.py)."""
        return self.generator.generate(prompt, sampling, max_tokens, top_logprobs)

    async def text(self, tokens: Tokens) -> AsyncGenerator[tuple[Token | None, str], None]:
        """Yields (token, the text that it completes), and at last (None, the rest) if the text ends within a
        character."""
        text = self.tokenizer.stream()
        try:
            async for token in tokens:
                yield token, text.feed(token.id)
        finally:
            await tokens.close()
        if rest := text.end():
            yield None, rest

    def abort(self) -> None:
        """Ends all generations so far, each after the token that is being read."""
        self.generator.abort()

    def free(self) -> None:
        """Frees the GPU's memory."""
        self.generator.free()
