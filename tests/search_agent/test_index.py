"""The index against plain numpy: what is found, what may not be found, what goes, what is kept, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_agent import approximate as codes
from search_agent import budget as budgets
from search_agent import distances, exact, index_files
from search_agent import index as index_module
from search_agent.distances import METRICS, Metric
from search_agent.held_out import Measured, near_queries
from search_agent.index import Budget, LatentIndex, Neighbours, build, open_index
from search_agent.native import library
from search_agent.segments import Segment, Segments

APPROXIMATE = Budget(latency_ms=1000, kind="approximate")


def walks(lengths: tuple[int, ...], dims: int = 64, seed: int = 0) -> list[tuple[str, np.ndarray]]:
    """Demonstrations in four places, each a walk that is drawn back to its place: (T, dims) float16."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((16, dims)) * (np.arange(1, 17) ** -0.5)[:, None]
    places = rng.standard_normal((4, 16))
    made = []
    for number, length in enumerate(lengths):
        walk, away = np.empty((length, 16)), rng.standard_normal(16)
        for frame in range(length):
            walk[frame] = places[number % 4] + away
            away = 0.97 * away + 0.24 * rng.standard_normal(16)
        latents = walk @ directions + 0.05 * rng.standard_normal((length, dims))
        made.append((f"demo{number}", latents.astype(np.float16)))
    return made


def plainly(
    sources: Sequence[tuple[str, np.ndarray]], query: np.ndarray, metric: Metric, without: Sequence[int] = ()
) -> np.ndarray:
    """Every row's distance, in plain numpy: infinite for the segments left out."""
    a = np.concatenate([latents for _, latents in sources]).astype(np.float64)
    b = query.astype(np.float64)
    if metric == "l1":
        far = np.abs(a - b).mean(1)
    elif metric == "l2":
        far = np.sqrt(((a - b) ** 2).sum(1))
    else:
        far = 1 - a @ b / (np.linalg.norm(a, axis=1) * np.linalg.norm(b))
    ends = np.cumsum([len(latents) for _, latents in sources])
    for number in without:
        far[ends[number] - len(sources[number][1]) : ends[number]] = np.inf
    return far


def flat_of(index: LatentIndex, found: Neighbours) -> np.ndarray:
    return index.segments.offsets[found.segments] + found.rows


@pytest.fixture
def all_approximate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small approximate indexes search their codes, too."""
    pytest.importorskip("faiss")
    monkeypatch.setattr(index_module, "_FEW_ROWS", 0)


@pytest.fixture(params=["compiled", "torch"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "torch":
        monkeypatch.setattr(distances, "library", lambda: None)
    elif library() is None:
        pytest.skip("no C compiler here")


# -- exact search ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dims", [64, 40, 7])
def test_exact_search_finds_what_plain_numpy_finds(both_ways: None, metric: Metric, dims: int) -> None:
    sources = walks((700, 1, 300, 999), dims)
    index = build(sources, metric, Budget(kind="exact"))
    for query in near_queries(index.segments, 10, np.random.default_rng(1)):
        far = plainly(sources, query, metric)
        found = index.search(query, k=7)
        np.testing.assert_array_equal(flat_of(index, found), np.lexsort((np.arange(len(far)), far))[:7])
        np.testing.assert_allclose(found.distances, np.sort(far)[:7], rtol=1e-12, atol=1e-12)
        first = int(found.segments[0]), int(found.rows[0])
        assert index.distance(query, *first) == pytest.approx(found.distances[0], rel=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_of_equally_near_rows_the_first_ones_come(both_ways: None, metric: Metric) -> None:
    rng = np.random.default_rng(0)
    row, rest = rng.standard_normal((1, 32)), rng.standard_normal((3000, 32)) + 5
    rest[[7, 2900]] = row
    sources = [("a", rest.astype(np.float16)), ("b", np.repeat(row, 50, 0).astype(np.float16))]
    found = build(sources, metric, Budget(kind="exact")).search(row[0], k=5)
    assert list(zip(found.segments, found.rows, strict=True)) == [(0, 7), (0, 2900), (1, 0), (1, 1), (1, 2)]


@pytest.mark.parametrize("metric", METRICS)
def test_the_threads_find_the_same(metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "BLOCK", 64)
    segments = Segments([Segment(name, latents) for name, latents in walks((500, 300, 800))])
    queries = near_queries(segments, 8, np.random.default_rng(1))
    for one, many in zip(*(exact.nearest(segments, queries, 5, metric, threads=n) for n in (1, 4)), strict=True):
        np.testing.assert_array_equal(one[0], many[0])
        np.testing.assert_array_equal(one[1], many[1])


def test_segments_and_rows_can_be_left_out(both_ways: None) -> None:
    sources = walks((400, 300, 500))
    index = build(sources)
    query = sources[1][1][100].astype(np.float32)
    assert flat_of(index, index.search(query)) == [500]
    far = plainly(sources, query, "l1", without=[1])
    assert flat_of(index, index.search(query, without_segments=[1])) == [far.argmin()]
    mask = np.zeros(1200, bool)
    mask[490:510] = True
    far = plainly(sources, query, "l1")
    far[490:510] = np.inf
    expected = np.lexsort((np.arange(1200), far))[:5]
    np.testing.assert_array_equal(flat_of(index, index.search(query, 5, without_rows=mask)), expected)
    np.testing.assert_array_equal(flat_of(index, index.search(query, 5, without_rows=[(490, 510)])), expected)
    only = index.search(query, 9, without_segments=[0, 2], without_rows=[(400, 697)])
    assert sorted(only.rows) == [297, 298, 299] and set(only.segments) == {1}
    assert len(index.search(query, without_segments=[0, 1, 2])) == 0


def test_rows_that_are_no_numbers_are_never_found(both_ways: None) -> None:
    (name, latents), *_ = walks((300,))
    latents = latents.copy()
    latents[10], latents[20, 3], latents[30] = np.nan, np.inf, 0
    for metric in METRICS:
        found = build([(name, latents)], metric).search(latents[11].astype(np.float32), 400)
        assert len(found) == 298 and not {10, 20} & set(found.rows) and np.isfinite(found.distances).all()


def test_exact_search_needs_no_faiss() -> None:
    program = (
        "import sys; sys.modules['faiss'] = None\n"
        "import numpy as np\n"
        "from search_agent.index import Budget, build\n"
        "index = build([('a', np.eye(3000, 8, dtype=np.float16))], budget=Budget(latency_ms=1e-9))\n"
        "assert index.search(np.eye(8)[5]).rows[0] == 5\n"
        "print(index.report())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "pip install faiss-cpu" in done.stdout


# -- approximate search ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_approximate_search_finds_nearly_all(all_approximate: None, metric: Metric) -> None:
    sources = walks((1500,) * 8)
    index = build(sources, metric, APPROXIMATE)
    assert index.about.kind == "approximate (sq8)"
    queries = near_queries(index.segments, 100, np.random.default_rng(9))
    truth = [plainly(sources, query, metric) for query in queries]
    found = [index.search(query, k=3) for query in queries]
    hits = [flat_of(index, one)[0] == far.argmin() for one, far in zip(found, truth, strict=True)]
    assert np.mean(hits) >= 0.95
    for one, far in zip(found, truth, strict=True):  # whatever is found has its exact distance
        np.testing.assert_allclose(one.distances, far[flat_of(index, one)], rtol=1e-9, atol=1e-9)
        assert (np.diff(one.distances) >= 0).all()
    for kind in ("near", "other play"):
        assert index.about.recall[kind]["recall"] >= 0.95 and f"{kind}: recall@1" in index.report()


def test_measured_recall_tells_a_bad_index(all_approximate: None) -> None:
    index = build(walks((1500,) * 8), "l1", APPROXIMATE)
    index.about = replace(index.about, probes=1, depth=1)
    assert index.measured().about.recall["other play"]["recall"] < 0.6


def test_approximate_search_leaves_out_what_it_is_told(all_approximate: None) -> None:
    sources = walks((1500,) * 8)
    index = build(sources, "l1", APPROXIMATE)
    queries = near_queries(index.segments, 40, np.random.default_rng(3))
    hits = []
    for query in queries:
        gone = [0, 2, 5]
        hits.append(
            flat_of(index, index.search(query, without_segments=gone))[0]
            == plainly(sources, query, "l1", gone).argmin()
        )
        found = index.search(query, 20, without_segments=range(7), without_rows=[(10500, 11990)])
        assert set(found.segments) == {7} and sorted(found.rows) == list(range(1490, 1500))  # all ten that are left
    assert np.mean(hits) >= 0.9


def test_where_few_rows_are_allowed_all_of_them_are_compared(
    all_approximate: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "_FEW_ROWS", 2000)
    sources = walks((1500,) * 6)
    index = build(sources, "l1", APPROXIMATE)
    index.about = replace(index.about, probes=1, depth=1)
    for query in near_queries(index.segments, 40, np.random.default_rng(3)):
        others = [0, 1, 2, 4, 5]
        assert flat_of(index, index.search(query, without_segments=others)) == [
            plainly(sources, query, "l1", others).argmin()
        ]


@pytest.mark.parametrize(("code", "dims"), [("sq4", 64), ("pq64", 16)])
def test_a_small_memory_gets_small_codes(all_approximate: None, code: str, dims: int) -> None:
    needed = codes.bytes_needed(9000, dims, code) / 1e9
    index = build(walks((1500,) * 6, dims), "l1", replace(APPROXIMATE, memory_gb=needed))
    assert index.about.code == code
    assert min(found["recall"] for found in index.about.recall.values()) >= 0.9


def test_what_is_removed_is_gone_and_the_rest_stays_found(all_approximate: None) -> None:
    sources = walks((1500,) * 8)
    index = build(sources, "l1", APPROXIMATE)
    for name in ("demo2", "demo0", "demo7"):
        index.remove(name)
    rest = [source for source in sources if source[0] not in ("demo2", "demo0", "demo7")]
    assert index.names == [name for name, _ in rest] and len(index) == 7500
    own = index._approximate
    assert own is not None
    lists = own._lists.invlists
    sizes = [lists.list_size(number) for number in range(own.lists)]
    held = [codes.faiss.rev_swig_ptr(lists.get_ids(n), size) for n, size in enumerate(sizes) if size]
    np.testing.assert_array_equal(np.sort(np.concatenate(held)), np.arange(7500))  # codes of all others, and of no more
    queries = near_queries(index.segments, 60, np.random.default_rng(3))
    hits = [flat_of(index, index.search(query))[0] == plainly(rest, query, "l1").argmin() for query in queries]
    assert np.mean(hits) >= 0.95

    index.append([("again", sources[2][1]), ("demo0", sources[0][1])])
    for row in (0, 700, 1499):
        found = index.search(sources[2][1][row].astype(np.float32))
        assert (found.segments[0], found.rows[0], found.distances[0]) == (5, row, 0)
    assert index.measured().about.recall["near"]["recall"] >= 0.95
    assert "3000 rows came and 4500 went" in (index.outdated() or "")
    assert index.rebuilt().outdated() is None


def test_an_exact_index_changes_at_once() -> None:
    sources = walks((400, 300))
    index = build(sources)
    more = walks((50,), seed=5)[0][1]
    index.append([("more", more)])
    found = index.search(more[20].astype(np.float32))
    assert (found.segments[0], found.rows[0]) == (2, 20)
    index.remove("demo0")
    found = index.search(more[20].astype(np.float32))
    assert (found.segments[0], found.rows[0], index.names) == (1, 20, ["demo1", "more"])
    with pytest.raises(ValueError, match=r"no segment 'demo0'.*demo1, more"):
        index.remove("demo0")


def test_rows_of_another_game_are_told_of(all_approximate: None) -> None:
    index = build(walks((1500,) * 8), "l1", APPROXIMATE)
    assert index.outdated() is None
    index.append([("same", walks((1200,), seed=0)[0][1])])
    assert index.outdated() is None
    index.append([("strange", (walks((1200,), seed=77)[0][1] * 3 + 4).astype(np.float16))])
    assert "times as far" in (index.outdated() or "")


# -- what is chosen ----------------------------------------------------------------------------------------------------


def test_the_budget_decides_and_the_index_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    sources = walks((3000,) * 2)
    assert "the budget allows 120 ms" in build(sources).report()
    quick = build(sources, budget=Budget(latency_ms=1e-6))
    assert quick.about.code == "sq8" and "exact search takes about" in quick.about.reason
    assert build(walks((500,)), budget=Budget(latency_ms=1e-6)).about.code is None  # nothing to gain
    with pytest.raises(ValueError, match=r"6000 rows of 64 need .* GB to index, the budget allows 0.001 GB"):
        build(sources, budget=Budget(latency_ms=1e-6, memory_gb=0.001))
    with pytest.raises(ValueError, match="needs 2048 rows, found 500"):
        build(walks((500,)), budget=APPROXIMATE)
    monkeypatch.setattr(budgets, "exact_milliseconds", lambda *_: 100.0)
    index = build(sources)
    index.append([("more", walks((3000,), seed=1)[0][1])])
    assert "about 150 ms, over the 120" in (index.outdated() or "")


def test_building_reads_block_by_block(all_approximate: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Three times the rows take hardly more memory; what faiss holds, which are the codes, is not counted here."""
    monkeypatch.setattr(codes, "_PCA_ROWS", 1024)
    monkeypatch.setattr(codes, "_BLOCK", 512)
    monkeypatch.setattr(exact, "BLOCK", 1024)  # of which each thread has one
    monkeypatch.setattr(codes, "list_count", lambda rows: 32)
    peaks = []
    for rows in (20_000, 60_000):
        np.save(tmp_path / f"{rows}.npy", np.resize(walks((5000,))[0][1], (rows, 64)))
        tracemalloc.start()
        build([("a", tmp_path / f"{rows}.npy")], "l1", APPROXIMATE)
        build([("a", tmp_path / f"{rows}.npy")], "l1", Budget(kind="exact")).search(np.zeros(64))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 0.1 * 40_000 * 64 * 2


# -- on disk -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with latents/NAME.npy, and an approximate and an exact index of them."""
    pytest.importorskip("faiss")
    folder = tmp_path_factory.mktemp("saved")
    (folder / "latents").mkdir()
    sources = []
    for name, latents in walks((1500,) * 4):
        np.save(folder / "latents" / f"{name}.npy", latents)
        sources.append((name, folder / "latents" / f"{name}.npy"))
    build(sources, "l1", APPROXIMATE).save(folder / "index")
    build(sources, "cosine", Budget(kind="exact")).save(folder / "exact")
    return folder


@pytest.fixture
def saved(saved_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved_once, tmp_path / "moved"))


@pytest.mark.parametrize("which", ["index", "exact"])
def test_an_opened_index_is_mapped_and_finds_the_same(all_approximate: None, saved: Path, which: str) -> None:
    index = open_index(saved / which)
    assert all(isinstance(segment.latents, np.memmap) for segment in index.segments.all)
    path = index.segments.all[0].path
    assert path is not None and path.resolve() == (saved / "latents" / "demo0.npy").resolve()  # where it was moved to
    sources = [(segment.name, np.asarray(segment.latents)) for segment in index.segments.all]
    for query in near_queries(index.segments, 20, np.random.default_rng(2)):
        found = index.search(query)
        assert found.distances[0] == pytest.approx(plainly(sources, query, index.metric).min(), rel=1e-6)
    if which == "index":
        own = index._approximate
        assert own is not None
        assert "OnDisk" in type(codes.faiss.downcast_InvertedLists(own._lists.invlists)).__name__


def test_an_opened_index_can_be_changed_and_saved(all_approximate: None, saved: Path) -> None:
    index = open_index(saved / "index")
    np.save(saved / "latents" / "new.npy", walks((500,), seed=8)[0][1])
    index.append([("new", saved / "latents" / "new.npy")])
    index.remove("demo1")
    index.save(saved / "index")
    assert len(list((saved / "index").iterdir())) == 2  # the old codes are gone
    again = open_index(saved / "index")
    assert again.names == ["demo0", "demo2", "demo3", "new"] and len(again) == 5000
    row = again.segments.all[3].latents[77]
    assert (again.search(row).segments[0], again.search(row).rows[0]) == (3, 77)
    again.save(saved / "copy")
    assert open_index(saved / "copy").names == again.names


def test_a_save_that_fails_leaves_the_index_as_it_was(
    all_approximate: None, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = open_index(saved / "index")
    index.remove("demo0")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(index_files, "write_json_atomic", full)
    with pytest.raises(OSError, match="No space"):
        index.save(saved / "index")
    assert open_index(saved / "index").names == ["demo0", "demo1", "demo2", "demo3"]


def test_an_index_that_another_process_saved_anew_is_told_of(all_approximate: None, saved: Path) -> None:
    index, other = open_index(saved / "index"), open_index(saved / "index")
    other.remove("demo1")
    other.save(saved / "index")
    for change in (lambda: index.remove("demo2"), lambda: index.save(saved / "more")):
        with pytest.raises(
            ValueError, match=r"the codes of this index are gone .*; another process saved it anew. Open it"
        ):
            change()
    assert index.names == ["demo0", "demo1", "demo2", "demo3"]


def test_latents_may_lie_elsewhere(saved: Path) -> None:
    (saved / "latents" / "demo2.npy").rename(saved / "other.npy")
    with pytest.raises(ValueError, match=r"demo2\.npy \(segment 'demo2'\): there is no such file"):
        open_index(saved / "exact")
    assert len(open_index(saved / "exact", {"demo2": saved / "other.npy"})) == 6000
    build([("m", np.zeros((5, 8), np.float16))]).save(saved / "memory")
    with pytest.raises(ValueError, match="segment 'm' was indexed from memory; say where its latents are"):
        open_index(saved / "memory")
    assert len(open_index(saved / "memory", {"m": np.zeros((5, 8), np.float16)})) == 5


def about(**changes: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "index" / "about.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


def codes_file(folder: Path) -> Path:
    return next((folder / "index").glob("codes-*"))


def flip_a_bit(folder: Path) -> None:
    path = codes_file(folder)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def other_latents(length: int, dims: int = 64) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / "latents" / "demo1.npy", walks((length,), dims, seed=9)[0][1])


DAMAGES = {
    "short codes": (
        lambda f: codes_file(f).write_bytes(codes_file(f).read_bytes()[:-9]),
        r"codes-\w+.faiss: expected \d+ by",
    ),
    "flipped bit": (flip_a_bit, r"codes-\w+.faiss: expected sha256 \w+, found \w+: it is damaged; build"),
    "no codes": (lambda f: codes_file(f).unlink(), r"codes-\w+.faiss: expected the index's codes, found no such file"),
    "no about": (
        lambda f: (f / "index" / "about.json").unlink(),
        "index holds no index: expected about.json, found none",
    ),
    "no json": (
        lambda f: (f / "index" / "about.json").write_text("{"),
        r"about.json is not JSON .*build the index again",
    ),
    "version": (about(version=7), "about.json: expected an index of version 1, found 7; build the index again"),
    "metric": (about(metric="l3"), "about.json: expected a metric of l1, l2, cosine, found 'l3'"),
    "dims": (about(dims=65), "about.json: says dims 65, its segments have 64"),
    "unknown": (about(colour="red"), r"about.json: unknown settings \['colour'\]"),
    "kind of number": (about(built_rows=None), "about.json: built_rows is None, expected int; build the index again"),
    "kind of list": (about(segments=[5]), r"about.json: segments is \[5\], expected list"),
    "segment": (about(segments=[{"name": "demo0"}]), "about.json: settings of the wrong kind .*'rows'"),
    "budget": (about(budget={"x": 1}), r"about.json: unknown settings \['x'\]"),
    "no budget": (about(budget=[]), r"about.json: budget is \[\], expected dict"),
    "recall": (about(recall={"near": {}}), "about.json: settings of the wrong kind .*'recall'"),
    "probes": (about(probes=0), "about.json: probes is 0, depth"),
    "no record": (about(codes=None), "about.json: settings of the wrong kind .*'file'"),
    "other latents": (
        other_latents(1500),
        r"demo1.npy \(segment 'demo1'\): expected latents \w+, found others, \w+; put",
    ),
    "other length": (other_latents(20), r"demo1.npy \(segment 'demo1'\): expected 1500 rows, as indexed, found 20"),
    "other width": (other_latents(1500, 32), r"demo1.npy.*expected"),
    "short latents": (
        lambda f: (f / "latents" / "demo1.npy").write_bytes((f / "latents" / "demo1.npy").read_bytes()[:5000]),
        r"demo1.npy \(segment 'demo1'\) is not a whole .npy file of latents",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_named(saved: Path, damage: str) -> None:
    do, message = DAMAGES[damage]
    do(saved)
    with pytest.raises(ValueError, match=message):
        open_index(saved / "index")


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_queries_that_do_not_fit_are_refused() -> None:
    index = build(walks((100, 50)))
    with pytest.raises(ValueError, match=r"expected a query of 64 finite numbers.*found shape \(65,\)"):
        index.search(np.zeros(65))
    with pytest.raises(ValueError, match="found numbers that are not finite"):
        index.search(np.full(64, np.nan))
    with pytest.raises(ValueError, match="the 0 nearest"):
        index.search(np.zeros(64), k=0)
    with pytest.raises(ValueError, match="segments 0 to 1"):
        index.search(np.zeros(64), without_segments=[2])
    with pytest.raises(ValueError, match=r"shape \(149,\), the index has 150 rows"):
        index.search(np.zeros(64), without_rows=np.zeros(149, bool))


def test_latents_that_do_not_fit_are_refused(all_approximate: None) -> None:
    (_, good), (_, broken), _ = walks((1500, 1500, 10))
    with pytest.raises(ValueError, match=r"'b': expected 64 numbers a row, as in 'a', found 8"):
        build([("a", good), ("b", np.zeros((5, 8), np.float16))])
    with pytest.raises(ValueError, match=r"'a': expected rows of float16 latents .*found float32 \(1500, 64\)"):
        build([("a", good.astype(np.float32))])
    with pytest.raises(ValueError, match="two segments are called 'a'"):
        build([("a", good), ("a", good)])
    with pytest.raises(ValueError, match="at least one segment"):
        build([])
    with pytest.raises(ValueError, match="unknown metric 'l3'"):
        build([("a", good)], "l3")  # type: ignore[arg-type]
    broken = broken.copy()
    broken[40, 5] = np.inf
    with pytest.raises(ValueError, match=r"segment 'b'\): expected finite numbers, found others in row 40"):
        build([("a", good), ("b", broken)], budget=APPROXIMATE)
    index = build([("a", good), ("c", good)], budget=APPROXIMATE)
    with pytest.raises(ValueError, match="found others in row 40"):
        index.append([("b", broken)])
    own = index._approximate
    assert own is not None and index.names == ["a", "c"] and own.rows == 3000


def test_recall_has_to_be_sure(all_approximate: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """0.93 of 128 queries may well be 0.88 of all: with 0.9 asked for, a more thorough search is tried."""
    recalls = iter((0.85, 0.93, 0.97, 1.0))
    monkeypatch.setattr(budgets, "measure", lambda *_: {"near": Measured(128, next(recalls), 1.0, 0.1, 0.1)})
    index = build(walks((1500,) * 6), "l1", replace(APPROXIMATE, recall=0.9))
    assert (
        index.about.recall["near"]["recall"] == 0.97 and "reaches a recall@1 of 0.9 (measured: 0.970)" in index.report()
    )


def test_the_least_that_a_recall_may_mean() -> None:
    def least(queries: int, recall: float) -> float:
        return Measured(queries, recall, 1.0, 0.1, 0.1).least_recall

    # As scipy.stats.binomtest(...).proportion_ci(0.9, "wilson") tells its lower end.
    assert least(128, 0.93) == pytest.approx(0.884, abs=2e-3)
    assert least(10_000, 0.93) == pytest.approx(0.926, abs=2e-3)
    assert least(128, 1.0) == pytest.approx(0.979, abs=1e-3) and least(128, 0.0) == 0
