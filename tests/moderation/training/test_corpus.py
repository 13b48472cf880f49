import random
from pathlib import Path

import pytest
from training.corpus import (
    SHORTEST_HIDDEN,
    Pool,
    Share,
    encoder_examples,
    head_dialogues,
    make_pool,
    share_of,
)
from training.sources import BLIND, LICENCES, Row, plain, read_source
from training.split import FOLDS, split

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rows(data: Path) -> list[Row]:
    return [row for source in LICENCES for row in read_source(data, source)]


@pytest.fixture(scope="module")
def blind(data: Path) -> list[Row]:
    return [row for source in BLIND for row in read_source(data, source)]


@pytest.fixture(scope="module")
def pool(rows: list[Row], blind: list[Row]) -> Pool:
    return make_pool(rows, blind)


def _texts(pool: Pool) -> set[str]:
    queries = {plain(query.text) for query in (*pool.harmful, *pool.harmless, *pool.advice)}
    return queries | {
        plain(text) for row in (*pool.natural, *pool.attacks, *pool.loose) for text in row.turns
    }


def test_every_source_is_held_out_as_a_whole_once(rows: list[Row]) -> None:
    held = [id(row) for fold in "ABCD" for row in split(rows, fold)[1]]
    assert not {row.part for row in rows} - {row.part for fold in "ABCD" for row in split(rows, fold)[1]}
    assert len(held) == len(rows)


@pytest.mark.parametrize("fold", FOLDS)
def test_no_text_of_a_fold_is_in_its_training(rows: list[Row], fold: str) -> None:
    kept, held = split(rows, fold)
    hidden = {plain(text) for row in held for text in (*row.turns, row.question)}
    trained = _texts(make_pool(kept, held))
    assert not {text for text in hidden & trained if len(text) >= SHORTEST_HIDDEN}


def test_red_queen_is_halved_by_template(rows: list[Row]) -> None:
    kept, held = ({row.part for row in part if row.source == "red_queen"} for part in split(rows, "E"))
    assert len(held) == 5
    assert len(kept - {"red_queen direct"}) == 5
    assert not kept & held


def test_no_text_of_a_blind_source_is_trained_on(pool: Pool, blind: list[Row]) -> None:
    hidden = {plain(row.text) for row in blind}
    made = {plain(example.text) for example in encoder_examples(pool, scale=0.2, chance=random.Random(0))}
    known = hidden & (made | _texts(pool))
    assert max(map(len, known), default=0) < SHORTEST_HIDDEN


def test_a_group_has_one_use(pool: Pool) -> None:
    parts = [pool.part([share]) for share in Share]
    groups = [{query.group for query in (*part.harmful, *part.harmless)} for part in parts]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    assert sum(len(part.harmful) for part in parts) == len(pool.harmful)
    assert 0.7 < len(parts[0].harmful) / len(pool.harmful) < 0.8


def test_what_is_made_for_a_share_belongs_to_it(pool: Pool) -> None:
    part = pool.part([Share.CALIBRATION])
    made = head_dialogues(part, scale=0.05, chance=random.Random(1))
    sourced = [dialogue for dialogue in made if dialogue.source in {"contrast", "everyday", *LICENCES}]
    assert {share_of(dialogue.group) for dialogue in sourced} == {Share.CALIBRATION}


def test_a_seed_gives_the_same_texts(pool: Pool) -> None:
    one, other = (encoder_examples(pool, scale=0.02, chance=random.Random("0:1")) for _ in range(2))
    assert one == other
    assert one != encoder_examples(pool, scale=0.02, chance=random.Random("0:2"))


def test_classes_do_not_differ_in_length(pool: Pool) -> None:
    made = [d for d in head_dialogues(pool, scale=0.15, chance=random.Random(0)) if d.form == "built"]
    lengths = {harm: [len(d.turns) for d in made if (d.harmful > 0.5) is harm] for harm in (True, False)}
    means = {harm: sum(found) / len(found) for harm, found in lengths.items()}
    assert min(map(len, lengths.values())) > 50
    assert abs(means[True] - means[False]) < 0.8
