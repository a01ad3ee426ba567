"""What tokens of a model cost: a table with date and source, which a file of the user's overrides.

A price that is not known is None and never zero: a budget in US dollars for such a model is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from pipelines.documents import DocumentError, read_document
from pipelines.errors import BadInputError
from pipelines.experiment.strict import StrictModel, read_model

TABLE = Path(__file__).with_name("prices.json")
_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")
_MILLION = 1_000_000
_USD = ("input_usd", "output_usd", "cached_input_usd", "cache_write_usd", "long_cache_write_usd")
"""Fields of a price that are US dollars."""


class Price(StrictModel):
    """Prices of one model, US dollars per million tokens.

    Attributes:
        input_usd: Of input.
        output_usd: Of output, reasoning included.
        cached_input_usd: Of input that the endpoint had cached; None: as other input.
        cache_write_usd: Of input that the endpoint puts into its cache; None: as other input.
        long_cache_write_usd: Of input that it keeps there for an hour; None: as what it puts there for minutes.
        max_output_tokens: The most that a reply can have; None when not known.
        batch: What a call in a batch costs, as a share of what it costs alone; None when not known, and then as alone.
    """

    input_usd: float = Field(ge=0, allow_inf_nan=False)
    output_usd: float = Field(ge=0, allow_inf_nan=False)
    cached_input_usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    cache_write_usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    long_cache_write_usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    max_output_tokens: int | None = Field(default=None, gt=0)
    batch: float | None = Field(default=None, gt=0, le=1)

    @property
    def is_in_batch(self) -> bool:
        """Whether these are prices in a batch."""
        return self.batch == 1

    @property
    def in_batch(self) -> Price:
        """What tokens cost in a batch."""
        if self.batch is None:
            return self
        usd = {name: value * self.batch for name in _USD if (value := getattr(self, name)) is not None}
        return self.model_copy(update={**usd, "batch": 1.0})

    def cost(
        self,
        input_tokens: int,
        output_tokens: int,
        cached_tokens: int = 0,
        written_tokens: int = 0,
        long_written_tokens: int = 0,
    ) -> float:
        """US dollars for one call.

        Args:
            input_tokens: Of the request, whatever a cache gave or took included.
            output_tokens: Of the reply.
            cached_tokens: Those of the request that a cache gave.
            written_tokens: Those of the request that a cache took.
            long_written_tokens: Those of them that it keeps for an hour.
        """
        cached = min(cached_tokens, input_tokens)
        written = min(written_tokens, input_tokens - cached)
        kept = min(long_written_tokens, written)
        cached_usd = self.input_usd if self.cached_input_usd is None else self.cached_input_usd
        written_usd = self.input_usd if self.cache_write_usd is None else self.cache_write_usd
        kept_usd = written_usd if self.long_cache_write_usd is None else self.long_cache_write_usd
        usd = (
            (input_tokens - cached - written) * self.input_usd
            + cached * cached_usd
            + (written - kept) * written_usd
            + kept * kept_usd
            + output_tokens * self.output_usd
        )
        return usd / _MILLION

    def most(self, input_tokens: int, output_tokens: int) -> float:
        """US dollars for one call at most: whatever of its input a cache takes, and however long it keeps that."""
        taken = ((0, 0), (input_tokens, 0), (input_tokens, input_tokens))
        return max(self.cost(input_tokens, output_tokens, 0, *written) for written in taken)


class PriceTable(StrictModel):
    """A file of prices.

    Attributes:
        as_of: Day on which they were looked up.
        source: Where.
        models: Prices by the model's name.
    """

    as_of: str
    source: str
    models: dict[str, Price]

    def find(self, model: str) -> Price | None:
        """The price of a model, or of the model that a dated name (`…-2026-01-31`, `…-20260131`) is a version of."""
        return self.models.get(model) or self.models.get(_DATED.sub("", model))


def load_prices(override: Path | None = None) -> PriceTable:
    """The table, with the entries of `override` in place of its own.

    Raises:
        BadInputError: The file cannot be read or is no price table.
    """
    table = _read(TABLE)
    if override is None:
        return table
    own = _read(override)
    return PriceTable(
        as_of=f"{table.as_of} and {own.as_of}",
        source=f"{table.source} and {own.source}",
        models={**table.models, **own.models},
    )


def max_output_tokens(params: Mapping[str, Any], price: Price | None) -> int | None:
    """The most tokens that a reply can have: as the request bounds it, else as the model is known for."""
    for name in ("max_completion_tokens", "max_output_tokens", "max_tokens"):
        value = params.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return price.max_output_tokens if price is not None else None


def _read(path: Path) -> PriceTable:
    try:
        return read_model(read_document(path, "REFOLD_PRICES:" if path != TABLE else ""), PriceTable)
    except DocumentError as error:
        form = json.dumps({"as_of": "2026-01-31", "source": "…", "models": {"NAME": {"input_usd": 1, "output_usd": 2}}})
        raise BadInputError(f"{error}; prices are US dollars per million tokens: {form}") from None
