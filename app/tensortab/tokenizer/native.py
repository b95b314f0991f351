"""Encoding and chat templates in CPython: the `tokenizers` and `jinja2` packages."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ..errors import Error


def encoder(tokenizer_json: str) -> Callable[[str, bool], list[int]]:
    """Returns the function (text, add special tokens) -> ids of a tokenizer.json. Raises Error("bad_file")."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(tokenizer_json)
    except Exception as error:  # the package raises Exception itself, with the parser's message
        raise Error("bad_file", f"tokenizer.json can't be used ({error}): download it again.") from error
    return lambda text, special: tokenizer.encode(text, add_special_tokens=special).ids


def template(text: str) -> Callable[[dict[str, Any]], str]:
    """A chat template as a function of its variables, in the same environment as in transformers."""
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """{% generation %} marks the assistant's words for training; here it is replaced by its body."""

        tags = {"generation"}  # noqa: RUF012 (so the base class has it)

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, **settings: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **settings)  # without jinja2's escapes for HTML

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda format: datetime.now().strftime(format)
    try:
        compiled = environment.from_string(text)
    except (jinja2.TemplateError, RecursionError) as error:
        raise Error(
            "bad_file", f"The model's chat template is broken ({error}): call the model with a text."
        ) from error

    def render(variables: dict[str, Any]) -> str:
        try:
            return compiled.render(variables)
        except Exception as error:  # a template is somebody else's program: it may fail in any way
            raise Error("bad_request", f"The model's chat template refuses these messages: {error}") from error

    return render
