"""Which module loses how much: the candidate's modules in the reference, one at a time.

The models may differ in weights only: one is the other quantised, pruned or fine-tuned.
`modules` finds what can be exchanged, `units` groups it, `swapping` exchanges it, `passes` runs
no more layers than an exchange changes, and `fold` makes intervals of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kullback.errors import InputError

if TYPE_CHECKING:
    import torch

    from kullback.compare.documents import Splitting, Text
    from kullback.compare.layers.record import LayerEffects
    from kullback.compare.readers.hugging_face import HuggingFaceModel

__all__ = ["layer_effects"]


def layer_effects(
    reference: Any,
    candidate: Any = None,
    *,
    text: Text | None = None,
    by: str = "modules",
    leave_one_out: bool = False,
    documents: Splitting | None = None,
    context: int | None = None,
    warmup: int | None = None,
    max_tokens: int | None = None,
    batch: int | None = None,
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    quantize: str | None = None,
    tokenizer: Any = None,
    confidence: float = 0.95,
    progress: Callable[[int, int], None] | None = None,
) -> LayerEffects:
    """KL(reference‖reference with one module of the candidate) for each module, in nats a position.

    A module that is equal in both models is not run, and its effect is exactly 0.

    Args:
        reference: a model, of the kinds that `kullback.compare.compare` takes; files of logits
            are none.
        candidate: a model with modules of the same names and shapes, or None with `quantize`.
        text: a string, a `pathlib.Path`, or a sequence of these.
        by: what is exchanged at once: "modules" (attention, MLP and norms of each layer, and
            what stands around the layers), whole "layers", or "kinds" over all layers.
        leave_one_out: also put each module of the reference into the candidate, which says
            what repairing that one alone would save.
        documents: how an item of text splits, as for `compare`.
        context: tokens of a window, by default 512.
        warmup: the first so many predictions of a window do not count, by default 256.
        max_tokens: stop after so many, in whole windows.
        batch: windows to run at once; by default 1 on a CPU and 8 on a GPU.
        device: where to run the models; by default the best there is.
        dtype: by default the checkpoint's own, float32 for GGUF.
        quantize: "int8" or "int4": make the candidate from the reference.
        tokenizer: for models that are passed without one; it serves both sides.
        confidence: of the intervals.
        progress: called as `progress(done, total)`, in positions times mixtures.

    Raises:
        ComparisonError: the models are not of one architecture, or differ in their settings and
            not only in weights; the text is too short.
        InputError: an option is out of range, or a side is no model.
        NonFiniteError: logits are NaN, naming the mixture.
        MissingExtra: Transformers is not installed.

    Example:
        >>> import torch
        >>> from tokenizers import Tokenizer, models, pre_tokenizers
        >>> from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
        >>> digits = Tokenizer(models.WordLevel({str(n): n for n in range(10)}, unk_token="0"))
        >>> digits.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> tokenizer = PreTrainedTokenizerFast(tokenizer_object=digits, unk_token="0")
        >>> sizes = {"n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16, "vocab_size": 10}
        >>> config = GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)
        >>> reference, candidate = GPT2LMHeadModel(config), GPT2LMHeadModel(config)
        >>> keys = candidate.load_state_dict(reference.state_dict())
        >>> with torch.no_grad():
        ...     weight = candidate.transformer.h[1].mlp.c_fc.weight.mul_(1.5)
        >>> text = "3 1 4 1 5 9 2 6 5 3 5 8 9 7 9 3"
        >>> found = layer_effects(
        ...     reference, candidate, text=text, tokenizer=tokenizer, context=8, warmup=2
        ... )
        >>> found.ranked()[0].name
        'layer 1 MLP'
    """
    from kullback.compare.beforehand import Cut, read_text
    from kullback.compare.intervals import check_confidence
    from kullback.compare.layers.measure import measure
    from kullback.compare.layers.modules import check_alike
    from kullback.compare.layers.units import GROUPINGS

    check_confidence(confidence)
    if by not in GROUPINGS:
        raise InputError(f"by={by!r}: choose one of {', '.join(GROUPINGS)}")
    if batch is not None and batch < 1:
        raise InputError(f"batch={batch}: at least one window goes through at a time")
    options = {"tokenizer": tokenizer, "device": device, "dtype": dtype}
    sizes = Cut.of(documents, context, warmup, as_llama_cpp=False)
    read = read_text(text, sizes)
    p, q = _models(reference, candidate, quantize, options)
    check_alike(p.model, q.model)
    return measure(
        p,
        q,
        read,
        sizes,
        max_tokens=max_tokens,
        by=by,
        leave_one_out=leave_one_out,
        batch=batch or (1 if p.model.device.type == "cpu" else 8),
        confidence=confidence,
        progress=progress,
    )


def _models(
    reference: Any, candidate: Any, quantize: str | None, options: dict[str, Any]
) -> tuple[HuggingFaceModel, HuggingFaceModel]:
    from kullback.compare.quantize import quantized
    from kullback.compare.readers import open_source
    from kullback.compare.readers.hugging_face import HuggingFaceModel

    if (candidate is None) == (quantize is None):
        raise InputError("give either a candidate or quantize=, and not both")

    def opened(thing: Any) -> HuggingFaceModel:
        source = open_source(thing, **options)
        if isinstance(source, HuggingFaceModel):
            return source
        raise InputError(
            f"{source.name!r} is a file of logits, which has no modules to exchange: give the "
            "model that wrote it"
        )

    p = opened(reference)
    return p, quantized(p, quantize) if quantize is not None else opened(candidate)
