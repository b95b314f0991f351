"""Encoding and chat templates in the tab: the ES modules of @huggingface/tokenizers and @huggingface/jinja.

`await tensortab.browser.load()` must be called before the first tokenizer is made.

Known differences from jinja2 (version 0.5.11): text.strip(characters) strips all white space whatever the characters, a
boolean is written true instead of True, and text * number is an error. Models' templates rarely use any of these. For
BERT's tokenizer marks and punctuation are those of a newer Unicode, which concerns characters added after 2015.
"""

import json
from collections.abc import Callable
from typing import Any

from js import JSON
from pyodide.ffi import JsException

from ..browser import module
from ..errors import Error


def encoder(tokenizer_json: str) -> Callable[[str, bool], list[int]]:
    """Returns the function (text, add special tokens) -> ids of a tokenizer.json. Raises Error("bad_file")."""
    try:
        tokenizer = module("tokenizers").Tokenizer.new(JSON.parse(tokenizer_json), JSON.parse("{}"))
    except JsException as error:
        raise Error("bad_file", f"tokenizer.json can't be used ({error}): download it again.") from error
    options = {special: JSON.parse(json.dumps({"add_special_tokens": special})) for special in (False, True)}
    return lambda text, special: tokenizer.encode(text, options[special]).ids.to_py()


def template(text: str) -> Callable[[dict[str, Any]], str]:
    """A chat template as a function of its variables."""
    try:
        compiled = module("jinja").Template.new(text)
    except JsException as error:
        raise Error(
            "bad_file", f"The model's chat template is broken ({error}): call the model with a text."
        ) from error

    def render(variables: dict[str, Any]) -> str:
        try:
            return compiled.render(JSON.parse(json.dumps(variables)))
        except JsException as error:
            raise Error("bad_request", f"The model's chat template refuses these messages: {error}") from error

    return render
