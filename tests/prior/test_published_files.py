"""Published files: read as data, never executed; weights fit exactly or not at all."""

from __future__ import annotations

import collections
import copyreg
import io
import os
import pickle
import random
import struct
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from prior import inert_pickle
from prior.inert_pickle import Inert, read_inert_pickle
from prior.published_files import load_into, read_model_file, read_weights

NET = {
    "hidsize": 1024,
    "impala_chans": [16, 32, 32],
    "init_norm_kwargs": {"batch_norm": False, "group_norm_groups": 1},
    "attention_mask_style": "clipped_causal",
}


class Plain:
    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)


@pytest.fixture
def gym3(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """Classes under the names that the published files hold. They exist only while a test writes its file."""
    module = types.ModuleType("gym3.types")
    for name in ("DictType", "TensorType", "Discrete", "Real"):
        setattr(module, name, type(name, (Plain,), {"__module__": "gym3.types", "__qualname__": name}))
    monkeypatch.setitem(sys.modules, "gym3", types.ModuleType("gym3"))
    monkeypatch.setitem(sys.modules, "gym3.types", module)
    yield module


def published(gym3: Any) -> dict[str, Any]:
    """A description shaped as OpenAI's, with what the reader does not need."""
    buttons = gym3.TensorType(eltype=gym3.Discrete(n=8641, dtype_name="int64"), shape=(1,))
    net = {"function": "ypt.model.minecraft_agent:Net", "args": NET, "local_args": {"impala_width": 4}}
    return {
        "version": 1361,
        "model": {
            "function": "ypt.model.agent:create",
            "args": {"net": net, "pi_head_opts": {"temperature": 2}, "active_reward_monitors": {}},
        },
        "extra_args": {
            "ac_space": gym3.DictType(_n2t=collections.OrderedDict(buttons=buttons)),
            "ob_space": gym3.DictType(_n2t={"img": gym3.TensorType(eltype=gym3.Real(), shape=(128, 128, 3))}),
        },
    }


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_published_model_is_read_without_gym3(gym3: Any, tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "foundation-model-1x.model"
    path.write_bytes(pickle.dumps(published(gym3), protocol))
    del sys.modules["gym3.types"], sys.modules["gym3"]
    model = read_model_file(path)
    assert model.net == NET and model.pi_head == {"temperature": 2.0} and type(model.pi_head["temperature"]) is float
    assert model.function == "ypt.model.agent:create" and model.version == 1361
    assert "gym3" not in sys.modules
    space = read_inert_pickle(path)["extra_args"]["ac_space"]
    assert isinstance(space, Inert) and space.kind == "gym3.types.DictType"
    buttons = space.state["_n2t"]["buttons"]
    assert buttons.state["shape"] == (1,) and buttons.state["eltype"].state["n"] == 8641


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_reads_as_pickle_reads_it(tmp_path: Path, protocol: int) -> None:
    generator = random.Random(protocol)
    plain = [None, True, False, 0, -1, 255, 65536, -(2**31), 2**40, -(2**70), 1.5, float("inf"), "", "text", "é\n\t😀"]
    shared = ["shared"]

    def value(depth: int) -> Any:
        kind = generator.randrange(6 if depth else 2)
        if kind < 2:
            return generator.choice(plain)
        if kind == 2:
            return shared
        several = [value(depth - 1) for _ in range(generator.randrange(6))]
        return {3: several, 4: tuple(several), 5: {f"key{n}": v for n, v in enumerate(several)}}[kind]

    many = {n: list(range(n % 7)) for n in range(1200)}  # more than one batch of APPENDS and SETITEMS
    extra = [b"bytes", b"x" * 300, bytearray(b"array"), {1, 2}, frozenset({3})] if protocol >= 5 else []
    content = [[value(4) for _ in range(60)], many, list(range(1200)), "long" * 100, extra, 2**3000]
    path = tmp_path / "a"
    path.write_bytes(pickle.dumps(content, protocol))
    ours = read_inert_pickle(path)
    assert ours == content and repr(ours) == repr(pickle.loads(path.read_bytes()))


def test_shared_and_cyclic_values_stay_so(tmp_path: Path) -> None:
    inner: list[Any] = []
    inner.append(inner)
    (tmp_path / "a").write_bytes(pickle.dumps([inner, inner]))
    first, second = read_inert_pickle(tmp_path / "a")
    assert first is second and first[0] is first


class Attack:
    """Pickles as a call of anything with anything."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.call = (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.call


def attacks(mark: Path) -> dict[str, bytes]:
    """Pickles that would write ``mark``, or worse, if they were loaded."""
    code = f"open({str(mark)!r}, 'w')"
    text = code.encode()
    return {
        "os.system": pickle.dumps(Attack(os.system, f"touch {mark}")),
        "builtins.eval": pickle.dumps(Attack(eval, code)),
        "builtins.exec, protocol 0": pickle.dumps(Attack(exec, code), 0),
        "subprocess": pickle.dumps(Attack(subprocess.Popen, ["touch", str(mark)])),
        "nested getattr": b"c__builtin__\ngetattr\n(c__builtin__\n__import__\n(Vos\ntRVsystem\ntR(Vtouch "
        + str(mark).encode()
        + b"\ntR.",
        "inside extra_args": pickle.dumps({"model": {"args": {}}, "extra_args": [Attack(eval, code)]}),
        "after the end of a dict": pickle.dumps({"a": 1})[:-1] + b"0c__builtin__\neval\n(V" + text + b"\ntR.",
        "INST": b"(V" + text + b"\ni__builtin__\neval\n.",
        "OBJ": b"(c__builtin__\neval\nV" + text + b"\no.",
        "persistent id": b"P" + text + b"\n.",
        "binary persistent id": b"V" + text + b"\nQ.",
        "dotted name": b"\x80\x04\x8c\x0agym3.types\x8c\x11Discrete.__init__\x93.",
        "a name within a known module": b"ccollections\nnamedtuple\n.",
        "out-of-band buffer": b"\x80\x05\x97.",
        "unregistered extension": b"\x80\x02\x82\x7f.",
        "a state for the class itself": b"cgym3.types\nDiscrete\n}b.",
        "a state for a list": b"]}b.",
    }


ATTACKS = sorted(attacks(Path("x")))


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_hostile_is_executed(name: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "a.model"
    path.write_bytes(attacks(mark)[name])
    with pytest.raises(ValueError, match=r"a\.model: .*refused and nothing in it was executed"):
        read_model_file(path)
    assert not mark.exists()


def test_the_refusal_names_what_was_refused(tmp_path: Path) -> None:
    (tmp_path / "a.model").write_bytes(pickle.dumps(Attack(os.system, "true")))
    with pytest.raises(ValueError, match=r"a\.model: names '(posix|nt)\.system'"):
        read_model_file(tmp_path / "a.model")


def test_an_extension_code_that_is_registered_and_cached_is_refused(tmp_path: Path) -> None:
    """The case in which pickle.Unpickler never asks find_class."""
    copyreg.add_extension("os", "system", 0x7F)
    try:
        content = b"\x80\x02\x82\x7fX\x04\x00\x00\x00true\x85R."
        assert pickle.loads(content) == 0  # now it is cached
        (tmp_path / "a.model").write_bytes(content)
        with pytest.raises(ValueError, match="instruction EXT1"):
            read_model_file(tmp_path / "a.model")
    finally:
        copyreg.remove_extension("os", "system", 0x7F)


def test_a_known_class_called_with_hostile_arguments_stays_inert(tmp_path: Path) -> None:
    state = b"}(X\x09\x00\x00\x00__class__X\x01\x00\x00\x00yX\x0a\x00\x00\x00__reduce__K\x01u"
    content = b"\x80\x02cgym3.types\nDiscrete\n(X\x0b\x00\x00\x00__import__.K\x01tR" + state + b"b."
    (tmp_path / "a").write_bytes(content)
    made = read_inert_pickle(tmp_path / "a")
    assert (
        type(made) is Inert and made.arguments == ("__import__.", 1) and set(made.state) == {"__class__", "__reduce__"}
    )


def test_small_files_cannot_take_much_time_or_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.model"
    layers = b"(t" + b"2\x86" * 200  # a tuple of itself twice, 200 times: its hash takes 2**200 steps
    for content, message in (
        (b"\x80\x02}" + layers + b"Ns.", "uses a tuple .* as a key"),
        (b"\x80\x02(" + layers + b"\x91.", "uses a tuple .* as a key"),
        (b"\x80\x02}\x8b" + struct.pack("<i", 100) + b"\x7f" * 100 + b"Ns.", "uses a int .* as a key"),
        (b"(" * (inert_pickle.MAX_STEPS + 1), "holds more than 100,000 instructions"),
        (b"]" * (inert_pickle.MAX_STEPS + 1), "holds more than 100,000 instructions"),
        (b"\x80\x05\x8e" + struct.pack("<Q", 2**62) + b"x.", "expected a pickle"),
        (b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.", "expected a pickle"),
        (b"I" + b"9" * 100_000 + b"\n.", "expected a pickle"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"a\.model: .*{message}"):
            read_model_file(path)
    path.write_bytes(b"\x80\x02Nr\xff\xff\xff\x7f.")  # a memo of two thousand million entries
    with pytest.raises(ValueError, match="found a NoneType"):
        read_model_file(path)
    path.write_bytes(b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".")  # lists in lists
    with pytest.raises(ValueError, match="found a list"):
        read_model_file(path)
    with path.open("wb") as stream:
        stream.truncate(inert_pickle.MAX_BYTES + 1)
    with pytest.raises(ValueError, match="weights"):
        read_model_file(path)


def test_damage_anywhere_is_a_clear_error(gym3: Any, tmp_path: Path) -> None:
    whole, path = pickle.dumps(published(gym3)), tmp_path / "a.model"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"a\.model: expected a pickle, found .*get it again"):
            read_model_file(path)
    generator = random.Random(0)
    for _ in range(3000):
        spoilt = bytearray(whole)
        for _ in range(generator.randrange(1, 4)):
            spoilt[generator.randrange(len(spoilt))] = generator.randrange(256)
        path.write_bytes(spoilt)
        try:
            read_model_file(path)
        except ValueError as error:
            assert "a.model" in str(error)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "expected the key 'model' at the top, found a list"),
        ({}, r"expected the key 'model' at the top, found keys \(none\)"),
        ({"weights": 1, "step": 2}, "expected the key 'model' at the top, found keys 'weights', 'step'"),
        ({"model": 3}, "expected the key 'args' at model, found a int"),
        ({"model": {"args": {"nett": 1}}}, "expected the key 'net' at model/args, found keys 'nett'"),
        ({"model": {"args": {"net": {}}}}, "expected the key 'args' at model/args/net"),
        ({"model": {"args": {"net": {"args": [1]}}}}, "expected a dict at model/args/net/args, found a list"),
        ({"model": {"args": {"net": {"args": {1: 2}}}}}, "expected a dict with text as keys at model/args/net/args"),
        ({"model": {"args": {"net": {"args": {}}, "pi_head_opts": 5}}}, "pi_head_opts, found 5"),
        ({"model": {"args": {"net": {"args": {}}, "pi_head_opts": {"temperature": 0}}}}, "is 0, expected a number"),
        ({"model": {"args": {"net": {"args": {}}, "pi_head_opts": {"temperature": "2"}}}}, "is '2', expected a number"),
        ({"model": {"args": {"net": {"args": {"a": [{"b": {1}}]}}}}}, "model/args/net/args/a/b is a set"),
    ],
)
def test_other_nesting_says_where_and_what_is_there(content: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.model").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=rf"a\.model: .*{message}"):
        read_model_file(tmp_path / "a.model")


def test_objects_and_cycles_among_the_keyword_arguments_are_refused(gym3: Any, tmp_path: Path) -> None:
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    for value, message in ((gym3.Real(), r"args/x is a gym3\.types\.Real"), (cyclic, "or itself")):
        (tmp_path / "a").write_bytes(pickle.dumps({"model": {"args": {"net": {"args": {"x": value}}}}}))
        with pytest.raises(ValueError, match=message):
            read_model_file(tmp_path / "a")


def test_what_a_model_may_leave_out(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(pickle.dumps({"model": {"args": {"net": {"args": {"new_key": None}}}}}))
    model = read_model_file(tmp_path / "a")
    assert (model.net, model.pi_head, model.function, model.version) == (
        {"new_key": None}, {"temperature": 1.0}, None, None,
    )  # fmt: skip


def test_files_that_are_something_else(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.weights")
    with pytest.raises(ValueError, match="weights"):
        read_model_file(tmp_path / "a.weights")
    (tmp_path / "page.model").write_bytes(b"<html>Not found</html>")
    with pytest.raises(ValueError, match="expected a pickle"):
        read_model_file(tmp_path / "page.model")
    for missing in (tmp_path / "none.model", tmp_path):
        with pytest.raises(ValueError, match="expected a file, found none"):
            read_model_file(missing)


# Weights


class Small(nn.Module):
    steps: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.b_nd = nn.Parameter(torch.zeros(10, 0))
        self.fixed = nn.Parameter(torch.zeros(1), requires_grad=False)
        self.value_head = nn.Linear(2, 1)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("table", torch.zeros(4), persistent=False)


def values() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    floats = {
        name: torch.randn(tensor.shape, generator=generator)
        for name, tensor in Small().state_dict().items()
        if name != "steps"
    }
    return {**floats, "steps": torch.tensor(7)}


@pytest.mark.parametrize("suffix", [".weights", ".pt", ".pth", ".old", ".safetensors"])
def test_weights_come_back_as_they_were(suffix: str, tmp_path: Path) -> None:
    path, tensors = tmp_path / f"a{suffix}", values()
    if suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=suffix != ".old")
    before = path.read_bytes()
    read = read_weights(path)
    assert read.keys() == tensors.keys() and all(torch.equal(read[name], tensors[name]) for name in tensors)
    assert read["b_nd"].shape == (10, 0)
    read["linear.weight"].add_(1)
    assert path.read_bytes() == before  # mapped, but privately


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what is mapped")
@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_weights_are_mapped_not_read(name: str, tmp_path: Path) -> None:
    tensors = {"a": torch.ones(100_000)}
    torch.save(tensors, tmp_path / "a.pt")
    save_file(tensors, tmp_path / "a.safetensors")
    kept = read_weights(tmp_path / name)["a"]
    address = kept.data_ptr()
    for line in Path("/proc/self/maps").read_text().splitlines():
        begin, end = (int(text, 16) for text in line.split()[0].split("-"))
        if begin <= address < end:
            assert line.endswith(str(tmp_path / name))


def test_cast_while_reading_leaves_integers_alone(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3, dtype=torch.bfloat16), "n": torch.tensor(2)}, tmp_path / "a.pt")
    read = read_weights(tmp_path / "a.pt", torch.float32)
    assert read["a"].dtype == torch.float32 and read["n"].dtype == torch.int64
    assert read_weights(tmp_path / "a.pt")["a"].dtype == torch.bfloat16


def test_wrapped_weights(tmp_path: Path) -> None:
    path, tensors = tmp_path / "a.pt", {"a": torch.ones(2)}
    for wrapped in ({"model": tensors}, {"state_dict": tensors, "step": 3, "model": "impala"}):
        torch.save(wrapped, path)
        assert read_weights(path)["a"].tolist() == [1, 1]
    torch.save({"model": tensors, "state_dict": tensors}, path)
    with pytest.raises(ValueError, match='both "model" and "state_dict"'):
        read_weights(path)
    torch.save({"model": tensors, "a": torch.ones(1)}, path)
    with pytest.raises(ValueError, match="something else under 'model'"):
        read_weights(path)


@pytest.mark.parametrize("content", [[torch.ones(1)], {}, torch.ones(1), {"optimizer": {"lr": 1}}, {3: torch.ones(1)}])
def test_other_contents_are_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt: expected tensors by name"):
        read_weights(tmp_path / "a.pt")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_weights_is_refused(zipped: bool, tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "a.weights"
    hostile = {"a": torch.ones(1), "b": Attack(os.system, f"touch {mark}")}
    torch.save(hostile, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        ValueError, match=r"a\.weights: holds pickled code \((posix|nt)\.system\).*None of it was"
    ) as told:
        read_weights(path)
    assert not mark.exists() and "weights_only" not in str(told.value)
    path.write_bytes(pickle.dumps(hostile["b"]))
    with pytest.raises(ValueError, match=r"a\.weights"):
        read_weights(path)
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damaged_weights_are_a_clear_error(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(values(), buffer)
    save_file(values(), tmp_path / "whole.safetensors")
    for suffix, whole in ((".pt", buffer.getvalue()), (".safetensors", (tmp_path / "whole.safetensors").read_bytes())):
        path = tmp_path / f"a{suffix}"
        for length in (0, 1, 3, 4, 8, 100, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            with pytest.raises(ValueError, match=rf"a\{suffix}"):
                read_weights(path)
        path.write_bytes(b"<html>Not found</html>")
        with pytest.raises(ValueError, match=rf"a\{suffix}"):
            read_weights(path)
    with pytest.raises(ValueError, match=r"none\.pt: expected a file of weights, found none"):
        read_weights(tmp_path / "none.pt")


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("meta", [False, True])
def test_load_into_a_module(meta: bool) -> None:
    with torch.device("meta" if meta else "cpu"):
        module = Small()
    tensors = values()
    report = load_into(module, tensors, "a.weights")
    assert report.loaded == len(tensors) and not report.missing_harmless and not report.unexpected_harmless
    assert report.without_values == (("table",) if meta else ())
    assert all(torch.equal(module.state_dict()[name], tensors[name]) for name in tensors)
    assert module.linear.weight.requires_grad and not module.fixed.requires_grad
    assert isinstance(module.fixed, nn.Parameter) and isinstance(module.linear.weight, nn.Parameter)
    assert (module.linear.weight.data_ptr() == tensors["linear.weight"].data_ptr()) == meta  # assigned or copied
    module.linear(torch.ones(1, 3)).sum().backward()


@pytest.mark.parametrize("meta", [False, True])
def test_the_modules_dtype_wins(meta: bool) -> None:
    with torch.device("meta" if meta else "cpu"):
        module = Small().to(torch.bfloat16)
    tensors = values()
    load_into(module, tensors, "a")
    assert module.linear.weight.dtype == torch.bfloat16 and module.steps.item() == 7
    assert torch.equal(module.linear.weight, tensors["linear.weight"].to(torch.bfloat16))
    half = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    single = Small()
    load_into(single, half, "a")
    assert single.linear.weight.dtype == torch.float32
    assert torch.equal(single.linear.weight, half["linear.weight"].float())


def test_shared_parameters_of_a_meta_module_stay_shared() -> None:
    with torch.device("meta"):
        module = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
        module["b"].weight = module["a"].weight
    load_into(module, {name: torch.ones(t.shape) for name, t in module.state_dict().items()}, "a")
    assert module["a"].weight is module["b"].weight


def test_everything_that_does_not_fit_is_told_and_nothing_is_changed() -> None:
    module, tensors = Small(), values()
    before = state(module)
    tensors["linear.weight"] = torch.ones(2, 4)
    tensors["steps"] = torch.ones(())
    tensors["extra.weight"] = tensors.pop("value_head.weight")
    with pytest.raises(ValueError) as told:
        load_into(module, tensors, "a.weights", ("linear", "steps"))  # a shape is never harmless
    assert str(told.value).splitlines() == [
        "a.weights does not fit this Small; check that both are the same model and size:",
        "  missing from the file (1):",
        "    value_head.weight",
        "  unknown to the model (1):",
        "    extra.weight",
        "  unfit (2):",
        "    linear.weight is (2, 4), expected (2, 3)",
        "    steps is torch.float32, expected torch.int64",
    ]
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_a_long_list_of_misfits_is_cut_with_a_count() -> None:
    module = nn.ParameterDict({f"p{n}": nn.Parameter(torch.zeros(1)) for n in range(300)})
    others = {f"q{n}": torch.zeros(1) for n in range(200)}
    with pytest.raises(
        ValueError, match=r"missing from the file \(300\)(.|\n)*and 292 more(.|\n)*and 192 more"
    ) as told:
        load_into(module, others, "a")
    assert len(str(told.value).splitlines()) <= 21


@pytest.mark.parametrize("meta", [False, True])
def test_harmless_names_are_reported(meta: bool) -> None:
    with torch.device("meta" if meta else "cpu"):
        module = Small()
    tensors = values()
    kept = None if meta else module.value_head.weight.detach().clone()
    for name in ("value_head.weight", "value_head.bias"):
        tensors[f"aux_{name}"] = tensors.pop(name)
    with pytest.raises(ValueError, match="unknown to the model"):
        load_into(module, tensors, "a", ("value_head.",))
    report = load_into(module, tensors, "a", ("value_head.*", "aux_value_head."))
    assert report.missing_harmless == ("value_head.bias", "value_head.weight")
    assert report.unexpected_harmless == ("aux_value_head.bias", "aux_value_head.weight")
    if meta:
        assert report.without_values == ("table", "value_head.bias", "value_head.weight")
    else:
        assert kept is not None
        assert report.without_values == () and torch.equal(module.value_head.weight, kept)


def test_from_file_to_meta_module(tmp_path: Path) -> None:
    torch.save(collections.OrderedDict(values()), tmp_path / "a.weights")
    with torch.device("meta"):
        module = Small()
    load_into(module, read_weights(tmp_path / "a.weights"), tmp_path / "a.weights")
    assert torch.equal(module.linear.weight, values()["linear.weight"])
    module.linear(torch.ones(1, 3)).sum().backward()
    gradient = module.linear.weight.grad
    assert gradient is not None
    with torch.no_grad():
        module.linear.weight.sub_(gradient)  # trainable in place, though mapped from a file
