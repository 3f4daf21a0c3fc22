"""Generates the import package `jpkireset` from the protos: at build, and by `make proto`.

The result lies in `protos/gen/`, next to nothing that is edited by hand. Besides the stubs and their types it holds
the descriptor set with comments (`jpkireset/descriptors.binpb`), which the reason table is made from.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def generate() -> None:
    """Generate the stubs anew. Raises SystemExit when protoc refuses the protos."""
    from grpc_tools import protoc  # here, so that reading the build metadata needs no compiler

    out = HERE / "gen.new"
    shutil.rmtree(out, ignore_errors=True)
    package = out / "jpkireset"
    package.mkdir(parents=True)
    protos = sorted(str(path.relative_to(HERE)) for path in (HERE / "jpkireset").rglob("*.proto"))
    well_known = Path(protoc.__file__).parent / "_proto"
    code = protoc.main(
        [
            "protoc",
            f"-I{HERE}",
            f"-I{well_known}",
            f"--plugin=protoc-gen-mypy={Path(sys.executable).parent / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={Path(sys.executable).parent / 'protoc-gen-mypy_grpc'}",
            f"--python_out={out}",
            f"--grpc_python_out={out}",
            f"--mypy_out=quiet:{out}",
            f"--mypy_grpc_out=quiet:{out}",
            "--include_source_info",
            f"--descriptor_set_out={package / 'descriptors.binpb'}",
            *protos,
        ]
    )
    if code:
        raise SystemExit(f"protoc refused the protos (exit code {code})")
    for folder in {package, *(path.parent for path in package.rglob("*.py"))}:
        for parent in (folder, *folder.parents):
            if parent == out:
                break
            (parent / "__init__.py").touch()
    (package / "py.typed").touch()
    old = HERE / "gen.old"
    shutil.rmtree(old, ignore_errors=True)
    if (HERE / "gen").exists():
        (HERE / "gen").rename(old)
    out.rename(HERE / "gen")  # whole at once: a program that starts meanwhile finds one or the other
    shutil.rmtree(old, ignore_errors=True)


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # `make proto` without hatchling
    pass
else:

    class GenerateStubs(BuildHookInterface):  # type: ignore[type-arg]
        """Runs the generation before every build, editable ones included."""

        def initialize(self, version: str, build_data: dict[str, object]) -> None:
            """See hatchling's build hook interface."""
            generate()


if __name__ == "__main__":
    generate()
