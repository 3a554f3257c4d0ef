"""Do docstrings, folders, imports and constants keep the rules of CONTRIBUTING.md?"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAX_MODULES = 20
# One file a command, and migrations by number: found by their names, however many there are.
BY_NAME = {"hitl/commands", "shared/migrations/versions"}
CODE = sorted(
    file for part in ("hitl", "services", "shared") for file in (ROOT / part).rglob("*.py")
)
ALL = [*CODE, *sorted((ROOT / "benchmarks").rglob("*.py")), *sorted((ROOT / "tests").rglob("*.py"))]


def named(file: Path) -> str:
    return str(file.relative_to(ROOT))


def asks(docstring: str) -> bool:
    """Whether the docstring opens with a question instead of saying what the module is or does."""
    return re.split(r"(?<=[.?!])\s", docstring.strip())[0].endswith("?")


def renamed_modules(file: Path, tree: ast.Module) -> Iterator[str]:
    """Imports of our own modules under a name that does not end with the module's."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        folder = ROOT.joinpath(*node.module.split("."))
        for name, other in ((each.name, each.asname) for each in node.names):
            ours = (folder / f"{name}.py").is_file() or (folder / name).is_dir()
            if ours and other is not None and other != name and not other.endswith(f"_{name}"):
                yield f"{named(file)}: {name} as {other}"


def test_a_docstring_that_opens_with_a_question_is_found() -> None:
    assert asks("How does a task come to be? By intake.")
    assert asks("How does a request\nbecome a task?\n\nBy intake.")
    assert not asks("Intake: a request becomes a task.\n\nWhen? At once.")


def test_every_module_says_first_what_it_is_or_does() -> None:
    docstrings = {named(file): ast.get_docstring(ast.parse(file.read_text())) for file in CODE}
    assert [name for name, said in docstrings.items() if said is not None and asks(said)] == []


def test_no_folder_holds_more_modules_than_one_can_overlook() -> None:
    modules = Counter(named(file.parent) for file in CODE if file.name != "__init__.py")
    too_full = {folder for folder, count in modules.items() if count > MAX_MODULES}
    assert too_full - BY_NAME == set()


def test_modules_of_ours_are_imported_under_their_own_names() -> None:
    renamed = [each for file in ALL for each in renamed_modules(file, ast.parse(file.read_text()))]
    assert renamed == []


def test_limits_are_called_max_or_min() -> None:
    found = [
        f"{named(each)}: {word}"
        for each in ALL
        for word in re.findall(r"^_?(?:MOST|LEAST|FEWEST)_[A-Z_]+\b", each.read_text(), re.M)
    ]
    assert found == []
