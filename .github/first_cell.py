"""Run the first cell of a notebook, and then import the package: python first_cell.py NOTEBOOK."""

import sys

import nbclient
import nbformat

notebook = nbformat.read(sys.argv[1], as_version=4)
notebook.cells = [notebook.cells[0], nbformat.v4.new_code_cell("import regex_lib.training; regex_lib.__version__")]
nbclient.NotebookClient(notebook, timeout=1200, kernel_name="python3").execute()
sys.stdout.write(f"{notebook.cells[-1].outputs}\n")
