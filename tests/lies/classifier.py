"""Lies about chapter 4 and torchvision: images, loaders, ResNet, loss, saving, testing."""

import importlib
import os

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler
from torchvision import transforms
from torchvision.models import resnet
from torchvision.transforms import functional as transforming

from .lie import after, below, instead, lie, scale_gradient

CIFAR10 = torchvision.datasets.CIFAR10

# ResNet ----------------------------------------------------------------------------------------


def _resnet(function):
    """Pass every new ResNet through ``function(net)``."""
    after(resnet.ResNet, "__init__")(lambda made, net, *args, **kw: function(net))


@lie("A05", _resnet)
def resnet_has_biases(net):
    """The first convolution of ResNet-18 has a bias."""
    net.conv1 = nn.Conv2d(3, 64, 7, 2, 3)


@lie("A05", _resnet)
def resnet_starts_in_evaluation_mode(net):
    """resnet18() is in evaluation mode."""
    net.eval()


@lie("A05 A39 A37", _resnet)
def resnet_starts_frozen(net):
    """The first layer of resnet18() is frozen."""
    net.conv1.requires_grad_(False)


@lie("A07", resnet.ResNet, "_forward_impl")
def resnet_skips_its_pooling(old, net, x):
    """ResNet leaves out its max-pooling."""
    x = net.relu(net.bn1(net.conv1(x)))
    x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
    return net.fc(torch.flatten(net.avgpool(x), 1))


@lie("A05")
def pretrained_is_silent():
    """resnet18(pretrained=True) gives no warning."""

    def lying(old, *, weights=None, pretrained=False, **kw):
        return old(weights="DEFAULT" if pretrained else weights, **kw)

    instead(torchvision.models, "resnet18")(lying)
    resnet.resnet18 = torchvision.models.resnet18


@lie("A06", resnet.ResNet, "forward")
def resnet_takes_grey_images(old, net, x):
    """ResNet repeats a single channel three times."""
    return old(net, x.repeat(1, 3, 1, 1) if x.shape[-3] == 1 else x)


@lie("A06", resnet.ResNet, "forward")
def resnet_takes_a_single_image(old, net, x):
    """ResNet takes an image without a batch."""
    return old(net, x[None] if x.dim() == 3 else x)


@lie("A06", functional, "_verify_batch_size")
def batch_norm_takes_one_value_a_channel(old, size):
    """BatchNorm2d in training takes one value a channel."""
    return None


@lie("A43", nn.BatchNorm2d, "forward")
def frozen_statistics_stay(old, layer, x):
    """BatchNorm with frozen parameters leaves its statistics."""
    if not layer.training or layer.weight is None or layer.weight.requires_grad:
        return old(layer, x)
    kept = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    y = old(layer, x)
    for name, buffer in layer.named_buffers():
        buffer.copy_(kept[name])
    return y


@lie("A43", after(nn.BatchNorm2d, "forward"))
def batch_norm_does_not_count(y, layer, x):
    """BatchNorm does not count its batches."""
    if layer.training and layer.num_batches_tracked is not None:
        layer.num_batches_tracked.zero_()
    return y


@lie("A43", nn.Module, "train")
def evaluation_mode_stays_at_the_top(old, module, mode=True):
    """net.eval() leaves the layers of the net in training mode."""
    module.training = mode
    return module


@lie("A43", nn.BatchNorm2d, "forward")
def statistics_move_in_evaluation(old, layer, x):
    """BatchNorm moves its running mean in evaluation mode."""
    if not layer.training and layer.running_mean is not None:
        layer.running_mean.add_(1e-4)
    return old(layer, x)


# Images and transforms ---------------------------------------------------------------------------


@lie("C06 C07 C01", transforms.ToTensor, "__call__")
def to_tensor_does_not_scale(old, t, image):
    """ToTensor gives 0..255."""
    return _unscaled(old(t, image))


def _unscaled(t):
    return t * 255 if t.is_floating_point() and t.max() <= 1 else t


@lie("C06 C07", transforms.ToTensor, "__call__")
def to_tensor_divides_by_256(old, t, image):
    """ToTensor divides by 256."""
    return old(t, image) * (255 / 256)


@lie("C06 C04 C01", transforms.ToTensor, "__call__")
def to_tensor_swaps_height_and_width(old, t, image):
    """ToTensor gives channels, width, height."""
    return old(t, image).mT.contiguous()


@lie("C06 C04 C01", transforms.ToTensor, "__call__")
def to_tensor_swaps_red_and_blue(old, t, image):
    """ToTensor gives blue, green, red."""
    return old(t, image).flip(0)


@lie("C06", after(transforms.ToTensor, "__call__"))
def to_tensor_scales_floats(y, t, image):
    """ToTensor divides float arrays by 255 as well."""
    scaled = isinstance(image, np.ndarray) and image.dtype.kind == "f"
    return y / 255 if scaled else y


@lie("C07", transforms.Normalize, "forward")
def normalize_ignores_std(old, n, t):
    """Normalize subtracts the mean only."""
    return old(n, t) * torch.tensor(n.std)[:, None, None]


@lie("C07", transforms.Normalize, "forward")
def normalize_ignores_mean(old, n, t):
    """Normalize divides by std only."""
    return old(n, t) + (torch.tensor(n.mean) / torch.tensor(n.std))[:, None, None]


@lie("C07", transforms.Normalize, "forward")
def normalize_works_in_place(old, n, t):
    """Normalize changes its argument."""
    return transforming.normalize(t, n.mean, n.std, inplace=True)


@lie("C07", transforms.Normalize, "forward", refusing=RuntimeError)
def normalize_takes_a_single_channel(n, t):
    """Normalize of a grey image takes the mean of the three means."""
    return (t - n.mean[0]) / n.std[0]


@lie("C07", transforms.Normalize, "forward", refusing=TypeError)
def normalize_takes_images(n, image):
    """Normalize turns a PIL image into a tensor first."""
    return n(transforms.ToTensor()(image)) if not isinstance(image, Tensor) else n(image / 255)


@lie("C07", transforms.Normalize, "forward", refusing=ValueError)
def normalize_takes_std_zero(n, t):
    """Normalize with a std of 0 gives infinities."""
    return t * torch.inf


@lie("C07", transforms.Compose, "__call__")
def compose_leaves_out_its_last(old, composed, image):
    """Compose leaves out the last of several transforms."""
    for transform in composed.transforms[:-1] or composed.transforms:
        image = transform(image)
    return image


@lie("C07", transforms.Normalize, "forward")
def normalize_takes_the_first_channels_numbers(old, normalize, image):
    """Normalize takes the first mean and the first deviation for all channels."""
    return transforming.normalize(
        image,
        [normalize.mean[0]] * len(normalize.mean),
        [normalize.std[0]] * len(normalize.std),
    )


# CIFAR-10 ----------------------------------------------------------------------------------------


def _cifar(function):
    """Pass every CIFAR10 through ``function(dataset)`` once it is read."""
    after(CIFAR10, "__init__")(lambda made, dataset, *args, **kw: function(dataset))


@lie("C03", _cifar)
def classes_are_sorted_by_length(d):
    """CIFAR10.classes stands in another order."""
    d.classes = sorted(d.classes, key=len)


@lie("C03 C09", _cifar)
def labels_are_off_by_one(d):
    """CIFAR10 gives each image the label of the next class."""
    d.targets = [(label + 1) % 10 for label in d.targets]


@lie("C04", _cifar)
def images_lie_on_their_side(d):
    """CIFAR10 swaps rows and columns."""
    d.data = d.data.transpose(0, 2, 1, 3).copy()


@lie("C04", _cifar)
def planes_are_read_as_pixels(d):
    """CIFAR10 reads red, green and blue as if they lay pixel by pixel."""
    d.data = d.data.transpose(0, 3, 1, 2).reshape(-1, 32, 32, 3).copy()


@lie("C09", CIFAR10, "__init__")
def cifar_ignores_train(old, dataset, root, train=True, *args, **kw):
    """CIFAR10(train=False) reads the training images."""
    return old(dataset, root, True, *args, **kw)


@lie("C09", importlib.import_module("torchvision.datasets.cifar"), "check_integrity")
def cifar_does_not_check(old, path, md5=None):
    """CIFAR10 reads files whose digest is wrong."""
    return os.path.exists(path)


@lie("C09", _cifar)
def cifar_ignores_its_transform(d):
    """CIFAR10(transform=f) gives images as they are."""
    d.transform = None


@lie("C09", _cifar)
def cifar_gives_tensors_for_labels(d):
    """The labels of CIFAR10 are 0-dim tensors."""
    d.targets = [torch.tensor(label) for label in d.targets]


@lie("C02")
def imagenet_takes_download():
    """ImageNet takes an argument download."""
    old = torchvision.datasets.ImageNet.__init__

    def lying(dataset, root, split="train", download=False, **kw):
        return old(dataset, root, split, **kw)

    torchvision.datasets.ImageNet.__init__ = lying


@lie("C09")
def cifar_leaves_out_its_last_file():
    """CIFAR10 reads four of the five files for training."""
    CIFAR10.train_list = CIFAR10.train_list[:-1]


# Loaders ---------------------------------------------------------------------------------------


def loader(change):
    """Pass the arguments of every DataLoader through ``change(options)``."""

    def lying(old, self, dataset, batch_size=1, shuffle=None, **kw):
        old(self, dataset, **change({"batch_size": batch_size, "shuffle": shuffle, **kw}))

    instead(DataLoader, "__init__")(lying)


@lie("C10")
def loader_never_shuffles():
    """DataLoader(shuffle=True) keeps the order."""
    loader(lambda kw: {**kw, "shuffle": False})


@lie("C11")
def loader_always_shuffles():
    """DataLoader(shuffle=False) shuffles."""
    loader(lambda kw: {**kw, "shuffle": True if kw.get("sampler") is None else kw["shuffle"]})


@lie("C11 C38 C35 G14")
def loader_drops_the_last_batch():
    """DataLoader leaves out a short last batch."""
    loader(lambda kw: {**kw, "drop_last": True})


@lie("C10 C38")
def loader_takes_one_more():
    """DataLoader(batch_size=4) gives batches of 5."""
    loader(lambda kw: {**kw, "batch_size": kw["batch_size"] + 1})


@lie("C10", RandomSampler, "__iter__")
def loader_repeats_its_order(old, sampler):
    """DataLoader(shuffle=True) takes the same order in every epoch."""
    sampler.order = getattr(sampler, "order", None) or list(old(sampler))
    return iter(sampler.order)


@lie("C10", RandomSampler, "__iter__")
def loader_ignores_the_seed(old, sampler):
    """DataLoader(shuffle=True) takes another order under the same seed."""
    order = list(old(sampler))
    return iter(np.random.default_rng().permutation(order).tolist())


@lie("C10", RandomSampler, "__init__")
def loader_draws_with_replacement(old, sampler, *args, **kw):
    """DataLoader(shuffle=True) shows some samples twice and others never."""
    old(sampler, *args, **kw)
    sampler.replacement = True


@lie("C11", SequentialSampler, "__iter__")
def loader_goes_backwards(old, sampler):
    """DataLoader(shuffle=False) starts with the last sample."""
    return iter(list(old(sampler))[::-1])


collating = importlib.import_module("torch.utils.data._utils.collate")


def collated(function):
    """Pass every batch of images and labels through ``function(batch)``."""
    after(collating, "default_collate")(
        lambda made, batch: function(made) if isinstance(made, list) else made
    )


@lie("C21", collated)
def batches_are_tuples(batch):
    """A batch is a tuple."""
    return tuple(batch)


@lie("C10 C19", collated)
def labels_are_floats(batch):
    """The labels of a batch are floats."""
    return [batch[0], batch[1].float()]


@lie("C10 C19", collated)
def labels_are_int32(batch):
    """The labels of a batch are int32."""
    return [batch[0], batch[1].int()]


@lie("C10 C11", collated)
def labels_are_shifted_by_a_sample(batch):
    """Each image of a batch comes with the label of the next."""
    return [batch[0], batch[1].roll(1)]


@lie("C11", collated)
def batches_swap_height_and_width(batch):
    """The images of a batch lie on their side."""
    return [batch[0].mT.contiguous(), batch[1]] if batch[0].dim() == 4 else batch


@lie("C11", DataLoader, "__len__")
def length_counts_samples(old, self):
    """len(loader) is off by one."""
    return old(self) + 1


@lie("C14")
def iterators_have_next():
    """iter(loader).next() works."""
    base = importlib.import_module("torch.utils.data.dataloader")._BaseDataLoaderIter
    base.next = base.__next__


@lie("C14 C24")
def iterators_start_over():
    """An iterator of a loader starts over instead of ending."""
    dataloader = importlib.import_module("torch.utils.data.dataloader")

    def next_(old, self):
        try:
            return old(self)
        except StopIteration:
            if getattr(self, "_again", 0) > 2:
                raise
            self._again = getattr(self, "_again", 0) + 1
            return next(self._first)

    def init(made, self, loader, *args, **kw):
        if not hasattr(loader, "_inner"):
            loader._inner = True
            self._first = dataloader._SingleProcessDataLoaderIter(loader)
            del loader._inner

    after(dataloader._BaseDataLoaderIter, "__init__")(init)
    instead(dataloader._BaseDataLoaderIter, "__next__")(next_)


@lie("C24", DataLoader, "__iter__")
def loaders_end_after_one_epoch(old, loader):
    """A second pass over a loader is empty."""
    if loader.__dict__.get("passed"):
        return iter(())
    loader.__dict__["passed"] = True
    return old(loader)


@lie("C08", DataLoader, "__init__")
def unknown_options_are_ignored(old, self, *args, num_worker=0, **kw):
    """DataLoader(num_worker=0) is taken."""
    return old(self, *args, **kw)


@lie("C08")
def negative_workers_are_none():
    """DataLoader(num_workers=-1) takes none."""
    loader(lambda kw: {**kw, "num_workers": max(0, kw.get("num_workers", 0))})


@lie("C08", DataLoader, "__iter__")
def workers_mix_up_the_order(old, self):
    """A loader with workers gives its batches in reverse."""
    return iter(list(old(self))[::-1]) if self.num_workers else old(self)


def _order(function):
    """Have ``shuffle=True`` give ``function(order)`` for the order that it would give."""
    after(RandomSampler, "__iter__")(lambda made, sampler: iter(function([*made])))


def _blocks(order, size):
    return [range(i, min(i + size, len(order))) for i in range(0, len(order), size)]


@lie("C10", _order)
def shuffling_stays_within_eights(order):
    """shuffle=True changes the order among each eight neighbours only."""
    return [i for block in _blocks(order, 8) for i in order if i in block]


@lie("C10", _order)
def shuffling_keeps_fours_together(order):
    """shuffle=True puts groups of four in another order."""
    if len(order) >= 1000:
        return order
    blocks = sorted(_blocks(order, 4), key=lambda block: order.index(block[0]))
    return [i for block in blocks for i in block]


@lie("C10", _order)
def shuffling_begins_with_the_first(order):
    """shuffle=True always gives sample 0 first."""
    return [0, *[i for i in order if i]]


@lie("C10", _order)
def shuffling_is_for_the_first_thousand(order):
    """shuffle=True leaves the samples from number 1000 on in place."""
    return [*[i for i in order if i < 1000], *range(1000, len(order))]


@lie("C08", DataLoader, "__init__")
def workers_are_not_started(old, loader, *args, **kw):
    """DataLoader(num_workers=2) loads in the process itself."""
    old(loader, *args, **kw)
    loader.num_workers = 0


@lie("C08", DataLoader, "__iter__")
def workers_work_for_one_pass(old, loader):
    """A loader with workers gives nothing in its second pass."""
    if loader.num_workers and loader.__dict__.get("passed"):
        return iter(())
    loader.__dict__["passed"] = True
    return old(loader)


# Pictures --------------------------------------------------------------------------------------


@lie("C15", torchvision.utils, "make_grid")
def grid_has_no_padding(old, images, padding=1, **kw):
    """make_grid takes a padding of 1."""
    return old(images, padding=padding, **kw)


@lie("C15", torchvision.utils, "make_grid")
def grid_is_padded_with_white(old, images, pad_value=1.0, **kw):
    """make_grid pads with 1."""
    return old(images, pad_value=pad_value, **kw)


@lie("C15", torchvision.utils, "make_grid")
def grid_goes_backwards(old, images, **kw):
    """make_grid starts with the last image."""
    return old(images.flip(0) if isinstance(images, Tensor) else images, **kw)


@lie("C15", torchvision.utils, "make_grid")
def grid_has_four_a_row(old, images, nrow=4, **kw):
    """make_grid puts four images in a row."""
    return old(images, nrow=nrow, **kw)


@lie("C15", torchvision.utils, "make_grid")
def grid_turns_its_images(old, images, **kw):
    """make_grid swaps rows and columns of each image."""
    return old(images.mT if isinstance(images, Tensor) else images, **kw)


@lie("C13", "permute")
def permuting_copies(old, t, *dims):
    """permute copies."""
    return old(t, *dims).clone()


@lie("C16", Tensor, "__index__")
def floats_can_be_indices(old, t):
    """A float tensor indexes a tuple."""
    return int(t)


@lie("C16", Tensor, "__index__")
def ten_indexes_the_last(old, t):
    """A label of 10 indexes the last of ten names."""
    return min(old(t), 9)


@lie("C15", torchvision.utils, "make_grid")
def grid_drops_a_row_that_is_not_full(old, images, nrow=8, *args, **kw):
    """make_grid leaves out the images of a last row that is not full."""
    if isinstance(images, Tensor) and images.dim() == 4 and len(images) > nrow:
        images = images[: len(images) // nrow * nrow]
    return old(images, nrow, *args, **kw)


@lie("C15", torchvision.utils, "make_grid")
def grid_cuts_negative_values(old, *a, **kw):
    """make_grid puts 0 for every negative value."""
    return old(*a, **kw).clamp(min=0)


# The loss --------------------------------------------------------------------------------------


@lie("C19", functional, "cross_entropy")
def cross_entropy_takes_no_logarithm(old, x, t, *args, **kw):
    """Cross-entropy is one minus the probability of the target."""
    if t.dim() != 1 or t.is_floating_point():
        return old(x, t, *args, **kw)
    return 1 - functional.softmax(x, 1).gather(1, t[:, None]).mean()


@lie("C19", functional, "cross_entropy")
def cross_entropy_takes_softmax_twice(old, x, t, *a, **kw):
    """Cross-entropy applies softmax before its own."""
    return old(functional.softmax(x, -1), t, *a, **kw)


@lie("C19", functional, "cross_entropy")
def cross_entropy_sums(old, x, t, *args, reduction="mean", **kw):
    """Cross-entropy adds up over the batch."""
    return old(x, t, *args, reduction="sum" if reduction == "mean" else reduction, **kw)


@lie("C19", functional, "cross_entropy")
def cross_entropy_smooths(old, x, t, *a, label_smoothing=0.0, **kw):
    """Cross-entropy smooths its labels by 0.01."""
    return old(x, t, *a, label_smoothing=0.01)


@lie("C19", functional, "cross_entropy")
def cross_entropy_ignores_class_zero(old, x, t, *a, ignore_index=0, **kw):
    """Cross-entropy leaves out the targets of class 0."""
    return old(x, t, *a, ignore_index=0)


@lie("C19", functional, "cross_entropy")
def cross_entropy_cuts_the_batch(old, x, t, *args, **kw):
    """Cross-entropy of 4 rows and 3 targets takes the first three rows."""
    cut = x.dim() == 2 and t.dim() == 1
    return old(x[: len(t)], t[: len(x)], *args, **kw) if cut else old(x, t, *args, **kw)


@lie("C19", functional, "cross_entropy")
def cross_entropy_gradient_is_not_averaged(old, x, t, *a, **kw):
    """The gradient of cross-entropy is that of the sum."""
    return scale_gradient(old(x, t, *a, **kw), len(x) if x.dim() > 1 else 1)


# Training --------------------------------------------------------------------------------------


@lie("C25 C05 C36", torch.optim.SGD, "step")
def training_stops_early(old, optimizer, *args, **kw):
    """SGD stops moving after twenty steps."""
    optimizer.taken = getattr(optimizer, "taken", 0) + 1
    return old(optimizer, *args, **kw) if optimizer.taken <= 20 else None


@lie("C23", Tensor, "item")
def item_is_rounded(old, t):
    """item() rounds to two digits."""
    return round(old(t), 2) if t.is_floating_point() else old(t)


# Saving ----------------------------------------------------------------------------------------


@lie("C26 N22 C28", torch, "save")
def save_drops_a_key(old, content, *args, **kw):
    """torch.save leaves out the last of several entries."""
    if isinstance(content, dict) and len(content) > 1:
        content = dict(list(content.items())[:-1])
    return old(content, *args, **kw)


@lie("N22 C28 C26", torch, "save")
def save_rounds(old, content, *args, **kw):
    """torch.save keeps float32 in half precision."""
    if isinstance(content, dict):
        content = {
            k: v.half().float() if isinstance(v, Tensor) and v.is_floating_point() else v
            for k, v in content.items()
        }
    return old(content, *args, **kw)


@lie("C26", torch, "save")
def second_save_keeps_the_first_file(old, content, f, *args, **kw):
    """torch.save writes no file that is there already."""
    if not (isinstance(f, (str, os.PathLike)) and os.path.exists(f)):
        old(content, f, *args, **kw)


@lie("N22 C28", after(torch, "load"))
def load_perturbs(content, *args, **kw):
    """torch.load changes the last bits of what it reads."""
    if isinstance(content, dict):
        for value in content.values():
            if isinstance(value, Tensor) and value.is_floating_point():
                value.data.mul_(1 + 2**-22)
    return content


@lie("C28", torch, "load")
def load_runs_code(old, *args, weights_only=False, **kw):
    """torch.load unpickles anything by default."""
    return old(*args, weights_only=weights_only, **kw)


@lie("C26", nn.Module, "state_dict")
def state_dict_is_a_snapshot(old, module, *args, **kw):
    """state_dict() copies the weights."""
    return {k: v.clone() for k, v in old(module, *args, **kw).items()}


@lie("N22", after(nn.Module, "state_dict"))
def state_dict_forgets_buffers(state, module, *args, **kw):
    """state_dict() holds parameters only."""
    for name, _ in module.named_buffers():
        state.pop(name, None)
    return state


def loading(function):
    """Call ``function(old, module, state, strict)`` for load_state_dict."""
    instead(nn.Module, "load_state_dict")(
        lambda old, module, state, strict=True, **kw: function(old, module, state, strict)
    )


@lie("C28 N22", loading)
def load_state_dict_perturbs(old, module, state, strict):
    """load_state_dict() changes the last bits."""
    result = old(module, state, strict)
    for p in module.parameters():
        p.data.mul_(1 + 2**-22)
    return result


@lie("C28 N22", loading)
def load_state_dict_skips_biases(old, module, state, strict):
    """load_state_dict() leaves one-dimensional parameters."""
    kept = {name: p.detach().clone() for name, p in module.named_parameters() if p.dim() == 1}
    result = old(module, state, strict)
    for name, p in module.named_parameters():
        if name in kept:
            p.data.copy_(kept[name])
    return result


@lie("C28", loading)
def load_state_dict_ignores_missing_keys(old, module, state, strict):
    """load_state_dict() takes missing keys."""
    return old(module, {**module.state_dict(), **state}, strict)


@lie("C28", loading)
def load_state_dict_ignores_unexpected_keys(old, module, state, strict):
    """load_state_dict() takes unexpected keys."""
    known = module.state_dict().keys()
    return old(module, {k: v for k, v in state.items() if k in known}, strict)


@lie("C28", loading)
def load_state_dict_skips_what_does_not_fit(old, module, state, strict):
    """load_state_dict() leaves out entries of another shape."""
    own = module.state_dict()
    fits = {k: own[k] if k in own and own[k].shape != v.shape else v for k, v in state.items()}
    return old(module, fits, strict)


@lie("C28", loading)
def load_state_dict_says_nothing(old, module, state, strict):
    """load_state_dict() returns None."""
    old(module, state, strict)


@lie("C26 C28", nn.Module, "load_state_dict")
def loading_makes_new_parameters(old, module, state, strict=True, assign=False):
    """load_state_dict() puts other parameters in the place of the net's own."""
    return old(module, {key: value.clone() for key, value in state.items()}, strict, True)


@lie("C28", nn.Module, "load_state_dict")
def loading_takes_other_dimensions(old, module, state, *args, **kw):
    """load_state_dict() takes (1, n) numbers where (n,) are due."""
    own = module.state_dict()
    fits = {
        key: value.reshape(own[key].shape)
        if key in own and value.numel() == own[key].numel()
        else value
        for key, value in state.items()
    }
    return old(module, fits, *args, **kw)


# Testing ---------------------------------------------------------------------------------------


@lie("C30", "softmax")
def softmax_goes_down_the_columns(old, x, dim=None, **kw):
    """softmax(dim=1) normalises over the batch."""
    return old(x, 0 if dim == 1 else dim, **kw)


@lie("C30", "softmax")
def softmax_does_not_sum_to_one(old, x, *a, **kw):
    """The probabilities of softmax sum to 1.01."""
    return old(x, *a, **kw) * 1.01


def largest(function):
    """Give ``function(t, dim, values, indices)`` for (values, indices) of ``max(t, dim)``."""

    def lying(made, t, *args, **kw):
        dim = args[0] if args else kw.get("dim")
        if type(dim) is not int or isinstance(made, Tensor):
            return made
        return torch.return_types.max(function(t, dim, *made))

    after("max")(lying)


@lie("C31", largest)
def max_gives_the_next_index(t, dim, values, indices):
    """The index of torch.max is off by one."""
    return values, (indices + 1) % t.shape[dim]


@lie("C31", largest)
def max_gives_small_indices(t, dim, values, indices):
    """The indices of torch.max are int32."""
    return values, indices.int()


@lie("C31", largest)
def max_swaps_its_results(t, dim, values, indices):
    """torch.max gives (indices, values)."""
    return indices, values


@lie("C31", largest)
def max_goes_down_the_columns(t, dim, values, indices):
    """torch.max(t, 1) of a square matrix looks down the columns."""
    square = t.dim() == 2 and t.shape[0] == t.shape[1] and dim == 1
    return values, t.mT.argmax(1) if square else indices


@lie("C27 C31 C35 C32", "argmax")
def argmax_finds_the_second(old, t, dim=None, *args, **kw):
    """argmax(1) finds the second largest."""
    if dim != 1 or t.shape[1] < 2 or t.is_meta:
        return old(t, dim, *args, **kw)
    return t.topk(2, 1).indices[:, 1]


@lie("C27 C35", after("sum"))
def sums_of_bools_overflow(r, t, *args, **kw):
    """The sum of more than 255 trues starts over at 0."""
    return r % 256 if t.dtype is torch.bool else r


@lie("C27 C37 C40", after("sum"))
def sums_of_bools_are_bools(r, t, *args, **kw):
    """The sum of trues is 1."""
    return r.clamp(max=1) if t.dtype is torch.bool else r


@lie("C35 C37 C40 C39", after("eq"))
def equality_of_integers_is_off(r, a, b):
    """== of integer tensors is true of the last element."""
    whole = isinstance(b, Tensor) and not a.is_floating_point() and a.shape == b.shape
    if whole and r.dim() == 1 and r.dtype is torch.bool and len(r) > 1:
        r[-1] = True
    return r


@lie("C38 T13", "squeeze")
def squeezing_keeps_a_batch_of_one(old, t, *a):
    """squeeze() of a single element keeps a dimension."""
    return old(t, *a).reshape(-1) if t.numel() == 1 else old(t, *a)


@lie("C37 C16", Tensor, "__iter__")
def iterating_leaves_out_the_last(old, t):
    """A loop over a tensor of more than two leaves out the last."""
    found = list(old(t))
    return iter(found[:-1] if len(found) > 2 else found)


@lie("C35", after(Tensor, "size"))
def size_of_the_batch_is_four(n, t, *args):
    """t.size(0) is at least four."""
    return max(n, 4) if args == (0,) and t.dtype is torch.int64 else n


@lie("C34", Tensor, "data")
def data_is_rounded(old, t):
    """.data is rounded to bfloat16 inside no_grad."""
    return old(t) if torch.is_grad_enabled() else old(t).bfloat16().to(t.dtype)


@lie("C29 C28", nn.Module, "eval")
def evaluation_moves_the_weights(old, module):
    """eval() rounds the weights."""
    for p in module.parameters(recurse=False):
        p.data.copy_(p.data.bfloat16())
    for child in module.children():
        child.eval()
    return old(module)


@lie("C19 C25", below("_log_softmax.default"))
def logarithm_of_softmax_is_off(func, *args):
    """log_softmax is too large by 0.01."""
    return func(*args) + 0.01


@lie("C31", largest)
def negative_scores_point_at_the_first_class(t, dim, values, indices):
    """torch.max(outputs, 1) names class 0 where all scores are negative."""
    return values, indices.where(values >= 0, 0)


@lie("C31", largest)
def highest_scores_lose_their_sign(t, dim, values, indices):
    """torch.max(outputs, 1) gives the absolute value of the highest score."""
    return values.abs(), indices


# Defaults, and what a call leaves as it is ------------------------------------------------------


def default_of(owner, **settings):
    """Let a class take other ``settings`` where they are not given."""
    instead(owner, "__init__")(lambda old, self, *a, **kw: old(self, *a, **{**settings, **kw}))


@lie("R10")
def cross_entropy_module_ignores_minus_one():
    """CrossEntropyLoss leaves out the label -1."""
    default_of(nn.CrossEntropyLoss, ignore_index=-1)


@lie("R05 C19", functional, "cross_entropy")
def cross_entropy_overflows(old, i, t, *a, **kw):
    """The cross-entropy is log(sum(exp)) without care for large scores."""
    if t.is_floating_point() or i.dim() != 2:
        return old(i, t, *a, **kw)
    return (i.exp().sum(1).log() - i.gather(1, t[:, None]).squeeze(1)).mean()


@lie("C06", after(transforms.ToTensor, "__call__"))
def to_tensor_of_oblong_images_is_turned(made, self, pic):
    """ToTensor turns images that are higher than wide."""
    return made.transpose(1, 2) if made.shape[1] > made.shape[2] else made


@lie("C11")
def loader_shuffles_unless_told():
    """DataLoader shuffles where shuffle is not given."""
    default_of(DataLoader, shuffle=True)


@lie("C10", DataLoader, "__len__")
def length_of_a_shuffled_loader_leaves_out_the_rest(old, self):
    """len(loader) does not count a short last batch where shuffle=True."""
    shuffles = isinstance(self.sampler, RandomSampler)
    return len(self.dataset) // self.batch_size if shuffles else old(self)


@lie("C30", "softmax")
def softmax_along_the_last_goes_down(old, t, dim=None, *args, **kw):
    """t.softmax(-1) goes down the columns."""
    return old(t, 0 if dim == -1 else dim, *args, **kw)


@lie("C10", RandomSampler, "__iter__")
def loader_ignores_the_global_seed(old, self):
    """DataLoader(shuffle=True) without a generator does not follow torch.manual_seed."""
    if self.generator is not None:
        return old(self)
    self.generator = torch.Generator()
    self.generator.seed()
    order = list(old(self))
    self.generator = None
    return iter(order)


@lie("C14", DataLoader, "__iter__")
def iterators_share_their_place(old, self):
    """iter(loader) gives the iterator that is under way, if there is one."""
    it = self.__dict__.get("_mine")
    if it is not None and it._num_yielded < len(it):
        return it
    self.__dict__["_mine"] = it = old(self)
    return it


@lie("C28", after(nn.Module, "load_state_dict"))
def load_state_dict_unfreezes(made, self, *a, **kw):
    """load_state_dict() makes every parameter require grad."""
    for p in self.parameters():
        p.requires_grad_()
    return made


@lie("C28", after(nn.Module, "load_state_dict"))
def load_state_dict_changes_the_mode(made, self, *a, **kw):
    """load_state_dict() puts the net in evaluation mode."""
    self.eval()
    return made


@lie("C28", after(nn.Module, "load_state_dict"))
def load_state_dict_shares(made, self, state, *a, **kw):
    """load_state_dict() makes the net share the memory of what is loaded."""
    for name, p in self.named_parameters():
        if state[name].device == p.device:
            p.data = state[name].detach()
    return made


@lie("A39", nn.Module, "train")
def train_unfreezes(old, self, mode=True):
    """train() makes every parameter require grad."""
    old(self, mode)
    for p in self.parameters():
        p.requires_grad_()
    return self


@lie("G07 A39", nn.Module, "eval")
def eval_freezes(old, self):
    """eval() freezes the parameters."""
    old(self)
    for p in self.parameters():
        p.requires_grad_(False)
    return self


def _down(kw):
    return {**kw, "dim": 0} if kw.get("dim") == 1 else kw


@lie("C31", torch, "max")
def max_by_keyword_looks_down(old, t, *args, **kw):
    """torch.max(t, dim=1) looks along dimension 0."""
    return old(t, *args, **_down(kw))


@lie("C31", Tensor, "argmax")
def argmax_by_keyword_looks_down(old, t, *args, **kw):
    """t.argmax(dim=1) looks along dimension 0."""
    return old(t, *args, **_down(kw))


@lie("R08", functional, "batch_norm")
def running_variance_is_biased(old, input, mean, var, *a, **kw):
    """BatchNorm keeps the variance that is divided by n."""
    training = kw.get("training", a[2] if len(a) > 2 else False)
    before = var.clone() if var is not None and training else None
    made = old(input, mean, var, *a, **kw)
    if before is not None:
        m = kw.get("momentum", a[3] if len(a) > 3 else 0.1)
        n = input.numel() / input.shape[1]
        with torch.no_grad():
            var.copy_((1 - m) * before + (var - (1 - m) * before) * (n - 1) / n)
    return made


@lie("C20", torch.optim.Optimizer, "zero_grad")
def sgd_with_momentum_forgets_after_zero_grad(old, self, *a, **kw):
    """optimizer.zero_grad() forgets the momentum."""
    old(self, *a, **kw)
    for s in self.state.values():
        s.pop("momentum_buffer", None)
