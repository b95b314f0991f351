"""The results of pipelines: typed dictionaries. The keys are transformers', the names of the types huggingface_hub's;
those of chats are OpenAI's."""

from typing import Any, Literal, NotRequired, TypedDict


class TextGenerationOutput(TypedDict):
    """generated_text: a text, or a conversation with its answer where a conversation was given."""

    generated_text: Any


class TextGenerationOptions(TypedDict, total=False):
    """The arguments of a text-generation pipeline besides the text."""

    max_new_tokens: int
    do_sample: bool
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    seed: int | None
    return_full_text: bool
    continue_final_message: bool | None


class SummarizationOutput(TypedDict):
    summary_text: str


class FillMaskOutput(TypedDict):
    """token: the id of the word; token_str: its text; sequence: the input with that word."""

    score: float
    token: int
    token_str: str
    sequence: str


class ClassificationOutput(TypedDict):
    """A label of a text or an image."""

    label: str
    score: float


class AutomaticSpeechRecognitionChunk(TypedDict):
    """timestamp: the beginning and the end, in seconds."""

    text: str
    timestamp: tuple[float, float]


class AutomaticSpeechRecognitionOutput(TypedDict):
    """chunks: empty unless return_timestamps was asked for; language: a code like "en"."""

    text: str
    chunks: list[AutomaticSpeechRecognitionChunk]
    language: str


class AutomaticSpeechRecognitionProgress(TypedDict):
    """The result so far: `done` of `total` seconds are settled. The last one has the language, too."""

    text: str
    chunks: list[AutomaticSpeechRecognitionChunk]
    done: float
    total: float
    language: NotRequired[str]


class SummarizationProgress(TypedDict):
    """The text so far: `done` of `total` parts are written."""

    text: str
    done: int
    total: int


class ChatCompletionMessage(TypedDict):
    role: Literal["assistant"]
    content: str


class Choice(TypedDict):
    index: int
    message: ChatCompletionMessage
    finish_reason: Literal["stop", "length", "abort"]
    logprobs: dict[str, Any] | None


class ChoiceDelta(TypedDict, total=False):
    role: Literal["assistant"]
    content: str


class ChunkChoice(TypedDict):
    index: int
    delta: ChoiceDelta
    finish_reason: Literal["stop", "length", "abort"] | None
    logprobs: dict[str, Any] | None


class PromptTokensDetails(TypedDict):
    """cached_tokens: tokens of the prompt that were in the cache already."""

    cached_tokens: int


class CompletionUsage(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class Timings(TypedDict):
    """ttft_ms: milliseconds from the request to the first token."""

    ttft_ms: float
    tokens_per_second: float


class ChatCompletion(TypedDict):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage
    timings: Timings


class ChatCompletionChunk(TypedDict):
    """The last chunk has `usage` and `timings`."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: NotRequired[CompletionUsage]
    timings: NotRequired[Timings]
