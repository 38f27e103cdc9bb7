"""Compiles what the runtime imports, and nothing else: python compile.py SOURCE STANDARD. Standard library only.

Run by the Dockerfile with the environment's own Python, in the stage that builds; that everything can be imported there is the
proof that nothing is missing. Writes to the file STANDARD which modules of the standard library are used, for the last stage
to compile: some bases come without that.
"""

import importlib
import os
import py_compile
import sys
import sysconfig
from pathlib import Path

# Imported only where they are needed, by programs that are: otherwise each start would compile them again.
LATE = ("onnxruntime", "xllamacpp", "tokenizers", "uvicorn.lifespan.on", "uvicorn.protocols.http.h11_impl")


def imported(source):
    sys.path.insert(0, str(source))
    modules = [path.relative_to(source).with_suffix("").parts for path in source.glob("paictl/**/*.py")]
    for name in sorted(".".join(parts).removesuffix(".__init__") for parts in modules if parts[-1] != "__main__"):
        importlib.import_module(name)
    for name in LATE:
        importlib.import_module(name)
    files = (getattr(module, "__file__", None) or "" for module in sys.modules.values())
    return {os.path.realpath(file) for file in files if file.endswith(".py")}


def main():
    source, standard = (Path(argument).resolve() for argument in sys.argv[1:])
    ours = str(source.parent) + os.sep
    files = imported(source) | {str(path) for path in (*source.parent.glob("*.py"), *source.glob("**/__main__.py"))}
    for file in sorted(files):
        if file.startswith(ours):
            # By hash and unchecked: nobody edits an image, and its layers need not keep times.
            py_compile.compile(file, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    library = os.path.realpath(sysconfig.get_path("stdlib")) + os.sep
    standard.write_text("".join(f"{file}\n" for file in sorted(files) if file.startswith(library)), encoding="utf-8")


main()
