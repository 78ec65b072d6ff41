"""Runs notebooks as scripts, without Jupyter.

python python/notebooks/run.py [NOTEBOOK.ipynb ...]
"""

import json
import os
import pathlib
import subprocess
import sys

FOLDER = pathlib.Path(__file__).parent


def run(notebook: pathlib.Path) -> None:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    print(f"== {notebook.name}", flush=True)
    environment = {"MPLBACKEND": "agg", "XDG_RUNTIME_DIR": "/tmp", **os.environ}
    subprocess.run([sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", code], check=True, env=environment)


for name in sys.argv[1:] or sorted(FOLDER.glob("*.ipynb")):
    run(pathlib.Path(name))
