"""Writes tests/golden/bert*: what transformers and sentence-transformers say of BERT, DistilBERT and all-MiniLM-L6-v2.

Made with Python 3.11, torch 2.13.0 (CPU), transformers 5.24.0, tokenizers 0.23.3, sentence-transformers 6.2.0, in an
environment of its own:

    python tests/make_golden_text.py <folder of all-MiniLM-L6-v2>        (a minute)

bert_vocab.txt   a WordPiece vocabulary of tests/corpus.py
bert.json        ids of the corpus in that vocabulary, of pairs and cut; pipelines' answers of the random models of
                 tests/recipe_text.py; sentences, similarities and a vector of all-MiniLM-L6-v2
bert.npz         of the random models: hidden states after the embedding and each block, of a pair; last hidden states,
                 logits of a mask and of labels for a batch with padding
"""

import json
import sys
import tempfile
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from corpus import CORPUS
from tokenizers import BertWordPieceTokenizer

GOLDEN = Path(__file__).parent / "golden"
TEXTS = ["The quick brown fox [MASK] over the lazy dog.", "Hello, world!", "a [MASK] b", "", " ".join(["word"] * 90)]
PAIR = ("Is it cold here?", "It's 12 degrees; I'd say they'Ve  gone.")
SENTENCES = [
    ("A man is eating food.", "A man is eating a piece of bread."),
    ("A man is eating food.", "The girl is carrying a baby."),
    ("How do I reset my password?", "I forgot my login; how can I get back into my account?"),
    ("The weather is lovely today.", "It's so sunny outside!"),
    ("He drove to the stadium.", "Die Katze sitzt auf der Matte."),
    ("Le chat est assis sur le tapis. 😀", "日本語の文章です。"),
]


def vocabulary() -> None:
    tokenizer = BertWordPieceTokenizer(lowercase=True)
    tokenizer.train_from_iterator(CORPUS * 2, vocab_size=1001, min_frequency=2, show_progress=False)
    tokenizer.save_model(str(GOLDEN), "bert")
    Path(GOLDEN / "bert-vocab.txt").rename(GOLDEN / "bert_vocab.txt")


@torch.no_grad()
def random_models(tokenizer: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    import recipe_text
    import transformers

    said: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    batch = tokenizer(TEXTS, padding=True, truncation=True, max_length=48, return_tensors="pt")
    for kind, name in (("bert", "Bert"), ("distilbert", "DistilBert")):
        config, weights = recipe_text.model(kind)
        config = getattr(transformers, f"{name}Config")(**config)
        models = {}
        for head in ("ForMaskedLM", "ForSequenceClassification"):
            models[head] = getattr(transformers, f"{name}{head}")(config).eval()
            state = {key: torch.tensor(value) for key, value in weights.items()}
            missing, _ = models[head].load_state_dict(state, strict=False)
            assert all(key.endswith(("decoder.weight", "decoder.bias", "projector.weight")) for key in missing), missing
            models[head].tie_weights()
        encoder = models["ForMaskedLM"].base_model
        one = tokenizer(*PAIR, return_tensors="pt")
        given = {key: value for key, value in one.items() if kind == "bert" or key != "token_type_ids"}
        states = encoder(**given, output_hidden_states=True).hidden_states
        arrays[f"{kind}.hidden"] = torch.stack(states)[:, 0].numpy()
        given = {key: value for key, value in batch.items() if kind == "bert" or key != "token_type_ids"}
        last = encoder(**given).last_hidden_state.numpy()
        lengths = batch["attention_mask"].sum(1).tolist()
        arrays[f"{kind}.last"] = np.concatenate([rows[:length] for rows, length in zip(last, lengths, strict=True)])
        masked = batch["input_ids"][0] == tokenizer.mask_token_id
        arrays[f"{kind}.mask"] = models["ForMaskedLM"](**given).logits[0, masked].numpy()
        arrays[f"{kind}.labels"] = models["ForSequenceClassification"](**given).logits.numpy()
        fill = transformers.pipeline("fill-mask", model=models["ForMaskedLM"], tokenizer=tokenizer, device="cpu")
        classify = transformers.pipeline(
            "text-classification", model=models["ForSequenceClassification"], tokenizer=tokenizer, device="cpu"
        )
        masked = [TEXTS[0], "[MASK] is a [MASK].", "it [MASK] s"]
        said[kind] = {"masked": masked, "fill-mask": [fill(text, top_k=7) for text in masked]}
        pair = {"text": PAIR[0], "text_pair": PAIR[1]}
        said[kind]["text-classification"] = [classify(TEXTS[:3], top_k=None), classify(pair, top_k=None)]
    arrays["lengths"] = np.array(lengths, np.int32)
    return said, arrays


def tokenizer_golden(tokenizer: Any) -> dict[str, Any]:
    pairs = [*pairwise(CORPUS), PAIR]
    cut = [tokenizer(*pair, truncation=True, max_length=20) for pair in pairs]
    return {
        "corpus": CORPUS,
        "ids": [tokenizer(text).input_ids for text in CORPUS],
        "pairs": [[encoded.input_ids, encoded.token_type_ids] for encoded in (tokenizer(*pair) for pair in pairs)],
        "cut to 20": [[encoded.input_ids, encoded.token_type_ids] for encoded in cut],
        "texts cut to 9": [tokenizer(text, truncation=True, max_length=9).input_ids for text in CORPUS],
    }


def minilm(folder: str) -> dict[str, Any]:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu")
    first, second = (model.encode([pair[n] for pair in SENTENCES]) for n in range(2))
    vectors = {"sentences": SENTENCES, "similarities": (first * second).sum(1).tolist(), "vector": first[0].tolist()}
    long = "The lighthouse was built in 1874. " * 60
    return vectors | {"long": long, "long similarity": float(model.encode(long) @ first[0])}


def main(folder: str) -> None:
    from transformers import BertTokenizer

    vocabulary()
    with tempfile.TemporaryDirectory() as here:
        (Path(here) / "vocab.txt").write_text((GOLDEN / "bert_vocab.txt").read_text())
        tokenizer = BertTokenizer.from_pretrained(here, do_lower_case=True, model_max_length=48)
    said, arrays = random_models(tokenizer)
    packages = ("torch", "transformers", "tokenizers", "sentence-transformers", "numpy")
    said = {"versions": {name: version(name) for name in packages}, "texts": TEXTS, "pair": PAIR, **said}
    said |= {"tokenizer": tokenizer_golden(tokenizer), "minilm": minilm(folder)}
    (GOLDEN / "bert.json").write_text(json.dumps(said, ensure_ascii=False, separators=(",", ":")) + "\n")
    np.savez_compressed(GOLDEN / "bert.npz", **arrays)


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(2)
    main(sys.argv[1])
