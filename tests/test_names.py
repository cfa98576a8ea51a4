"""Within quotation marks, tokens walk a trie of titles: whatever the logits, only titles that exist are named."""

import re

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from name_worlds import TITLES, byte_level, names_in, sentencepiece, write
from vectalk.decoding.names import RowNames, TitleNames, TokenBytes, constrain
from vectalk.decoding.names.titles import State

KINDS = {"byte level": byte_level, "sentencepiece": sentencepiece}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return KINDS[request.param]()


def titles_of(tokenizer: PreTrainedTokenizerFast, titles: list[str] = TITLES) -> TitleNames:
    tokens = TokenBytes.of(tokenizer)
    assert tokens is not None
    return TitleNames(titles, tokens)


# ---- bytes of tokens


def test_tokens_have_the_bytes_of_their_text(kind: PreTrainedTokenizerFast) -> None:
    tokens = TokenBytes.of(kind)
    assert tokens is not None
    assert tokens.has_bytes
    text = '“東京物語 (1953)” – "Ærø" 🏝'
    ids = kind(text, add_special_tokens=False).input_ids
    assert b"".join(tokens[token] for token in ids).removeprefix(b" ") == text.encode()
    assert tokens[kind.eos_token_id] == b""
    assert tokens[len(kind) + 5] == b""


def test_added_tokens_are_what_they_say() -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens(["Ġ“movie”"])
    tokens = TokenBytes.of(tokenizer)
    assert tokens is not None
    assert tokens[len(tokenizer) - 1] == "Ġ“movie”".encode()


def test_tokenizers_without_fixed_bytes_are_recognised() -> None:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    texts = ['Fans of "Heat (1995)", and of "Alien";\n3 of them: yes!', "Like “Alien (1979)” – or ‘It’."]
    tokenizer.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]"]))
    assert TokenBytes.of(PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")) is None


# ---- whatever the logits


@pytest.mark.parametrize("seed", range(8))
def test_random_logits_name_titles_only(kind: PreTrainedTokenizerFast, seed: int) -> None:
    text = write(kind, RowNames(titles_of(kind)), seed)
    named = names_in(text)
    assert len(named) == len(set(named)) >= 3


def test_all_titles_can_be_named(kind: PreTrainedTokenizerFast) -> None:
    named = names_in(write(kind, RowNames(titles_of(kind)), 0, steps=2000))
    assert sorted(named) == sorted(TITLES)  # each of them once; then no mark can be opened


@pytest.mark.parametrize("quotes", ['""', "“”"])
@pytest.mark.parametrize("title", TITLES)
def test_each_spelling_of_a_title_is_allowed(kind: PreTrainedTokenizerFast, title: str, quotes: str) -> None:
    names = titles_of(kind)
    state: State | None = State()
    for token in kind(f"Fans of {quotes[0]}{title}{quotes[1]}, too.", add_special_tokens=False).input_ids:
        assert state is not None
        choice = RowNames(names).choice(state)
        permitted = token in choice.ids if choice.only else token not in choice.ids
        assert permitted, kind.convert_ids_to_tokens(token)
        state = names.after(state, token)
    assert state is not None
    assert state.quote == -1
    assert [names.titles[place] for place in state.used] == [title]


def test_one_mark_may_close_and_go_on() -> None:
    """The token `",` closes a name, and a token such as `"A` opens one with its first letter."""
    tokenizer = byte_level(['"Alien", "Alien", "Alien",'] * 20, 320)
    tokens = TokenBytes.of(tokenizer)
    assert tokens is not None
    joined = [piece for piece in tokens.ids if b'"' in piece and len(piece) > 1]
    assert any(piece.startswith(b'"') for piece in joined)
    for seed in range(5):
        text = write(tokenizer, RowNames(titles_of(tokenizer)), seed)
        assert len(names_in(text)) >= 2


def test_names_that_tokens_cannot_spell_are_left_out() -> None:
    """Without a token for each byte, a name needs a token for each of its characters."""
    texts = [*TITLES[:5], 'Fans of "It (1995)", and of "Alien"; 3 of them: yes!', "Like “Alien (1979)” – or ‘It’."]
    tokenizer = sentencepiece(texts, fallback=False)
    names = titles_of(tokenizer)
    assert not names.tokens.has_bytes
    spelled = {TITLES[place] for place in names.tries[1].order}
    assert {"Alien (1979)", "It", '"Great Performances" Cats (1998)'} <= spelled
    assert not {"東京物語 (1953)", "Ærø & Łódź", "Сталкер (1979)"} & spelled
    for seed in range(4):
        assert set(names_in(write(tokenizer, RowNames(names), seed))) <= spelled


# ---- what may be named


def test_titles_below_the_excluded_are_dead_ends(kind: PreTrainedTokenizerFast) -> None:
    names = titles_of(kind)
    excluded = [n for n, title in enumerate(TITLES) if title not in ("Aliens", "Heat (1995)")]
    for seed in range(3):
        named = names_in(write(kind, RowNames(names, excluded=excluded), seed, steps=400))
        assert sorted(named) == ["Aliens", "Heat (1995)"]


def test_outside_of_quotation_marks_nothing_looks_like_a_name(kind: PreTrainedTokenizerFast) -> None:
    """After a closing mark, no other title goes on: no closing mark without an opening one, and no year in brackets."""
    names, rng = titles_of(kind), np.random.default_rng(2)
    likely = [n for n, piece in enumerate(names.tokens.pieces) if piece and set(piece) & {*b"(0123456789)", 0x9D}]
    for _ in range(4):
        row, ids = RowNames(names), []
        for _ in range(300):
            logits = torch.from_numpy(rng.standard_normal((1, len(kind))))
            logits[0, likely] += 4.0
            logits[0, kind.eos_token_id] = -torch.inf
            constrain(logits, [row])
            ids.append(int(logits.argmax()))
            row.advance(ids[-1])
        outside = str(kind.decode(ids))
        for title in names_in(outside):
            outside = outside.replace(f'"{title}"', "").replace(f"“{title}”", "")
        outside = re.split('["“]', outside)[0]  # the last name may lack its end
        assert "(" in outside
        assert "”" not in outside
        assert not re.search(r"\(\d{4}\)", outside)


def test_without_years_in_titles_years_in_brackets_are_free(kind: PreTrainedTokenizerFast) -> None:
    text = "Made long ago (1979)."
    for titles, allowed in ((["Alien", "Heat"], True), (["Alien (1979)", "Heat (1995)"], False)):
        names, state = titles_of(kind, titles), State()
        for token in kind(text, add_special_tokens=False).input_ids:
            state = state and names.after(state, token)
        assert (state is not None) == allowed


def test_without_titles_no_mark_is_opened(kind: PreTrainedTokenizerFast) -> None:
    for titles, excluded in (([], []), (TITLES, range(len(TITLES)))):
        text = write(kind, RowNames(titles_of(kind, titles), excluded=excluded), 1)
        assert '"' not in text
        assert "“" not in text


def test_a_large_weight_names_the_most_similar_titles_in_their_order(kind: PreTrainedTokenizerFast) -> None:
    names = titles_of(kind)
    scores = np.random.default_rng(3).standard_normal(len(TITLES)).astype(np.float32)
    named = names_in(write(kind, RowNames(names, scores, weight=1e4), 5))
    best = [TITLES[place] for place in np.argsort(-scores)]
    assert len(named) >= 3
    assert named == best[: len(named)]


def test_gains_add_up_to_the_score_of_the_title(kind: PreTrainedTokenizerFast) -> None:
    names = titles_of(kind)
    scores = np.linspace(0.1, 0.9, len(TITLES)).astype(np.float32)
    for place, title in enumerate(TITLES):
        row, gained = RowNames(names, scores, weight=2.0), 0.0
        for token in kind(f"“{title}” is it", add_special_tokens=False).input_ids:
            choice = row.choice(row.state)
            gained += float(choice.gains[choice.ids == token].sum())
            row.advance(token)
        assert gained == pytest.approx(2 * (scores[place] - scores.max()), abs=1e-5)


def test_rows_of_a_batch_do_not_touch_each_other(kind: PreTrainedTokenizerFast) -> None:
    names, rng = titles_of(kind), np.random.default_rng(0)
    scores = rng.standard_normal((6, len(TITLES)))
    together = [None if n == 2 else RowNames(names, scores[n], 1.0) for n in range(6)]
    alone = [None if n == 2 else RowNames(names, scores[n], 1.0) for n in range(6)]
    for _ in range(60):
        logits = torch.from_numpy(rng.standard_normal((6, len(kind)))).float()
        logits[:, kind.eos_token_id] = -torch.inf
        single = [logits[n : n + 1].clone() for n in range(6)]
        before = logits[2].clone()
        constrain(logits, together)
        assert torch.equal(logits[2], before)
        for n in range(6):
            constrain(single[n], [alone[n]])
            assert torch.equal(single[n][0], logits[n])
            token = int(logits[n].argmax())
            for row in (together[n], alone[n]):
                if row is not None:
                    row.advance(token)


def test_a_ban_on_repetition_does_not_break_a_name(kind: PreTrainedTokenizerFast) -> None:
    """Where all tokens that continue a name are banned, one of them follows nevertheless."""
    row = RowNames(titles_of(kind))
    for token in kind("“Heat", add_special_tokens=False).input_ids:
        row.advance(token)
    logits = torch.full((1, len(kind)), -torch.inf)
    constrain(logits, [row])
    allowed = row.choice(row.state).ids
    assert int(logits.argmax()) in allowed
    assert int(torch.isfinite(logits).sum()) == len(allowed)


def test_a_forbidden_token_is_recognised(kind: PreTrainedTokenizerFast) -> None:
    names = titles_of(kind)
    state: State | None = State()
    for token in kind("“Zardoz", add_special_tokens=False).input_ids:
        state = state and names.after(state, token)
    assert state is None
