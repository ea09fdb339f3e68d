"""The data sets of this library: what each one is, and where it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CATALOGUE", "DataSource", "HubFiles", "catalogue_names", "describe", "find_source"]


@dataclass(frozen=True)
class HubFiles:
    """Files of one commit of a data set repository on the Hugging Face hub, with columns ``text`` and ``label``."""

    repo: str
    """The repository's id."""
    revision: str
    """The commit, so that everyone reads the same rows."""
    files: Mapping[str, str]
    """The file in the repository of each split it has."""
    validation_every: int | None = None
    """Where the repository has no validation split: every how many rows of train one is moved into it.

    With 10, rows 10, 20, 30... (counted from 1) are the validation split and the other rows are train.
    """


@dataclass(frozen=True)
class DataSource:
    """One data set of the catalogue."""

    name: str
    """What `load_data` calls it."""
    title: str
    """What the literature calls it."""
    description: str
    """What the texts and the labels are, in one line."""
    label_names: tuple[str, ...]
    """The meaning of label 0, 1..."""
    edition: str
    """Which of the editions in circulation `load_data` gives, or needs to be given."""
    licence: str
    """The terms that its texts are under."""
    citation: str | None
    """Its key in the book's bibliography; None for the corpus written for this book."""
    hub: HubFiles | None = None
    """Where the hub has it; None if it is bundled, or must be the user's own copy."""
    parts: tuple[str, ...] = ()
    """The parts that can be loaded alone, as ``name:part``; only bundled data has parts."""

    @property
    def num_labels(self) -> int:
        """How many classes there are."""
        return len(self.label_names)

    @property
    def where_from(self) -> str:
        """Where `load_data` takes it from, unless ``REGEX_DATA`` has a copy."""
        if self.parts:
            return "bundled"
        return f"hub: {self.hub.repo} at {self.hub.revision[:7]}" if self.hub else "your copy, in REGEX_DATA"


NEGATIVE_POSITIVE = ("negative", "positive")
THREE_WAY = ("negative", "neutral", "positive")

_SOURCES = (
    DataSource(
        name="reviews",
        title="Reviews",
        description="Short reviews of films, restaurants and gadgets; their author marked the words that decide.",
        label_names=NEGATIVE_POSITIVE,
        edition="written for this book and bundled with it",
        licence="CC0-1.0",
        citation=None,
        parts=("films", "restaurants", "gadgets"),
    ),
    DataSource(
        name="sst",
        title="SST",
        description="Sentences of film reviews, from the Stanford Sentiment Treebank.",
        label_names=NEGATIVE_POSITIVE,
        edition="the standard binary split of whole sentences, 6920/872/1821 rows; the hub has no rationales,"
        " and those of a copy are a proxy made from the word labels, not marked by people",
        licence="none stated",
        citation="socher2013recursive",
        hub=HubFiles(
            repo="SetFit/sst2",
            revision="00ea8ccb7a54b4e3780a3e51aa3f80361ff849c0",
            files={"train": "train.jsonl", "validation": "dev.jsonl", "test": "test.jsonl"},
        ),
    ),
    DataSource(
        name="imdb",
        title="IMDB",
        description="Whole film reviews, from the Large Movie Review Dataset.",
        label_names=NEGATIVE_POSITIVE,
        edition="the official halves, 25000 rows each, every 10th row of train as validation: 22500/2500/25000;"
        " the ACL 2022 study cut its three splits from the train half",
        licence="none stated",
        citation="maas2011learning",
        hub=HubFiles(
            repo="stanfordnlp/imdb",
            revision="e6281661ce1c48d982bc483cf8a173c1bbeb5d31",
            files={
                "train": "plain_text/train-00000-of-00001.parquet",
                "test": "plain_text/test-00000-of-00001.parquet",
            },
            validation_every=10,
        ),
    ),
    DataSource(
        name="yelp",
        title="Yelp",
        description="Yelp reviews of businesses: few stars are negative, many are positive.",
        label_names=NEGATIVE_POSITIVE,
        edition="the full Yelp review polarity split, every 10th row of train as validation: 504000/56000/38000",
        licence="Yelp Dataset Terms of Use: no redistribution",
        citation="zhang2015character",
        hub=HubFiles(
            repo="fancyzhx/yelp_polarity",
            revision="bbf1c97a1f0cf005e5aded43839fd814654a1557",
            files={
                "train": "plain_text/train-00000-of-00001.parquet",
                "test": "plain_text/test-00000-of-00001.parquet",
            },
            validation_every=10,
        ),
    ),
    DataSource(
        name="amaz_digimu",
        title="AmazDigiMu",
        description="Amazon reviews of digital music: under 3 stars negative, 3 neutral, over 3 positive.",
        label_names=THREE_WAY,
        edition="Amazon Digital Music, 2018 edition, 5-core",
        licence="research use",
        citation="ni2019justifying",
    ),
    DataSource(
        name="amaz_pantry",
        title="AmazPantry",
        description="Amazon reviews of groceries, mostly positive: under 3 stars negative, 3 neutral, over 3 positive.",
        label_names=THREE_WAY,
        edition="Amazon Prime Pantry, 2018 edition, 5-core",
        licence="research use",
        citation="ni2019justifying",
    ),
    DataSource(
        name="amaz_instr",
        title="AmazInstr",
        description="Amazon reviews of musical instruments: under 3 stars negative, 3 neutral, over 3 positive.",
        label_names=THREE_WAY,
        edition="Amazon Musical Instruments, 5-core, 2018 edition; a number from the 2014 edition must say so",
        licence="research use",
        citation="ni2019justifying",
    ),
    DataSource(
        name="amaz_music_mdsd",
        title="MDSD music",
        description="Amazon reviews of music of 2007: under 3 stars negative, over 3 positive.",
        label_names=NEGATIVE_POSITIVE,
        edition="Multi-Domain Sentiment Dataset, music; a stand-in for amaz_digimu, not Digital Music",
        licence="none stated",
        citation="blitzer2007biographies",
    ),
    DataSource(
        name="eraser_movies",
        title="ERASER Movie Reviews",
        description="Whole film reviews with spans marked by people; in train and validation not every span is marked.",
        label_names=NEGATIVE_POSITIVE,
        edition="ERASER v1.1 Movie Reviews, 1600/200/199 rows, with columns tokens and rationale",
        licence="none stated",
        citation="deyoung-etal-2020-eraser",
    ),
    DataSource(
        name="tweet_sentiment",
        title="Tweet Sentiment Extraction",
        description="Tweets with the span that people chose as carrying the sentiment; without the neutral ones.",
        label_names=NEGATIVE_POSITIVE,
        edition="Figure Eight tweets with selected spans, neutral ones left out, with columns tokens and rationale",
        licence="CC BY 4.0",
        citation="tweetsentiment2020",
    ),
)

CATALOGUE: dict[str, DataSource] = {source.name: source for source in _SOURCES}
"""Every data set by its name."""


def catalogue_names() -> list[str]:
    """Every name that `load_data` knows, in the catalogue's order, the parts of bundled data included.

    Returns:
        The names.

    Example:
        >>> catalogue_names()[:4]
        ['reviews', 'reviews:films', 'reviews:restaurants', 'reviews:gadgets']
    """
    return [
        name
        for source in CATALOGUE.values()
        for name in (source.name, *(f"{source.name}:{part}" for part in source.parts))
    ]


def find_source(name: str) -> DataSource | None:
    """The data set that a name stands for.

    Args:
        name: a name, or ``name:part``.

    Returns:
        Its entry; None if the catalogue has no such name.

    Example:
        >>> find_source("reviews:films").label_names
        ('negative', 'positive')
    """
    return CATALOGUE[name.partition(":")[0]] if name in catalogue_names() else None


def describe() -> "pd.DataFrame":
    """The catalogue as a table, for reading.

    Returns:
        One row a data set, in the catalogue's order, with columns ``name``, ``title``, ``labels``, ``licence``,
        ``where from`` and ``edition``.

    Example:
        >>> print(describe().loc[2, ["name", "labels", "where from"]].to_string())
        name                                      imdb
        labels                      negative, positive
        where from    hub: stanfordnlp/imdb at e628166
    """
    import pandas as pd

    return pd.DataFrame(
        {
            "name": source.name,
            "title": source.title,
            "labels": ", ".join(source.label_names),
            "licence": source.licence,
            "where from": source.where_from,
            "edition": source.edition,
        }
        for source in CATALOGUE.values()
    )
