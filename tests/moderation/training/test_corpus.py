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
from training.queries import load_yaml
from training.sources import BLIND, LICENCES, Row, plain, read_source
from training.split import VALIDATION, split

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


def test_no_text_of_the_validation_sources_is_in_their_training(rows: list[Row]) -> None:
    kept, held = split(rows)
    assert {row.source for row in held} >= set(VALIDATION)
    hidden = {plain(text) for row in held for text in (*row.turns, row.question)}
    trained = _texts(make_pool(kept, held))
    assert not {text for text in hidden & trained if len(text) >= SHORTEST_HIDDEN}


def test_the_readers_lists_name_rows_that_exist_and_each_once(rows: list[Row]) -> None:
    ids = {row.id for row in rows if row.source in {"cosafe", "hh_rlhf_harmless"}}
    for name, lists in load_yaml("cosafe.yaml").items():
        numbers = [n for each in lists.values() if isinstance(each, list) for n in each]
        assert len(numbers) == len(set(numbers))
        assert all(f"{name}-{number:03d}" in ids for number in numbers)
    sorted_ = [n for name in ("harmful", "harmless", "support") for n in load_yaml("hh.yaml")[name]]
    assert len(sorted_) == len(set(sorted_))
    assert all(f"hh_harmless-{number:04d}" in ids for number in sorted_)


def test_the_measured_padding_is_in_no_training_text(pool: Pool) -> None:
    measured = set(load_yaml("padding.yaml")["measuring"])
    made = encoder_examples(pool, scale=0.1, chance=random.Random(0))
    assert not [line for line in measured for example in made if line in example.text]


def test_the_rows_that_languages_are_measured_by_are_not_trained_on(rows: list[Row], pool: Pool) -> None:
    foreign = [row for row in rows if row.source == "cyber_frr" and row.language != "en"]
    known = _texts(pool)
    assert not {plain(text) for row in foreign for text in (row.text, row.question)} & known


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
    sourced = [d for d in made if d.source in {"contrast", "everyday", *LICENCES}]
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
