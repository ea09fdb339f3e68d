"""Keep the reports and progress bars of transformers out of the way."""

from collections.abc import Iterator
from contextlib import contextmanager

import huggingface_hub
import transformers

__all__ = ["quiet_transformers"]


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep away the clients' reports of new and unused weights (expected here, and checked) and of retries."""
    loggers = transformers.logging, huggingface_hub.logging
    before = [logger.get_verbosity() for logger in loggers]
    bars = transformers.logging.is_progress_bar_enabled()
    for logger in loggers:
        logger.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        for logger, verbosity in zip(loggers, before, strict=True):
            logger.set_verbosity(verbosity)
        if bars:
            transformers.logging.enable_progress_bar()
