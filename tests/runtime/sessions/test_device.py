"""Devices: strict where asked for, automatic with a reason, never a silent fallback."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import runtime
from caffe_port.onnx_graph import OnnxGraph
from runtime.sessions import cuda_probe
from runtime.sessions import device as device_module
from runtime.sessions import session as session_module
from runtime.sessions.device import Device, choose_device
from runtime.sessions.memory import allocate
from runtime.sessions.session import Session
from tests.support.toy_bundles import chain, frame_of, value_dims
from weights.errors import BundleError, DeviceError, UsageError

CPU = Device("cpu", 0, "test", threads=1)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_probe, "_gpu_count", lambda: (0, "no NVIDIA driver"))
    cuda_probe.missing_for_cuda.cache_clear()
    yield
    cuda_probe.missing_for_cuda.cache_clear()


@pytest.mark.usefixtures("no_gpu")
def test_auto_says_what_it_chose_and_why() -> None:
    chosen = choose_device("auto")
    assert (chosen.kind, str(chosen)) == ("cpu", "cpu")
    assert chosen.reason == "cpu: chosen because cuda is not usable (no NVIDIA driver)"


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_cuda_is_never_replaced(name: str, tmp_path: Path) -> None:
    expected = r"cuda:\d cannot be used; found no NVIDIA driver; install the CUDA libraries: pip install"
    with pytest.raises(DeviceError, match=expected):
        choose_device(name)
    with pytest.raises(DeviceError, match=expected):
        runtime.open(chain(tmp_path / "two.staged", 2), device=name)


def test_a_session_that_falls_back_makes_cuda_unusable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver is there, the libraries are not: ONNX Runtime opens a CPU session and only logs it."""
    monkeypatch.setattr(cuda_probe, "_gpu_count", lambda: (1, ""))
    real = ort.InferenceSession
    monkeypatch.setattr(
        cuda_probe.ort,
        "InferenceSession",
        lambda model, *_, **__: real(model, providers=["CPUExecutionProvider"]),
    )
    cuda_probe.missing_for_cuda.cache_clear()
    try:
        with pytest.raises(DeviceError, match="cannot load its CUDA provider"):
            choose_device("cuda")
        assert choose_device("auto").kind == "cpu"
        with pytest.raises(DeviceError, match="found cuda:3 of 1 GPUs"):
            choose_device("cuda:3")
    finally:
        cuda_probe.missing_for_cuda.cache_clear()


def test_defaults_of_the_cuda_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "missing_for_cuda", lambda index, options: None)
    monkeypatch.setattr(device_module, "open_stream", lambda index: None)
    exact = choose_device("cuda:1")
    assert exact.providers == [
        (
            "CUDAExecutionProvider",
            {
                "device_id": "1", "cudnn_conv_algo_search": "HEURISTIC",
                "arena_extend_strategy": "kSameAsRequested", "use_tf32": "0",
            },
        )
    ]  # fmt: skip
    assert (exact.threads, str(exact)) == (1, "cuda:1")
    assert choose_device("cuda", precision="tf32").options["use_tf32"] == "1"
    assert choose_device("cuda", precision="fp16").options["use_tf32"] == "1"
    own = choose_device("auto", provider_options={"prefer_nhwc": 1, "use_tf32": True})
    assert own.options["prefer_nhwc"] == "1" and own.options["use_tf32"] == "True"
    assert own.reason == "cuda:0: chosen because it computes rightly"


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cpu:0", "auto:1", "cuda:-1", "", "CUDA", "cuda:1234"])
def test_unknown_devices(name: str) -> None:
    with pytest.raises(UsageError, match=r"unknown device; .*expected auto, cpu, cuda or cuda:N"):
        choose_device(name)


def test_bad_options() -> None:
    with pytest.raises(UsageError, match='unknown precision; found "int8"; expected fp32, tf32, fp16'):
        choose_device("cpu", precision="int8")
    with pytest.raises(UsageError, match="bad number of threads"):
        choose_device("cpu", threads=-1)
    with pytest.raises(UsageError, match="provider options are for CUDA"):
        choose_device("cpu", provider_options={"use_tf32": 1})


def relu_file(path: Path, dims: list) -> Path:
    g = OnnxGraph()
    g.output(g.node("Relu", g.input("x", dims)), "y", [f"d{i}" for i in range(len(dims))])
    onnx.save(g.model("relu"), path)
    return path


def test_free_dimensions_are_bound_so_that_output_shapes_are_known(tmp_path: Path) -> None:
    session = Session(relu_file(tmp_path / "r.onnx", [1, "a", "b"]), CPU, {"x": (1, 3, 4)}, name="r")
    assert session.outputs["y"].shape == (1, 3, 4) and session.inputs["x"].dtype is np.float32


@pytest.mark.parametrize(
    ("dims", "shapes", "found"),
    [
        ([1, "a"], {}, "nothing of this name"),
        ([1, "a"], {"x": (1, 2, 3)}, "1x2x3"),
        ([1, 5], {"x": (1, 2)}, "1x2"),
        (["a", "a"], {"x": (1, 2)}, "1x2"),
    ],
)
def test_shapes_that_contradict_the_graph(tmp_path: Path, dims: list, shapes: dict, found: str) -> None:
    with pytest.raises(BundleError, match=rf'r.onnx: input "x" of r does not fit; found {found}; expected'):
        Session(relu_file(tmp_path / "r.onnx", dims), CPU, shapes, name="r")


def test_output_shapes_that_only_a_run_can_tell(tmp_path: Path) -> None:
    g = OnnxGraph()
    found = g.node("NonZero", g.node("Relu", g.input("x", ["n"])))
    g.output(found, "y", [1, "k"], onnx.TensorProto.INT64)
    onnx.save(g.model("nonzero"), tmp_path / "n.onnx")
    session = Session(tmp_path / "n.onnx", CPU, {"x": (4,)}, name="n")
    value = allocate((4,), np.float32, CPU)
    value.update_inplace(np.array([0, 2, 0, 3], np.float32))
    assert session.outputs["y"].shape is None
    assert session.output_shapes({"x": value}) == {"y": (1, 2)}


def test_every_binding_has_a_cuda_graph_of_its_own(tmp_path: Path) -> None:
    """Recorded graphs hold addresses: two bindings that shared one would read and write each other's
    buffers.
    """
    session = Session(relu_file(tmp_path / "r.onnx", [2]), CPU, {"x": (2,)}, name="r")
    buffers = [allocate((2,), np.float32, CPU) for _ in range(3)]
    bindings = [session.bind({"x": buffers[0]}, {"y": buffer}) for buffer in buffers[1:]]
    assert [b.options.get_run_config_entry("gpu_graph_id") for b in bindings] == ["1", "2"]


def test_files_that_are_no_models(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"<!doctype html>")
    with pytest.raises(BundleError, match=r"a\.onnx: not an ONNX model"):
        Session(tmp_path / "a.onnx", CPU, {})
    with pytest.raises(BundleError, match=r"b\.onnx: cannot be read; found No such file"):
        Session(tmp_path / "b.onnx", CPU, {})
    bad = OnnxGraph()
    y = bad.node("NoSuchOperator", bad.input("x", value_dims("x")))
    bad.output(y, "y", value_dims("y"))
    onnx.save(bad.draft("bad").whole(), tmp_path / "c.onnx")
    with pytest.raises(
        BundleError, match=r"c\.onnx: ONNX Runtime cannot open c; found .*NoSuchOperator"
    ) as error:
        Session(tmp_path / "c.onnx", CPU, {"x": (1, 1, 2, 2)}, name="c")
    assert "\n" not in str(error.value) and "onnxruntime_src" not in str(error.value)


class FakeCuda:
    """What ONNX Runtime would do with a graph that does not fit on the GPU as a whole."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, on_cpu: list[str]) -> None:
        self.on_cpu = on_cpu
        self.strict: list[bool] = []
        monkeypatch.setattr(session_module.ort, "InferenceSession", self.open)

    def open(self, model: object, options: ort.SessionOptions, **_: object) -> FakeSession:
        strict = self.has(options, "session.disable_cpu_ep_fallback")
        self.strict.append(strict)
        if strict:
            raise RuntimeError(
                "This session contains graph nodes that are assigned to the default CPU EP, but fallback to "
                "CPU EP has been explicitly disabled by the user."
            )
        return FakeSession(self.on_cpu)

    @staticmethod
    def has(options: ort.SessionOptions, key: str) -> bool:
        try:
            return options.get_session_config_entry(key) == "1"
        except RuntimeError:
            return False


class FakeSession:
    def __init__(self, on_cpu: list[str]) -> None:
        self.nodes = [("Conv", "CUDAExecutionProvider")] + [(op, "CPUExecutionProvider") for op in on_cpu]

    def get_provider_graph_assignment_info(self) -> list:
        from types import SimpleNamespace as Space

        return [Space(ep_name=ep, get_nodes=lambda op=op: [Space(op_type=op)]) for op, ep in self.nodes]

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def disable_fallback(self) -> None: ...
    def get_inputs(self) -> list:
        return []

    def get_input_memory_infos(self) -> list:
        return []

    get_outputs = get_inputs


CUDA = Device("cuda", 0, "test")


def test_size_arithmetic_may_stay_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCuda(monkeypatch, ["Shape", "Gather", "Concat"])
    Session(relu_file(tmp_path / "r.onnx", [1]), CUDA, {"x": (1,)}, name="r")
    assert fake.strict == [True, False]


def test_a_heavy_node_on_the_cpu_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeCuda(monkeypatch, ["Shape", "MaxUnpool"])
    with pytest.raises(
        DeviceError, match="r cannot run on cuda:0 alone; found MaxUnpool would run on the CPU"
    ):
        Session(relu_file(tmp_path / "r.onnx", [1]), CUDA, {"x": (1,)}, name="r")


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu(tmp_path: Path) -> None:
    try:
        choose_device("cuda")
    except DeviceError as error:
        pytest.skip(str(error))
    bundle = chain(tmp_path / "three.staged")
    runs = []
    for device in ("cpu", "cuda"):
        with runtime.open(bundle, device=device, schedule="adaptive:0.3") as player:
            runs.append(list(player.play(frame_of(r) for r in (1, 1, 2, 9, 9))))
            assert all(entry.device == str(player.device) for entry in player.cache.describe())
    for one, other in zip(*runs, strict=True):
        assert np.array_equal(one.labels, other.labels)
        assert (one.fired, one.signal, one.provenance) == (other.fired, other.signal, other.provenance)
