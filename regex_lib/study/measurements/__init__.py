"""What a study measures of a trained model, by name."""

from regex_lib.study.measurements.agreement import randomisation, stability
from regex_lib.study.measurements.registry import (
    FACTS,
    IDENTITY,
    MEASUREMENTS,
    TrainedModel,
    find_options,
    import_modules,
    measurement,
    models_needed,
    resolve_options,
)
from regex_lib.study.measurements.retraining import rationales, shortcuts
from regex_lib.study.measurements.scoring import faithfulness, quality, transfer

__all__ = [
    "FACTS",
    "IDENTITY",
    "MEASUREMENTS",
    "TrainedModel",
    "faithfulness",
    "find_options",
    "import_modules",
    "measurement",
    "models_needed",
    "quality",
    "randomisation",
    "rationales",
    "resolve_options",
    "shortcuts",
    "stability",
    "transfer",
]
