"""Where the head of a record is: in the folder itself, or in the model's own file, by its hash.

A pointer saves the space of the head, and binds the record to a file that must not change: its
hash is taken when recording and compared before anything is read from it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kullback.compare.provenance import file_hash
from kullback.compare.readers.hugging_face import HuggingFaceModel
from kullback.compare.record.fields import Fields
from kullback.compare.record.files import checked, open_any, open_tensors, write_tensors
from kullback.compare.record.head import AFTER, Head
from kullback.compare.record.manifest import DTYPES, Manifest
from kullback.errors import FileFormatError, InputError, MissingExtra

__all__ = ["describe", "point_to_head", "read_head", "store_head"]

HEAD = "head.safetensors"
_ADVICE = "leave out --head pointer to store the head in the record"


def describe(head: Head, where: str) -> dict[str, Any]:
    """What the manifest says of a head wherever it is: "stored" or a "pointer"."""
    after = None if head.after is None else {"setting": head.after[0], "value": head.after[1]}
    return {"where": where, "bias": head.bias is not None, "after": after}


def store_head(folder: Path, head: Head) -> dict[str, Any]:
    """Write the head into the folder; which file it is."""
    tensors = {"weight": head.weight}
    if head.bias is not None:
        tensors["bias"] = head.bias
    stored = write_tensors(folder, HEAD, tensors)
    return stored._asdict()


def point_to_head(source: HuggingFaceModel, head: Head) -> dict[str, Any]:
    """Where in the model's own files its head is, and their hash.

    Raises `InputError` where no file has exactly these weights under a name of the head's.
    """
    place = Path(source.name).expanduser()
    files = [place] if place.is_file() else sorted(place.glob("*.safetensors"))
    for path in files:
        for name in _names(path):
            if _is_head(path, name, head):
                return {"path": str(path.resolve()), "tensor": name, "sha256": file_hash(path)}
    raise InputError(
        f"no file of {source.name!r} holds its head as it runs (a loaded model, one from the hub, "
        f"a head with a bias, or one that was converted): {_ADVICE}"
    )


def _names(path: Path) -> list[str]:
    """The tensors of a file that a head may be: its own, or the embedding that it is tied to."""
    if path.suffix == ".gguf":
        return ["output.weight", "token_embd.weight"]
    return list(open_any(path)[1])


def _is_head(path: Path, name: str, head: Head) -> bool:
    weight = _pointed(path, name, tuple(head.weight.shape))
    if weight is None or head.bias is not None:
        return False
    return torch.equal(weight.to(head.weight), head.weight)


def _pointed(path: Path, name: str, shape: tuple[int, ...]) -> Tensor | None:
    """The tensor of that name and shape, None where the file has none."""
    if path.suffix == ".gguf":
        return _from_gguf(path, name, shape)
    file, shapes = open_any(path)
    return file.get_tensor(name) if shapes.get(name) == shape else None


def _from_gguf(path: Path, name: str, shape: tuple[int, ...]) -> Tensor | None:
    try:
        from gguf import GGUFReader, quants
    except ImportError as error:
        raise MissingExtra("gguf", "models") from error
    # GGUF names the dimensions the other way around.
    for tensor in GGUFReader(path).tensors:
        if tensor.name == name and tuple(map(int, reversed(tensor.shape))) == shape:
            values = quants.dequantize(tensor.data, tensor.tensor_type)
            return torch.from_numpy(values).reshape(shape)
    return None


def read_head(folder: Path, manifest: Manifest) -> Head:
    """The head of a record in the dtype of its model.

    Raises `FileFormatError` where it is not what was recorded.
    """
    fields = Fields(manifest.head, f"the head of {str(folder)!r}")
    shape, dtype = (manifest.events, manifest.width), getattr(torch, manifest.model_dtype)
    if fields.one_of("where", ("stored", "pointer")) == "pointer":
        return Head(_follow(fields, shape).to(dtype), None, _after(fields))
    layout: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
        "weight": ((DTYPES[manifest.model_dtype],), shape)
    }
    if fields.one_of("bias", (True, False)):
        layout["bias"] = (layout["weight"][0], shape[:1])
    file = open_tensors(checked(folder, fields.stored()), layout)
    bias = file.get_tensor("bias") if "bias" in layout else None
    return Head(file.get_tensor("weight"), bias, _after(fields))


def _follow(fields: Fields, shape: tuple[int, ...]) -> Tensor:
    path, name = Path(fields.text("path")), fields.text("tensor")
    if path.suffix not in (".safetensors", ".gguf") or not path.is_file():
        raise FileFormatError(
            f"the record takes its head from {str(path)!r}, and there is no such file of weights: "
            "put it back, or record again without --head pointer"
        )
    if file_hash(path) != fields.text("sha256"):
        raise FileFormatError(
            f"the record takes its head from {str(path)!r}, which is no longer the file that was "
            "recorded (its hash differs): put that back, or record again"
        )
    weight = _pointed(path, name, shape)
    if weight is None:
        raise FileFormatError(
            f"{str(path)!r} has no tensor {name!r} of shape {list(shape)}: record again"
        )
    return weight


def _after(fields: Fields) -> tuple[str, float] | None:
    if fields.data.get("after") is None:
        return None
    after = fields.object("after")
    return after.one_of("setting", tuple(AFTER)), after.number("value")
