"""Public names of a package, imported when they are first used."""

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def public_names(
    package: str, names: Mapping[str, str], modules: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package, so that importing it costs nothing.

    Args:
        package: its `__name__`.
        names: public name to the module below the package that defines it.
        modules: modules and packages below it that are public themselves.

    Example:

    >>> __getattr__, __dir__, __all__ = public_names(__name__, {"Grid": "schedule.grid"})
    """
    public = sorted([*names, *modules])

    def get(name: str) -> Any:
        if name in names:
            return getattr(importlib.import_module(f"{package}.{names[name]}"), name)
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: public, public
