"""Writes a model as shards that a site can serve and a pipeline can open.

MODEL is a GGUF file, a Hugging Face folder, the folder of a Whisper model in CTranslate2's format, or a name of the
catalogue whose package is installed. The new folder has the model's name.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from .. import packing
from ..converters import convert, converter
from ..errors import Error
from ..sources import model_name
from ..sources.model import catalogue, packaged


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a file, a folder or a name of the catalogue")
    parser.add_argument("--output", metavar="FOLDER", default=".", type=Path, help="where to put the model's folder")
    parser.add_argument("--name", help="the model's name; by default that of its file or folder")
    parser.add_argument("--task", default="text-generation", help="the model's task, by its Hugging Face name")
    parser.add_argument("--license", default="unknown", help="the licence to show with the model, such as Apache-2.0")


def run(args: argparse.Namespace) -> None:
    source = Path(args.model)
    if source.exists():
        name, inputs, by = packing.default_name(source), [source], converter(source)
        about = {"task": args.task, "license": args.license, "source": source.name}
    elif args.model in (known := catalogue()):
        name, inputs, about = args.model, packaged(args.model), known[args.model]
        by = about.get("converter")
    else:
        message = f"{args.model} is neither a file, nor a folder, nor one of {', '.join(known)}: check the path."
        raise Error("bad_file", message)
    folder = packing.free_place(args.output / model_name(args.name or name), inputs[0])
    with TemporaryDirectory() as made:
        manifest = packing.pack(convert(by, *inputs, target=Path(made)) if by else inputs[0], folder, about)
    print(f"{folder}: {len(manifest['shards'])} shards, {manifest['size'] / 1e6:.1f} MB")
