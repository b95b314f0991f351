"""Chat completions as in OpenAI's Chat Completions API: requests and answers are the same dictionaries."""

import time
import uuid
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Literal, overload

from ..decoder import Token
from ..errors import Error
from ..sampling import TOP_LOGPROBS, Sampling
from ..stream import Stream

if TYPE_CHECKING:
    from ..results import ChatCompletion, ChatCompletionChunk

ROLES = ("system", "developer", "user", "assistant", "tool")
FIELDS = {
    "messages", "stream", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "min_p",
    "repetition_penalty", "seed", "stop", "logprobs", "top_logprobs",
}  # fmt: skip
# OpenAI's fields that do not affect the answer
WITHOUT_EFFECT = {
    "model", "user", "stream_options", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key",
    "prediction", "parallel_tool_calls",
}  # fmt: skip
# fields that would change the answer, and the values with which they do not; null is one of them for each field
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,), "presence_penalty": (0,), "frequency_penalty": (0,), "logit_bias": ({},), "response_format":
    ({"type": "text"},), "tools": ([],), "tool_choice": ("none", "auto"), "functions": ([],), "function_call":
    ("none", "auto"), "modalities": (["text"],), "audio": (), "reasoning_effort": ("none",), "verbosity": ("medium",),
    "web_search_options": (),
}  # fmt: skip


class Chat:
    def __init__(self, pipe: Any) -> None:
        self.completions = Completions(pipe)


class Completions:
    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe

    @overload
    async def create(self, *, stream: Literal[True], **request: Any) -> "Stream[ChatCompletionChunk]": ...
    @overload
    async def create(self, *, stream: Literal[False] | None = None, **request: Any) -> "ChatCompletion": ...
    async def create(self, **request: Any) -> Any:
        """Returns a ChatCompletion, or with stream=True a Stream of ChatCompletionChunks.

        The fields are messages, stream, max_tokens (or max_completion_tokens), temperature (default 1), top_p,
        seed, stop (a text or up to 4), logprobs, top_logprobs (up to 20); and beyond OpenAI's top_k, min_p and
        repetition_penalty. The last chunk has `usage` and `timings` (ttft_ms, tokens_per_second). OpenAI's other fields
        are accepted where they change nothing (null, n=1, tools=[] ...); otherwise the error names them. Raises
        Error("bad_request") or ("context_exceeded").
        """
        answer = _Answer(self.pipe, request)
        chunks = Stream(answer.chunks())
        if request.get("stream"):
            return chunks
        text, logprobs, last = "", [], {}
        async for chunk in chunks:
            choice, last = chunk["choices"][0], chunk
            text += choice["delta"].get("content", "")
            logprobs += (choice["logprobs"] or {}).get("content", [])
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": last["choices"][0]["finish_reason"]}
        choice["logprobs"] = {"content": logprobs} if answer.logprobs else None
        return {**last, "object": "chat.completion", "choices": [choice]}

    def abort(self) -> None:
        """Ends all completions so far after the token that is being read; their finish_reason is "abort"."""
        self.pipe.abort()


class _Answer:
    """One request being answered."""

    def __init__(self, pipe: Any, request: dict[str, Any]) -> None:
        if unknown := sorted(set(request) - FIELDS - WITHOUT_EFFECT - NEUTRAL.keys()):
            raise Error("bad_request", f"The request has unknown fields: {', '.join(unknown)}.")
        for name, values in NEUTRAL.items():
            if (value := request.get(name)) is not None and value not in values:
                wanted = " or ".join(map(repr, (None, *values)))
                raise Error("bad_request", f"{name} is {value!r:.80}, which is not supported yet: use {wanted}.")
        self.pipe = pipe
        self.logprobs = bool(request.get("logprobs"))
        self.top = request.get("top_logprobs") or 0
        if type(self.top) is not int or not 0 <= self.top <= TOP_LOGPROBS or (self.top and not self.logprobs):
            raise Error(
                "bad_request", f"top_logprobs must be an integer from 0 to {TOP_LOGPROBS}, together with logprobs=True."
            )
        limits = [request.get(name) for name in ("max_completion_tokens", "max_tokens")]
        self.limit = next((limit for limit in limits if limit is not None), None)
        if self.limit is not None and (type(self.limit) is not int or self.limit < 1):
            raise Error("bad_request", f"max_tokens must be an integer of at least 1, got {self.limit!r}.")
        stop = request.get("stop") or []
        self.stop = [stop] if isinstance(stop, str) else stop
        texts = isinstance(self.stop, list) and all(isinstance(s, str) and s for s in self.stop)
        if not texts or len(self.stop) > 4:
            raise Error("bad_request", "stop must be a text or a list of up to four texts, none of them empty.")
        names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed")
        given = {"temperature": 1.0} | {name: request[name] for name in names if request.get(name) is not None}
        if given.get("top_k") == -1:  # vLLM and others write "no limit" so
            given["top_k"] = 0
        self.sampling = Sampling(**given, stop_ids=frozenset(pipe.tokenizer.eos))
        self.prompt = pipe.prompt(_messages(request.get("messages")))
        self.tokens = pipe.tokens(self.prompt, self.sampling, self.limit, self.top if self.logprobs else -1)
        self.head = {
            "id": f"chatcmpl-{uuid.uuid4().hex[:24]}", "object": "chat.completion.chunk",
            "created": int(time.time()), "model": pipe.name,
        }  # fmt: skip

    def _chunk(self, delta: dict[str, str], logprobs: list | None = None, reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": {"content": logprobs} if logprobs else None}
        return {**self.head, "choices": [{**choice, "finish_reason": reason}]}

    async def chunks(self) -> AsyncGenerator[dict[str, Any], None]:
        started = time.perf_counter()
        first, count, reason, held = 0.0, 0, "length", ""
        pending: list[dict] = []  # log probabilities of tokens whose text is held back
        pieces = self.pipe.text(self.tokens)
        try:
            yield self._chunk({"role": "assistant", "content": ""})
            async for token, piece in pieces:
                if token is not None:
                    if not count:
                        first = time.perf_counter()
                    count += 1
                    if token.id in self.sampling.stop_ids:
                        reason = "stop"
                        break
                    if token.logprobs:
                        pending.append(self._logprob(token))
                text, held, stopped = cut(held + piece, self.stop)
                if text or (pending and not held):
                    yield self._chunk({"content": text}, pending)
                    pending = []
                if stopped:
                    reason, held = "stop", ""
                    break
            else:
                if self.tokens.aborted:
                    reason = "abort"
        finally:
            await pieces.aclose()
        if held or pending:
            yield self._chunk({"content": held}, pending)
        seconds = time.perf_counter() - first
        usage = {
            "prompt_tokens": len(self.prompt),
            "completion_tokens": count,
            "total_tokens": len(self.prompt) + count,
        }
        usage["prompt_tokens_details"] = {"cached_tokens": self.tokens.reused}  # type: ignore[assignment]
        timings = {"ttft_ms": 1000 * (first - started) if count else 0.0}
        timings["tokens_per_second"] = (count - 1) / seconds if count > 1 and seconds > 0 else 0.0
        yield {**self._chunk({}, None, reason), "usage": usage, "timings": timings}

    def _logprob(self, token: Token) -> dict[str, Any]:
        entries = []
        for id, value in token.logprobs:
            raw = self.pipe.tokenizer.token_bytes(id)
            entries.append({"token": raw.decode(errors="replace"), "logprob": value, "bytes": list(raw)})
        return {**entries[0], "top_logprobs": entries[1:]}


def cut(text: str, stops: list[str]) -> tuple[str, str, bool]:
    """Returns (text to show, text held back because a stop may begin there, whether a stop was found)."""
    found = min((at for stop in stops if (at := text.find(stop)) >= 0), default=-1)
    if found >= 0:
        return text[:found], "", True
    longest = 0
    for stop in stops:
        for size in range(min(len(stop) - 1, len(text)), longest, -1):
            if text.endswith(stop[:size]):
                longest = size
                break
    return text[: len(text) - longest], text[len(text) - longest :], False


def _messages(messages: Any) -> list[dict[str, Any]]:
    """The checked conversation of a request. A "developer" message becomes a "system" message, which models know."""
    checked = conversation(messages)
    if wrong := [message["role"] for message in checked if message["role"] not in ROLES]:
        raise Error("bad_request", f"The role {wrong[0]!r} is not one of {', '.join(ROLES)}.")
    return [{**m, "role": "system"} if m["role"] == "developer" else m for m in checked]


def conversation(messages: Any) -> list[dict[str, Any]]:
    """Returns the messages as a chat template reads them: content in parts is joined to one text. Raises
    Error("bad_request")."""
    if not isinstance(messages, list | tuple) or not messages:
        raise Error("bad_request", 'messages must be a list such as [{"role": "user", "content": "Hello"}].')
    checked = []
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise Error("bad_request", "Each message must have a role (system, user or assistant) and a content.")
        content = message.get("content")
        parts = [{"type": "text", "text": content or ""}] if content is None or isinstance(content, str) else content
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            raise Error(
                "bad_request", f"The content of a message must be a text or a list of parts, got {content!r:.40}."
            )
        for part in parts:
            if part.get("type") != "text":
                raise Error("bad_request", "This model reads text only: remove the images and the sounds.")
            if not isinstance(part.get("text"), str):
                raise Error(
                    "bad_request", 'A part of a message has no text: it must be like {"type": "text", "text": "Hello"}.'
                )
        checked.append({**message, "content": "".join(part["text"] for part in parts)})
    return checked
