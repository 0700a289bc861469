"""Vocabularies and tokenizers: what they make of texts, their files, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pydl import Error
from pydl.text import BytePairs, Characters, Vocabulary, Words

TEXT = "The cat sat on the mat, and the dog (Rex) didn't. What's next?\n"


# ---- vocabularies ----
def test_the_most_frequent_come_first():
    words = Vocabulary.count(["b", "c", "b", "a", "c", "b"])
    assert words.tokens == ("<unk>", "b", "c", "a")
    assert words.encode(["b", "x", "a"]).tolist() == [1, 0, 3]
    assert words.decode([3, 1]) == ["a", "b"]
    assert "c" in words and "x" not in words and len(words) == 4


def test_equally_frequent_ones_are_in_order():
    assert Vocabulary.count(["b", "a", "d", "c"], special=()).tokens == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("limits", "kept"),
    [({"size": 2}, ("b",)), ({"least": 2}, ("b", "c")), ({"least": 2, "size": 2}, ("b",))],
)
def test_limits(limits, kept):
    assert Vocabulary.count(["b", "c", "b", "a", "c", "b"], **limits).tokens == ("<unk>", *kept)


def test_a_vocabulary_shows_its_tokens():
    words = Vocabulary("abcdef")
    assert list(words) == list("abcdef")
    assert repr(words) == "<Vocabulary of 6 tokens: 'a', 'b', 'c', 'd', 'e', ...>"
    assert words.decode(iter([1, 2])) == ["b", "c"]


def test_special_tokens_keep_their_numbers():
    special = ("<pad>", "<unk>", "<end>")
    words = Vocabulary.count(["<end>", "a"], special=special)
    assert words.tokens == (*special, "a") and words.unknown == "<unk>"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Vocabulary([]), "needs at least one token"),
        (lambda: Vocabulary.count([]), "needs tokens to count, but there are none"),
        (lambda: Vocabulary.count("aab", least=3), "there are none, none of 2 3 times"),
        (lambda: Vocabulary(["a", "b", "a"]), "each token once, got 'a' 2 times"),
        (lambda: Vocabulary(["a"], unknown="b"), "unknown='b' is not one of the tokens"),
        (lambda: Vocabulary.count(["a", "b"], size=1), "size 1 leaves no room"),
        (lambda: Vocabulary(["apple"]).encode(["aple"]), "'aple' is not .* nearest is 'apple'"),
        (lambda: Vocabulary(["a", "b"]).decode([0, 2]), "2 is no token's number: there are 0 to 1"),
        (lambda: Vocabulary(["a", "b"]).decode([-1]), "-1 is no token's number"),
        (lambda: Vocabulary(["a", "b"]).decode(1), "numbers of one text, a sequence, not 1"),
        (lambda: Vocabulary(["a", "b"]).decode([[1]]), "numbers of one text"),
        (lambda: Words.fit(["a", "b"]), r"fit takes texts, .*, not a list"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(Error, match=message):
        make()


@settings(max_examples=30, deadline=None)
@given(st.sets(st.text(min_size=0, max_size=6), min_size=1, max_size=12))
def test_files_hold_any_tokens(tmp_path_factory, tokens):
    path = tmp_path_factory.getbasetemp() / "vocabulary.txt"
    tokens = [token for token in tokens if token.isprintable() or set(token) <= set("\n\t\r\\ ")]
    if not tokens:
        return
    Vocabulary(tokens).save(path)
    assert Vocabulary.load(path).tokens == tuple(tokens)


def test_files_of_others_are_read(tmp_path):
    (tmp_path / "words.txt").write_text("<unk>\nthe\ncat")
    words = Vocabulary.load(tmp_path / "words.txt")
    assert words.tokens == ("<unk>", "the", "cat") and words.number("dog") == 0


def test_bad_files_are_named(tmp_path):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "twice.txt").write_text("a\na\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    for name, message in (("empty", "at least one"), ("twice", "each token once"),
                          ("bytes", "cannot be read"), ("missing", "cannot be read")):  # fmt: skip
        with pytest.raises(Error, match=f"{name}.txt: .*{message}"):
            Vocabulary.load(tmp_path / f"{name}.txt")


# ---- tokenizers ----
def test_characters_give_the_text_back():
    tokens = Characters.fit(TEXT)
    assert tokens.decode(tokens.encode(TEXT)) == TEXT
    assert len(tokens) == len(set(TEXT))
    with pytest.raises(Error, match="'Z' is not in this vocabulary"):
        tokens.encode("Zoo")


def test_characters_may_have_unknown_ones():
    tokens = Characters.fit("abc", special=("<unk>",))
    assert tokens.encode("abz").tolist() == [1, 2, 0]


def test_words():
    spaced = "the cat sat on the mat , and the dog ( rex ) didn't . what's next ?"
    assert Words.split(TEXT) == spaced.split(" ")
    tokens = Words.fit(TEXT)
    again = "the cat sat on the mat, and the dog (rex) didn't. what's next?"
    assert tokens.decode(tokens.encode(TEXT)) == again
    assert tokens.decode(tokens.encode("the zebra")) == "the <unk>"
    assert tokens.encode("<unk>").tolist() == [0]
    assert Words.split("<s> one <end>") == ["<s>", "one", "<end>"]


@pytest.mark.parametrize("kind", [Characters, Words])
def test_saved_tokenizers_are_the_same(kind, tmp_path):
    tokens = kind.fit(TEXT)
    tokens.save(tmp_path / "vocabulary.txt")
    again = kind.load(tmp_path / "vocabulary.txt")
    assert np.array_equal(again.encode(TEXT), tokens.encode(TEXT))


def test_texts_without_tokens_are_refused():
    for kind in (Characters, Words):
        with pytest.raises(Error, match="needs tokens to count"):
            kind.fit("")


# ---- byte pairs ----
@pytest.fixture
def pairs():
    pytest.importorskip("tokenizers", reason="the extra text is not installed")
    return BytePairs.fit(TEXT * 5, size=300, special=["<end>"])


def test_byte_pairs_give_any_text_back(pairs):
    for text in (TEXT, "  spaces\n\n and\ttabs ", "Ünknown 漢字 🙂"):
        assert pairs.decode(pairs.encode(text)) == text
    assert len(pairs.encode(TEXT)) < len(TEXT) and len(pairs) <= 300


def test_byte_pairs_have_special_tokens(pairs):
    end = pairs.number("<end>")
    assert pairs.encode("a<end>")[-1] == end
    with pytest.raises(Error, match="'<start>' is not one of the tokens"):
        pairs.number("<start>")


def test_byte_pairs_are_saved(pairs, tmp_path):
    pairs.save(tmp_path / "pairs.json")
    assert np.array_equal(BytePairs.load(tmp_path / "pairs.json").encode(TEXT), pairs.encode(TEXT))


def test_byte_pairs_refuse(pairs, tmp_path):
    (tmp_path / "bad.json").write_text("{")
    for make, message in (
        (lambda: BytePairs.fit(TEXT, size=100), "size 100 is too small for the 256 bytes"),
        (lambda: BytePairs.load(tmp_path / "bad.json"), "bad.json: is no tokenizer's file"),
        (lambda: pairs.decode([10_000]), "10000 is no token's number"),
    ):
        with pytest.raises(Error, match=message):
            make()
