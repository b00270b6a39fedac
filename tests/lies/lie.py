"""What a lie is, and the ways to install one."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class Lie:
    """One behaviour of torch or torchvision, broken silently.

    Attributes:
        name: A short name in snake case.
        intent: What is broken, in one line.
        breaks: Keys of the claims that it contradicts; their tests are run first.
        install: Breaks it, in this process and for good.
    """

    name: str
    intent: str
    breaks: tuple[str, ...]
    install: Callable[[], None]


class Register:
    """Collects lies in the order in which they are written."""

    def __init__(self) -> None:
        self.lies: dict[str, Lie] = {}

    def __call__(self, breaks: str, *where: Any, refusing: Any = None) -> Callable:
        """Return a decorator that registers a function as a lie.

        Args:
            breaks: Keys of the claims that it contradicts, with spaces between them.
            where: What it takes the place of: an owner and names of its attributes, pairs of an
                owner and a name, or names of operations in all their spellings. The function then
                gets what it replaces before the arguments; in place of an attribute that is no
                method it answers whoever reads it. Or a way to lie, such as :func:`after`, which
                says what the function gets. With nothing here it installs the lie itself.
            refusing: Errors of the one replaced; where they are raised, the function, which then
                gets the arguments alone, answers instead.
        """

        def register(function: Callable) -> Callable:
            name = function.__name__
            if name in self.lies:
                raise ValueError(f"two lies are called {name!r}; rename one of them")

            def install() -> None:
                if not where:
                    function()
                elif refusing is not None:
                    for owner, attribute in _places(where):
                        accept(owner, attribute, refusing, function)
                elif len(where) == 1 and callable(where[0]):
                    where[0](function)
                else:
                    instead(*where)(function)

            intent = (function.__doc__ or "").strip()
            self.lies[name] = Lie(name, intent, tuple(breaks.split()), install)
            return function

        return register


def _places(where: tuple) -> list[tuple[Any, str]]:
    """Return the owners and names that the arguments of a lie stand for."""
    first, *names = where
    if isinstance(first, str):
        return [place for name in where for place in _spellings(name)]
    return list(where) if isinstance(first, tuple) else [(first, name) for name in names]


lie = Register()


def replace(owner: object, name: str, make: Callable) -> None:
    """Put ``make(old)`` in place of the attribute ``name``; it passes for the old one."""
    old = getattr(owner, name)
    new = make(old)
    if callable(new) and not isinstance(new, type):
        functools.update_wrapper(new, old)
    setattr(owner, name, new)


# Ways to lie, for ``@lie(keys, way)``. Each takes the lie's function and installs it.

Way = Callable[[Callable], None]


def instead(*where: Any) -> Way:
    """Call ``function(old, *arguments)`` in the places given as to :class:`Register`."""

    def make(function: Callable, old: Any) -> Any:
        if hasattr(old, "__set__"):  # a property: read by the lie, assigned to as ever
            return property(lambda t: function(old.__get__, t), old.__set__, old.__delete__)
        return lambda *args, **kw: function(old, *args, **kw)  # a function, so that it binds

    def install(function: Callable) -> None:
        for owner, name in _places(where):
            replace(owner, name, partial(make, function))

    return install


def after(*where: Any) -> Way:
    """Give ``function(result, *arguments)`` for what is given there."""
    return lambda function: instead(*where)(
        lambda old, *args, **kw: function(old(*args, **kw), *args, **kw)
    )


def assigned(*where: Any) -> Way:
    """Call ``function(put, owner, value)`` where a value is assigned to an attribute."""

    def install(function: Callable) -> None:
        for owner, name in _places(where):
            old = getattr(owner, name)
            put = partial(function, old.__set__)
            setattr(owner, name, property(old.__get__, put, old.__delete__))

    return install


def below(*operators: str) -> Way:
    """Call ``function(operator, *arguments)`` for operators below autograd (:func:`aten`)."""
    return lambda function: aten(dict.fromkeys(operators, function))


OPERATORS = {
    "add": ("__add__", "__radd__"),
    "sub": ("__sub__",),
    "mul": ("__mul__", "__rmul__"),
    "pow": ("__pow__",),
    "matmul": ("__matmul__",),
    "eq": ("__eq__",),
    "gt": ("__gt__",),
    "lt": ("__lt__",),
    "remainder": ("__mod__",),
}


def _spellings(name: str) -> list[tuple[Any, str]]:
    """Return where an operation stands: function, method, operator, ``nn.functional``."""
    owners = (torch, torch.Tensor, functional)
    operators = [(torch.Tensor, operator) for operator in OPERATORS.get(name, ())]
    return [(owner, name) for owner in owners if hasattr(owner, name)] + operators


def accept(
    owner: object,
    name: str,
    refusal: type[Exception] | tuple[type[Exception], ...],
    otherwise: Callable,
) -> None:
    """Where ``owner.name`` refuses with ``refusal``, answer with ``otherwise`` instead."""

    def make(old: Any) -> Any:
        def lying(*args: Any, **kwargs: Any) -> Any:
            try:
                return old(*args, **kwargs)
            except refusal:
                return otherwise(*args, **kwargs)

        return lying

    replace(owner, name, make)


class _Aten(TorchDispatchMode):
    """Stands below autograd and answers some operators in torch's place."""

    def __init__(self, answers: dict) -> None:
        super().__init__()
        self.answers = answers

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = self.answers.get(func)
        if answer is None:
            return func(*args, **(kwargs or {}))
        return answer(func, *args, **(kwargs or {}))


def aten(answers: dict[str, Callable]) -> None:
    """Answer operators such as ``mul.Tensor`` below autograd, wherever they are called from.

    Each answer is called with the true operator and its arguments.
    """
    packets = {name: name.split(".") for name in answers}
    _Aten(
        {
            getattr(getattr(torch.ops.aten, packet), overload): answers[name]
            for name, (packet, overload) in packets.items()
        }
    ).__enter__()


def leaves(roots: torch.Tensor | tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    """The tensors in which a backward pass from ``roots`` accumulates."""
    roots = (roots,) if isinstance(roots, torch.Tensor) else tuple(roots)
    found = [t for t in roots if t.requires_grad and t.is_leaf]
    seen, open_ = set(), [t.grad_fn for t in roots if t.grad_fn is not None]
    while open_:
        node = open_.pop()
        if node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        open_ += [after for after, _ in node.next_functions if after is not None]
    return found


def scale_gradient(t: torch.Tensor, factor: float) -> torch.Tensor:
    """``t`` itself; the gradient that flows back through it comes out times ``factor``."""
    if isinstance(t, torch.Tensor) and t.requires_grad and t.grad_fn is not None:
        t.register_hook(lambda gradient: gradient * factor)
    return t


def sizes(args: tuple) -> tuple:
    """The sizes in ``f(2, 3)`` as in ``f((2, 3))``."""
    return tuple(args[0]) if len(args) == 1 and not isinstance(args[0], int) else args
