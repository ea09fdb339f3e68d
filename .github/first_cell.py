"""Run the first cell of a notebook as in Colab, and then use the package: python first_cell.py NOTEBOOK."""

import sys

import nbclient
import nbformat

BEFORE = "import ipywidgets  # Colab has it in the kernel from the start"
AFTER = """
from importlib.metadata import version

import regex_lib.training
from regex_lib.attributions import Explanation
from regex_lib.plots import attribution_switcher

assert ipywidgets.__version__ == version("ipywidgets"), "another ipywidgets was installed than the kernel has loaded"
attribution_switcher([Explanation("dull", "attention", [(0, 4)], [0.9], 0, 0, 0.8, False)])
regex_lib.__version__
"""

notebook = nbformat.read(sys.argv[1], as_version=4)
cells = [nbformat.v4.new_code_cell(source) for source in (BEFORE, notebook.cells[0].source, AFTER)]
notebook = nbformat.v4.new_notebook(cells=cells)
nbclient.NotebookClient(notebook, timeout=1200, kernel_name="python3").execute()
sys.stdout.write(f"{notebook.cells[-1].outputs}\n")
