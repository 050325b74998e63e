from __future__ import annotations

import pytest

import markcut
from markcut import errors


def test_the_tree_in_the_docstring_is_the_hierarchy() -> None:
    assert issubclass(errors.RuntimeUnavailable, errors.RunnerError)
    for name in ("InvalidInput", "BundleError", "RunnerError"):
        assert getattr(errors, name).__bases__[0] is errors.MarkcutError
    for name in errors.__all__:
        assert name in (errors.__doc__ or "")


def test_invalid_input_names_its_field() -> None:
    with pytest.raises(ValueError, match="image: got nothing") as caught:
        raise errors.InvalidInput("image", "got nothing")
    assert caught.value.field == "image"  # type: ignore[attr-defined]


def test_public_names_exist_and_are_sorted() -> None:
    assert all(hasattr(markcut, name) for name in markcut.__all__)
    assert list(markcut.__all__) == sorted(markcut.__all__, key=_natural)


def _natural(name: str) -> tuple[int, str]:
    """Constants, classes, functions, as the linter sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)
