"""`explain`: contributions add up, the order is right, the words say which way it blows up."""

import json
import math

import pytest
import torch
from rich.console import Console

import kullback as kl
from kullback.errors import ShapeError

P = torch.tensor([0.7, 0.2, 0.1])
Q = torch.tensor([0.2, 0.2, 0.6])
LABELS = ["yes", "no", "maybe"]


@pytest.mark.parametrize("space", ["probs", "logits"])
def test_contributions_add_up_and_are_never_negative(space):
    generator = torch.Generator().manual_seed(0)
    p, q = (torch.randn(1000, generator=generator) for _ in range(2))
    if space == "probs":
        p, q = p.softmax(-1), q.softmax(-1)
    found = kl.explain(p, q, space=space, top=7)
    assert (found.contributions >= 0).all()
    assert found.contributions.sum().item() == pytest.approx(found.kl, rel=1e-6)
    shown = sum(event.contribution for event in found.events)
    assert shown + found.rest == pytest.approx(found.kl, rel=1e-6)
    assert found.kl == pytest.approx(kl.kl_divergence(p, q, space=space).item(), rel=1e-6)
    assert found.reverse_kl == pytest.approx(kl.kl_divergence(q, p, space=space).item(), rel=1e-6)
    sizes = [event.contribution for event in found.events]
    assert len(sizes) == 7
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == found.contributions.max()


def test_the_table_reads_as_it_should():
    found = kl.explain(P, Q, labels=LABELS)
    first = found.events[0]
    assert (first.label, first.index) == ("yes", 0)
    assert first.log_ratio == pytest.approx(math.log(3.5), rel=1e-6)
    assert first.contribution == pytest.approx(0.7 * math.log(3.5) - 0.5, rel=1e-5)
    assert sum(event.share for event in found.events) == pytest.approx(1, rel=1e-6)
    text = str(found)
    for word in ("yes", "no", "maybe", "contribution", "finite"):
        assert word in text


def test_it_says_which_direction_is_infinite_and_why():
    found = kl.explain(torch.tensor([0.6, 0.4]), torch.tensor([1.0, 0.0]), labels=["in", "out"])
    assert found.kl == math.inf
    assert found.missed == pytest.approx(0.4)
    assert "KL(p‖q) is infinite: q excludes 1 event(s)" in found.verdict
    assert "'out'" in found.verdict
    assert "KL(q‖p) = 0.5108 is finite" in found.verdict
    assert math.isnan(found.events[0].share)


def test_events_that_q_almost_misses_are_counted():
    found = kl.explain(torch.tensor([0.5, 0.5]), torch.tensor([1 - 1e-5, 1e-5]))
    assert found.nearly_missed == pytest.approx(0.5)
    assert "almost nothing" in found.verdict
    other = kl.explain(torch.tensor([1.0, 0.0]), torch.tensor([0.75, 0.25]))
    assert (other.missed, other.invented) == (0, 0.25)


def test_labels_that_look_like_markup_are_printed_as_they_are():
    text = str(kl.explain(P, Q, labels=["[/INST]", "[bold]", "[/x]"]))
    for label in ("[/INST]", "[bold]", "[/x]"):
        assert label in text


def test_equal_sides():
    found = kl.explain(P, P)
    assert found.verdict == "p and q are equal."
    assert found.kl == found.rest == 0


def test_it_hands_itself_on():
    found = kl.explain(P, Q, labels=LABELS, top=2)
    plain = json.loads(json.dumps(found.to_dict()))
    assert [event["label"] for event in plain["events"]] == ["yes", "maybe"]
    frame = found.to_dataframe()
    assert list(frame["label"]) == ["yes", "maybe"]
    assert frame.loc[0, "contribution"] == plain["events"][0]["contribution"]
    console = Console(width=80)
    with console.capture() as capture:
        console.print(found)
    assert "1 more" in capture.get()


def test_refusals():
    with pytest.raises(ShapeError, match="one row"):
        kl.explain(P.expand(2, 3), Q)
    with pytest.raises(ShapeError, match="2 labels for 3 events"):
        kl.explain(P, Q, labels=["a", "b"])
