"""The errors of chapter 2's functions, and what its claims leave open."""

import pickle
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import nn

from blitz import autograd, devices


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Downloads go to an empty folder and fail, unless a test says what they bring."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))

    def fail(url: Any, *_args: Any, **_options: Any) -> None:
        raise URLError("no network here")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    """A small state_dict that fits ResNet-18: every tensor full of its number in the list."""
    from torchvision.models import resnet18

    with torch.device("meta"):
        shapes = resnet18().state_dict()
    return {
        name: torch.tensor(number, dtype=like.dtype).expand(like.shape)
        for number, (name, like) in enumerate(shapes.items())
    }


class TestWeightsFromAFile:
    def test_fill_the_model(self, weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
        torch.save(weights, tmp_path / "own.pth")

        model = autograd.resnet18(tmp_path / "own.pth")

        assert model.conv1.weight[0, 0, 0].tolist() == [0.0] * 7
        assert model.fc.bias.tolist() == [121.0] * 1000
        assert model.training
        assert all(p.requires_grad and p.is_contiguous() for p in model.parameters())

    def test_name_may_be_a_string(self, weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
        torch.save(weights, tmp_path / "own.pth")

        assert autograd.resnet18(str(tmp_path / "own.pth")).fc.bias[0] == 121

    def test_go_to_the_device_asked_for(
        self, weights: dict[str, torch.Tensor], tmp_path: Path
    ) -> None:
        torch.save(weights, tmp_path / "own.pth")

        model = autograd.resnet18(tmp_path / "own.pth", device="meta")

        assert {t.device for t in model.state_dict().values()} == {torch.device("meta")}

    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(
            autograd.UnusableWeights, match=r"absent\.pth' cannot be read: No such file.*Give"
        ):
            autograd.resnet18(tmp_path / "absent.pth")

    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(autograd.UnusableWeights, match="cannot be read: Is a directory"):
            autograd.resnet18(tmp_path)

    @pytest.mark.parametrize("damage", ["garbage", "empty", "truncated", "flipped"])
    def test_damaged_file(
        self, weights: dict[str, torch.Tensor], tmp_path: Path, damage: str
    ) -> None:
        file = tmp_path / "damaged.pth"
        torch.save(weights, file)
        whole = file.read_bytes()
        start = whole.index(b"conv1.weight")
        file.write_bytes(
            {
                "garbage": b"no weights at all",
                "empty": b"",
                "truncated": whole[: len(whole) // 2],
                "flipped": whole[:start] + b"\xff\xfe" + whole[start + 2 :],
            }[damage]
        )

        with pytest.raises(autograd.UnusableWeights, match=r"damaged\.pth' is damaged.*fetch"):
            autograd.resnet18(file)

    def test_pickled_objects_are_not_executed(self, tmp_path: Path) -> None:
        class Harmful:
            def __reduce__(self) -> tuple[Any, ...]:
                return Path.touch, (tmp_path / "executed",)

        for name, save in (("new", torch.save), ("old", _save_as_a_bare_pickle)):
            save({"conv1.weight": Harmful()}, tmp_path / name)
            with pytest.raises(autograd.UnusableWeights, match="more than tensors"):
                autograd.resnet18(tmp_path / name)

        assert not (tmp_path / "executed").exists()

    @pytest.mark.filterwarnings("ignore")  # torch warns where it gives in to the environment
    def test_pickled_objects_are_not_executed_where_the_environment_allows_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Harmful:
            def __reduce__(self) -> tuple[Any, ...]:
                return Path.touch, (tmp_path / "executed",)

        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        cached = tmp_path / "home/hub/checkpoints/resnet18-f37072fd.pth"
        cached.parent.mkdir(parents=True)
        torch.save({"conv1.weight": Harmful()}, cached)

        for weights in (cached, "default"):
            with pytest.raises(autograd.UnusableWeights, match="damaged"):
                autograd.resnet18(weights)

        assert not (tmp_path / "executed").exists()

    @pytest.mark.parametrize(
        ("error", "told"),
        [
            (RuntimeError("It broke."), "It broke."),
            (RuntimeError("it broke"), "it broke."),
            (RuntimeError(), "RuntimeError."),
            (RuntimeError("word " * 99), "word " * 46 + "word …."),
        ],
    )
    def test_what_is_wrong_with_a_file_is_told_in_one_sentence(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
    ) -> None:
        def fail(*_arguments: Any, **_options: Any) -> None:
            raise error

        monkeypatch.setattr(torch, "load", fail)

        with pytest.raises(autograd.UnusableWeights) as caught:
            autograd.resnet18(tmp_path / "own.pth")

        assert f"holds more than tensors: {told} Save a state_dict" in str(caught.value)

    def test_weights_of_another_network(self, tmp_path: Path) -> None:
        torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "linear.pth")

        with pytest.raises(autograd.UnusableWeights, match=r"linear\.pth' are not those.*Missing"):
            autograd.resnet18(tmp_path / "linear.pth")

    def test_weights_with_another_head(
        self, weights: dict[str, torch.Tensor], tmp_path: Path
    ) -> None:
        tuned = {**weights, "fc.weight": torch.ones(10, 512), "fc.bias": torch.ones(10)}
        torch.save(tuned, tmp_path / "tuned.pth")

        with pytest.raises(autograd.UnusableWeights, match=r"size mismatch for fc\.weight"):
            autograd.resnet18(tmp_path / "tuned.pth")

    @pytest.mark.parametrize("content", [[1, 2], torch.ones(3), {1: torch.ones(3)}])
    def test_something_else_than_a_state_dict(self, tmp_path: Path, content: Any) -> None:
        torch.save(content, tmp_path / "other.pth")

        with pytest.raises(autograd.UnusableWeights, match="are not those of a ResNet-18"):
            autograd.resnet18(tmp_path / "other.pth")

    def test_unusable_device(self) -> None:
        with pytest.raises(devices.UnusableDevice, match="'gpu'"):
            autograd.resnet18(device="gpu")


class TestDefaultWeights:
    def test_are_downloaded_once_and_their_digest_is_asked_for(
        self, weights: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []

        def bring(url: Any, file: Any, hash_prefix: Any, progress: Any) -> None:
            asked.append((url, hash_prefix, progress))
            torch.save(weights, file)

        monkeypatch.setattr(torch.hub, "download_url_to_file", bring)

        models = [autograd.resnet18("default") for _ in range(2)]

        url = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
        assert asked == [(url, "f37072fd", False)]
        assert [model.fc.bias[0].item() for model in models] == [121, 121]
        assert (tmp_path / "home/hub/checkpoints/resnet18-f37072fd.pth").exists()

    def test_go_to_the_device_asked_for(
        self, weights: dict[str, torch.Tensor], tmp_path: Path
    ) -> None:
        file = tmp_path / "home/hub/checkpoints/resnet18-f37072fd.pth"
        file.parent.mkdir(parents=True)
        torch.save(weights, file)

        model = autograd.resnet18("default", device="meta")

        assert {t.device for t in model.state_dict().values()} == {torch.device("meta")}

    def test_no_network(self, tmp_path: Path) -> None:
        with pytest.raises(autograd.UnusableWeights) as caught:
            autograd.resnet18("default")

        message = str(caught.value)
        assert "https://download.pytorch.org/models/resnet18-f37072fd.pth cannot be" in message
        assert "no network here" in message
        assert f"to {tmp_path}/home/hub/checkpoints/resnet18-f37072fd.pth" in message
        assert "Put the file there by hand" in message

    def test_download_with_a_wrong_digest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def bring(url: Any, file: Any, hash_prefix: Any, progress: Any) -> None:
            raise RuntimeError(f'invalid hash value (expected "{hash_prefix}", got "00")')

        monkeypatch.setattr(torch.hub, "download_url_to_file", bring)

        with pytest.raises(autograd.UnusableWeights, match=r"cannot be downloaded.*invalid hash"):
            autograd.resnet18("default")

    @pytest.mark.parametrize("damage", ["garbage", "empty", "truncated"])
    def test_damaged_file_in_the_cache(
        self, weights: dict[str, torch.Tensor], tmp_path: Path, damage: str
    ) -> None:
        file = tmp_path / "home/hub/checkpoints/resnet18-f37072fd.pth"
        file.parent.mkdir(parents=True)
        torch.save(weights, file)
        whole = file.read_bytes()
        file.write_bytes({"garbage": b"x" * 99, "empty": b"", "truncated": whole[:9000]}[damage])

        with pytest.raises(
            autograd.UnusableWeights, match=r"resnet18-f37072fd\.pth is damaged.*Delete it"
        ):
            autograd.resnet18("default")

    def test_pickled_objects_in_the_cache_are_not_executed(self, tmp_path: Path) -> None:
        class Harmful:
            def __reduce__(self) -> tuple[Any, ...]:
                return Path.touch, (tmp_path / "executed",)

        file = tmp_path / "home/hub/checkpoints/resnet18-f37072fd.pth"
        file.parent.mkdir(parents=True)
        torch.save({"conv1.weight": Harmful()}, file)

        with pytest.raises(
            autograd.UnusableWeights, match=r"damaged: Weights only load failed.* Delete it"
        ):
            autograd.resnet18("default")
        assert not (tmp_path / "executed").exists()


class TestRandomWeights:
    def test_follow_the_seed_and_nothing_else(self) -> None:
        first, second, third = (
            (torch.manual_seed(seed), autograd.resnet18().conv1.weight)[1] for seed in (1, 1, 2)
        )

        assert torch.equal(first, second)
        assert not torch.equal(first, third)


class TestTrainingStep:
    @pytest.mark.parametrize(
        ("moved", "named"), [(0, "data are on meta"), (1, "labels are on meta")]
    )
    def test_other_device_than_the_model(self, moved: int, named: str) -> None:
        tensors = [torch.ones(1, 3), torch.ones(1, 2)]
        tensors[moved] = tensors[moved].to("meta")

        with pytest.raises(ValueError, match=f"{named}, the model is on cpu: move"):
            autograd.training_step(nn.Linear(3, 2), *tensors)

    @pytest.mark.parametrize("shape", [(2,), (1, 1), (2, 1)])
    def test_labels_of_another_shape(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"do not fit a prediction of shape \(1, 2\): give"):
            autograd.training_step(nn.Linear(3, 2), torch.ones(1, 3), torch.ones(shape))

    def test_refused_step_changes_nothing(self) -> None:
        net = nn.Linear(3, 2)
        before = autograd.snapshot(net.named_parameters())

        with pytest.raises(ValueError, match="do not fit"):
            autograd.training_step(net, torch.ones(1, 3), torch.ones(1, 5))

        assert autograd.moved(before, net.named_parameters()) == set()
        assert net.weight.grad is None

    def test_network_without_parameters(self) -> None:
        with pytest.raises(ValueError, match="ReLU has no parameters to train"):
            autograd.training_step(nn.ReLU(), torch.ones(1, 3), torch.ones(1, 3))


def test_tensors_are_made_on_the_cpu_where_no_device_is_asked_for() -> None:
    made = [*autograd.a_and_b(), *autograd.random_image_and_labels()]

    assert {tensor.device for tensor in made} == {torch.device("cpu")}


class TestVectorJacobianProduct:
    def test_leaves_the_gradient_of_its_input_alone(self) -> None:
        x = torch.ones(2, requires_grad=True)

        product = autograd.vector_jacobian_product(torch.exp, x, torch.ones(2))

        assert x.grad is None
        assert not product.requires_grad

    def test_leaves_its_input_untracked(self) -> None:
        x = torch.ones(2)

        autograd.vector_jacobian_product(torch.exp, x, torch.ones(2))

        assert not x.requires_grad

    def test_lives_on_the_device_of_its_input(self) -> None:
        x = torch.ones(2, device="meta")

        product = autograd.vector_jacobian_product(torch.exp, x, torch.ones(2, device="meta"))

        assert product.device == torch.device("meta")

    def test_integers(self) -> None:
        with pytest.raises(ValueError, match=r"x is torch\.int64.*give x\.float\(\)"):
            autograd.vector_jacobian_product(torch.exp, torch.tensor([1, 2]), torch.ones(2))

    def test_vector_of_another_shape(self) -> None:
        with pytest.raises(ValueError, match=r"v of shape \(3,\).*output of shape \(2,\)"):
            autograd.vector_jacobian_product(torch.exp, torch.ones(2), torch.ones(3))

    @pytest.mark.parametrize(
        "function",
        [
            lambda x: torch.ones(2),
            lambda x: x.detach() * 2,
            lambda x: torch.ones(2, requires_grad=True) * 2,
            torch.no_grad()(lambda x: x * 2),
        ],
        ids=["constant", "detached", "of something else", "no_grad"],
    )
    def test_output_that_does_not_depend_on_the_input(self, function: Any) -> None:
        with pytest.raises(ValueError, match="does not depend on x"):
            autograd.vector_jacobian_product(function, torch.ones(2), torch.ones(2))


class TestReplaceHead:
    def test_keeps_device_and_dtype(self) -> None:
        model = nn.Sequential()
        model.fc = nn.Linear(7, 3, device="meta", dtype=torch.float64)

        head = autograd.replace_head(model, 5)

        assert head is model.fc
        assert head.weight.shape == (5, 7)
        assert head.weight.dtype == torch.float64
        assert head.weight.device == torch.device("meta")

    def test_one_class_is_enough(self) -> None:
        model = nn.Sequential()
        model.fc = nn.Linear(7, 3)

        assert autograd.replace_head(model, 1).weight.shape == (1, 7)

    def test_network_without_fc(self) -> None:
        with pytest.raises(
            ValueError, match=r"Sequential has no linear layer 'fc' to replace, but: 0, 1\. Use"
        ):
            autograd.replace_head(nn.Sequential(nn.Linear(1, 1), nn.ReLU()), 10)

    def test_fc_that_is_not_linear(self) -> None:
        model = nn.Sequential()
        model.fc = nn.Conv2d(1, 1, 1)

        with pytest.raises(ValueError, match="no linear layer 'fc'"):
            autograd.replace_head(model, 10)

    @pytest.mark.parametrize("classes", [0, -3, 2.5, "10", True])
    def test_senseless_number_of_classes(self, classes: Any) -> None:
        model = nn.Sequential()
        model.fc = nn.Linear(7, 3)

        with pytest.raises(ValueError, match=f"classes is {classes!r}: give a positive whole"):
            autograd.replace_head(model, classes)
        assert model.fc.out_features == 3


class TestQGradients:
    def test_are_not_tracked(self) -> None:
        found = autograd.q_gradients(*autograd.a_and_b())

        assert [gradient.requires_grad for gradient in found] == [False, False]


class TestMoved:
    def test_names_what_differs(self) -> None:
        net = nn.Linear(2, 1)
        before = autograd.snapshot(net.named_parameters())

        nn.init.zeros_(net.weight)

        assert autograd.moved(before, net.named_parameters()) == {"weight"}

    def test_snapshot_is_not_tracked(self) -> None:
        before = autograd.snapshot(nn.Linear(2, 1).named_parameters())

        assert [copy.requires_grad for copy in before.values()] == [False, False]

    def test_states_of_two_models(self) -> None:
        before = autograd.snapshot(nn.Linear(2, 1).named_parameters())

        with pytest.raises(ValueError, match="bias: in the snapshot or in the model, not in both"):
            autograd.moved(before, nn.Linear(2, 1, bias=False).named_parameters())


class TestFootprint:
    def test_of_an_untracked_forward_pass_is_zero(self) -> None:
        kept = autograd.footprint(lambda: torch.ones(3).exp())

        assert (kept.nodes, kept.saved_tensors, kept.saved_bytes) == (0, 0, 0)

    def test_counts_what_is_saved(self) -> None:
        x = torch.ones(3, requires_grad=True)

        kept = autograd.footprint(lambda: (x * 2).exp().sum())

        assert (kept.nodes, kept.saved_tensors, kept.saved_bytes) == (4, 1, 12)

    def test_leaves_the_graph_usable(self) -> None:
        x = torch.ones(3, requires_grad=True)
        results = []

        autograd.footprint(lambda: results.append(x**2) or results[0])
        results[0].sum().backward()

        assert x.grad.tolist() == [2.0, 2.0, 2.0]


def _save_as_a_bare_pickle(content: Any, file: Any) -> None:
    Path(file).write_bytes(pickle.dumps(content))
