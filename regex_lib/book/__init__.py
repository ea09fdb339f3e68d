"""The book's machinery: run its chapters, check them, build its pages. A chapter itself needs :func:`check_answer`."""

from regex_lib.book.exercises import Verdict, check_answer

__all__ = ["Verdict", "check_answer"]
