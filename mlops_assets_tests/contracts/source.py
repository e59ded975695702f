"""What every data source promises. A test class inherits it and names its source."""

import json
from typing import Any, ClassVar

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from pydantic import ValidationError

from mlops_assets.features.sources.base import Source, SourceContext, SourceError


class SourceContract:
    """Inherit, set `kind`, and give the fixtures `source` and `context`.

    `context` may hold secrets; their texts stand in `secrets`.
    """

    kind: ClassVar[str]
    secrets: ClassVar[tuple[str, ...]] = ()

    @pytest.fixture
    def source(self) -> Source:
        raise NotImplementedError

    @pytest.fixture
    def context(self) -> SourceContext:
        raise NotImplementedError

    def test_is_of_its_kind(self, source: Source) -> None:
        assert source.model_dump()["kind"] == self.kind

    def test_delivers_the_promised_shape(self, source: Source, context: SourceContext) -> None:
        frame = source.read(context)

        assert len(frame) >= 1
        assert isinstance(frame.index, pd.RangeIndex)
        assert (frame.index.start, frame.index.step) == (0, 1)
        assert all(type(name) is str and name for name in frame.columns)
        assert frame.columns.is_unique
        assert not any(isinstance(kind, pd.CategoricalDtype) for kind in frame.dtypes)

    def test_two_reads_are_equal(self, source: Source, context: SourceContext) -> None:
        assert_frame_equal(source.read(context), source.read(context))

    def test_every_read_is_a_fresh_frame(self, source: Source, context: SourceContext) -> None:
        first = source.read(context)
        first[first.columns[0]] = "overwritten"
        first["added"] = 1

        second = source.read(context)

        assert "added" not in second.columns
        assert not (second.iloc[:, 0] == "overwritten").any()

    def test_location_is_text_without_secrets(self, source: Source, context: SourceContext) -> None:
        location = source.location(context)

        assert type(location) is str
        assert location
        assert json.loads(json.dumps(location)) == location
        assert not [secret for secret in self.secrets if secret in location]

    def test_what_it_reads_has_names_without_secrets(
        self, source: Source, context: SourceContext
    ) -> None:
        reads = source.reads(context)

        assert reads
        assert all(type(name) is str and name for name in (*reads, *source.called()))
        assert type(source).model_validate(source.model_dump()).reads(context) == reads
        assert not [secret for secret in self.secrets if secret in "\n".join(reads)]

    def test_spec_round_trips(self, source: Source) -> None:
        again = type(source).model_validate(source.model_dump())
        through_json = type(source).model_validate(json.loads(source.model_dump_json()))

        assert again == source == through_json
        assert again.fingerprint() == source.fingerprint()

    def test_unknown_key_is_refused(self, source: Source) -> None:
        with pytest.raises(ValidationError, match="no_such_key"):
            type(source).model_validate({**source.model_dump(), "no_such_key": 1})

    def test_is_frozen(self, source: Source) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            source.kind = "other"  # type: ignore[attr-defined]


class OutsideSourceContract(SourceContract):
    """For sources whose data lie outside this program, and may therefore be missing."""

    @pytest.fixture
    def missing(self) -> Source:
        """A valid source of the kind whose data do not exist."""
        raise NotImplementedError

    missing_name: ClassVar[str]
    """What the error has to name."""

    def test_missing_data_is_a_source_error(self, missing: Source, context: SourceContext) -> None:
        with pytest.raises(SourceError, match=self.missing_name) as caught:
            missing.read(context)

        assert not [secret for secret in self.secrets if secret in str(caught.value)]


def contracts(base: type[Any] = SourceContract) -> set[str]:
    """The kinds that some imported test class holds to the contract."""
    kinds = {base.kind} if "kind" in vars(base) else set()
    return kinds.union(*(contracts(member) for member in base.__subclasses__()))
