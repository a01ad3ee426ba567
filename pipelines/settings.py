"""Where things are and how much may be used: the environment, read once, in one place.

Nothing else in `pipelines` or `assets` reads environment variables, except candidates that name the variable of their
API key, commands, which are handed a few, and what posts a comment from a job of GitHub's. Nothing is read at import.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.address import read_address
from pipelines.errors import BadInputError

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")
_SEPARATORS = re.compile(r"[\s,]+")
_ODD = re.compile(r"[\x00-\x1f\x7f-\x9f*?\[\]|^\\=#\u2028\u2029\ud800-\udfff]|%[0-9A-Fa-f]{2}")
"""What a folder of the home or the lake must not have in its path: DuckDB reads `*?[]` as a pattern and `name=` as a
column, Delta decodes `%20`, loses entries behind `#` and takes no `[]|^`, and a name with a new line or bytes that are no text cannot be said."""
_MAX_NAME, _MAX_PATH = 255, 3_000
"""Bytes of a name and of a path: what file systems take, less what Refold puts below the folder."""
_MAX_HOME = 440
"""Bytes of a home's path: SQLite opens no file whose path, links followed, has more than 504, and of a run's events Dagster keeps one 61
bytes below. The embedded PostgreSQL would start in a home of 992."""
_MAX_DAYS = 1_000_000
_MAX_ACTOR = 200
SNAPSHOT_EVENTS = 500
"""Events of a stream between two snapshots: about what is folded in the time that reading a snapshot takes."""
SQL_SECONDS = 60.0
"""A statement over a large lake takes seconds; what takes a minute seldom ends."""
MIN_MEMORY_BYTES = 256 * 10**6
"""DuckDB, Arrow and Python themselves need about this much before the first event is read."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One home's configuration.

    Attributes:
        home: Folder of everything that Refold writes by default (`REFOLD_HOME`, default `./.refold`).
        dsn: PostgreSQL connection string (`REFOLD_DSN`), or None for the embedded server in the home.
        lake: Folder of the Delta tables (`REFOLD_LAKE`, default `lake/` in the home).
        memory_bytes: Bound on the memory of a process (`REFOLD_MEMORY`, default 1GB).
        grace_days: Days for which superseded files are kept (`REFOLD_GRACE`, default 7).
        retention_days: After how many days conversations and calls are erased by the schedule `retention` (`REFOLD_RETENTION`, as
            400d), or None; on its own it does nothing.
        first_month: First month that Dagster shows, `YYYY-MM` (`REFOLD_FIRST_MONTH`), or None for the store's first.
        signing_key: PEM file of the Ed25519 private key that signs manifests (`REFOLD_SIGNING_KEY`), or None.
        origin: Name of the log in its checkpoints (`REFOLD_ORIGIN`), or None for `refold/` and the store's own id.
        checkpoints: Where else checkpoints are kept (`REFOLD_CHECKPOINTS`, separated by spaces): folders, `git+URL#BRANCH`,
            `postgresql://…`.
        endpoints: Addresses of the models that recorded texts may be sent to (`REFOLD_ENDPOINTS`, separated by spaces or
            commas), or None for this machine's alone.
        prices: A price table that goes before the one of the package (`REFOLD_PRICES`), or None.
        snapshot_events: Events of a stream after which a fold keeps another snapshot (`REFOLD_SNAPSHOT_EVENTS`, default 500).
        is_shared: Whether the group of home and lake may read them (`REFOLD_SHARED=group`).
        daily_usd: US dollars that models may cost on one UTC day (`REFOLD_DAILY_USD`), or None for no such bound.
        sql_seconds: How long an expression or function of one's own may take (`REFOLD_SQL_SECONDS`, default 60).
        allow_files: Folders in which files of experiments may be beside their own (`REFOLD_ALLOW_FILES`, separated as PATH is).
        follow: Folders whose new and grown files the schedule `follow` imports, each with the form that they are of (`REFOLD_FOLLOW`, as
            otlp:/var/otel;langfuse:/data/lf).
        owners: Who answers for the assets, as Dagster's page shows it (`REFOLD_OWNERS`, separated by commas): addresses, `team:NAME`.
        region: Two letters of ISO 3166 whose national phone numbers the detectors take without a word beside them (`REFOLD_REGION`, as
            US), or None for none.
        reviewer_header: Header in which a proxy in front of the review page says who reviews (`REFOLD_REVIEWER_HEADER`, as
            X-Forwarded-User), in small letters, or None.
    """

    home: Path
    dsn: str | None
    lake: Path
    memory_bytes: int = 10**9
    grace_days: float = 7.0
    retention_days: int | None = None
    first_month: str | None = None
    signing_key: Path | None = None
    origin: str | None = None
    checkpoints: tuple[str, ...] = ()
    endpoints: tuple[str, ...] | None = None
    prices: Path | None = None
    daily_usd: float | None = None
    snapshot_events: int = SNAPSHOT_EVENTS
    is_shared: bool = False
    sql_seconds: float = SQL_SECONDS
    allow_files: tuple[Path, ...] = ()
    follow: tuple[tuple[str, Path], ...] = ()
    region: str | None = None
    reviewer_header: str | None = None
    owners: tuple[str, ...] = ()

    @property
    def replays(self) -> Path:
        """Folder of what replays keep beside the lake."""
        return self.home / "replays"

    @property
    def responses(self) -> Path:
        """The responses of models that were paid for."""
        return self.replays / "responses.sqlite"

    @property
    def sql_history(self) -> Path:
        """What was asked in the shell of `refold sql`, by one account."""
        return self.home / "sql_history"

    @property
    def catalog(self) -> Path:
        """The lake's views as a DuckDB file."""
        return self.home / "lake.duckdb"

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from `env` (default: the process's environment).

        Raises:
            BadInputError: A variable's value cannot be read; the message names the variable and the value.
        """
        env = os.environ if env is None else env
        home = _parse_folder("REFOLD_HOME", env.get("REFOLD_HOME") or ".refold", _MAX_HOME)
        lake = _parse_folder("REFOLD_LAKE", env["REFOLD_LAKE"]) if env.get("REFOLD_LAKE") else home / "lake"
        memory = parse_size("REFOLD_MEMORY", env.get("REFOLD_MEMORY") or "1GB")
        if memory < MIN_MEMORY_BYTES:
            raise BadInputError(f"REFOLD_MEMORY is {memory:,} bytes; at least {MIN_MEMORY_BYTES:,} are needed")
        first_month = env.get("REFOLD_FIRST_MONTH") or None
        if first_month and not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", first_month):
            raise BadInputError(f"REFOLD_FIRST_MONTH is {first_month!r}; write a month as YYYY-MM, for example 2026-01")
        return cls(
            home=home,
            dsn=env.get("REFOLD_DSN") or None,
            lake=lake,
            memory_bytes=memory,
            grace_days=_parse_days("REFOLD_GRACE", env.get("REFOLD_GRACE") or "7"),
            retention_days=parse_age("REFOLD_RETENTION", env["REFOLD_RETENTION"])
            if env.get("REFOLD_RETENTION")
            else None,
            first_month=first_month,
            signing_key=Path(env["REFOLD_SIGNING_KEY"]).expanduser().absolute()
            if env.get("REFOLD_SIGNING_KEY")
            else None,
            origin=_parse_origin(env.get("REFOLD_ORIGIN") or ""),
            checkpoints=tuple((env.get("REFOLD_CHECKPOINTS") or "").split()),
            endpoints=_parse_endpoints(env.get("REFOLD_ENDPOINTS") or ""),
            prices=Path(env["REFOLD_PRICES"]).expanduser().absolute() if env.get("REFOLD_PRICES") else None,
            daily_usd=_parse_usd("REFOLD_DAILY_USD", env["REFOLD_DAILY_USD"]) if env.get("REFOLD_DAILY_USD") else None,
            is_shared=read_shared(env),
            sql_seconds=_parse_seconds("REFOLD_SQL_SECONDS", env.get("REFOLD_SQL_SECONDS") or f"{SQL_SECONDS:g}"),
            allow_files=tuple(
                Path(part).expanduser().absolute()
                for part in (env.get("REFOLD_ALLOW_FILES") or "").split(os.pathsep)
                if part
            ),
            follow=_parse_follow(env.get("REFOLD_FOLLOW") or ""),
            region=_parse_region(env.get("REFOLD_REGION") or ""),
            reviewer_header=_parse_header(env.get("REFOLD_REVIEWER_HEADER") or ""),
            owners=_parse_owners(env.get("REFOLD_OWNERS") or ""),
            snapshot_events=_parse_count(
                "REFOLD_SNAPSHOT_EVENTS", env.get("REFOLD_SNAPSHOT_EVENTS") or str(SNAPSHOT_EVENTS)
            ),
        )


def read_shared(env: Mapping[str, str] | None = None) -> bool:
    """Whether a group may read what is written; asked before anything else of the settings.

    Raises:
        BadInputError: `REFOLD_SHARED` is something else than `group`.
    """
    shared = (os.environ if env is None else env).get("REFOLD_SHARED") or ""
    if shared not in ("", "group"):
        raise BadInputError(
            f"REFOLD_SHARED is {shared!r}; write group, or leave it out and nobody else may read the home"
        )
    return bool(shared)


def read_actor(env: Mapping[str, str] | None = None) -> str | None:
    """Who acts, where that is not the account: the name of a CI job or of a person behind a shared account (`REFOLD_ACTOR`).

    Raises:
        BadInputError: It is no line of text of 200 characters or less.
    """
    actor = ((os.environ if env is None else env).get("REFOLD_ACTOR") or "").strip()
    if len(actor) > _MAX_ACTOR or not (actor.isprintable() or not actor):
        raise BadInputError(
            f"REFOLD_ACTOR is {actor[:50]!r}; write a name of one line, of {_MAX_ACTOR} characters at most"
        )
    return actor or None


def read_receive_token(env: Mapping[str, str] | None = None) -> str | None:
    """What exporters must send to the receiver (`REFOLD_RECEIVE_TOKEN`); None is nothing.

    Raises:
        BadInputError: It could not be sent in a header.
    """
    token = (os.environ if env is None else env).get("REFOLD_RECEIVE_TOKEN") or None
    if token is not None and re.fullmatch(r"[!-~]+", token) is None:
        raise BadInputError(
            "REFOLD_RECEIVE_TOKEN has characters that a header does not take; write ASCII without spaces"
        )
    return token


def is_debugging(env: Mapping[str, str] | None = None) -> bool:
    """Whether errors show their trace (`REFOLD_DEBUG`)."""
    return bool((os.environ if env is None else env).get("REFOLD_DEBUG"))


def _parse_folder(name: str, text: str, most: int = _MAX_PATH) -> Path:
    """A folder's whole path, of so many bytes at most; it need not be there."""
    path, resolved = _parse_path(name, text)
    for each in (path, resolved):
        odd = _ODD.search(str(each))
        if odd is not None:
            raise BadInputError(
                f"{name} is {str(each)[:200]!r}; {odd[0]!r} in a path is not understood alike by all that read the lake: choose a "
                "folder without * ? [ ] | ^ = # \\, without % before two digits, and without control characters"
            )
        encoded = os.fsencode(each)
        longest = max(map(len, encoded.split(b"/")))
        for what, size, limit in (("a name in it", longest, _MAX_NAME), ("its path", len(encoded), most)):
            if size > limit:
                raise BadInputError(
                    f"{name} is {str(each)[:200]!r}…: {what} has {size:,} bytes, and {limit:,} are the most; choose a shorter one"
                )
    if resolved.exists() and not resolved.is_dir():
        raise BadInputError(f"{name} is {str(path)!r}, which is a file; name a folder")
    return path


def _parse_path(name: str, text: str) -> tuple[Path, Path]:
    """A whole path, and what it is once links are followed."""
    try:
        path = Path(text).expanduser().absolute()
        return path, path.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, no such user, a zero in it, too long
        raise BadInputError(f"{name} is {text[:200]!r}, which names no folder ({error}); choose another") from None


def parse_age(name: str, text: str) -> int:
    """Days, written `400d`.

    Raises:
        BadInputError: The text is no age.
    """
    if not (text.endswith("d") and text[:-1].isdecimal() and text.isascii() and 0 < int(text[:-1]) < _MAX_DAYS):
        raise BadInputError(f"{name} is {text!r}; write a number of days, as 400d")
    return int(text[:-1])


def parse_size(name: str, text: str) -> int:
    """Bytes in `text`, for example `1GB` (10^9) or `512MiB`; `name` is the variable named in the error.

    Raises:
        BadInputError: `text` is not a size.
    """
    match = _SIZE.fullmatch(text)
    unit = match.group(2).upper() if match else None
    if match is None or unit not in _UNITS:
        raise BadInputError(f"{name} is {text!r}; write a size such as 1GB, 512MB or 2GiB")
    return int(float(match.group(1)) * _UNITS[unit])


def _parse_origin(text: str) -> str | None:
    if re.search(r"[\s+]", text):
        raise BadInputError(
            f"REFOLD_ORIGIN is {text!r}; it may have neither spaces nor a plus, for example logs.example.org/refold"
        )
    return text or None


def _parse_endpoints(text: str) -> tuple[str, ...] | None:
    endpoints = tuple(part for part in _SEPARATORS.split(text) if part)
    for endpoint in endpoints:
        try:
            read_address(endpoint)
        except ValueError as error:
            raise BadInputError(
                f"REFOLD_ENDPOINTS names {endpoint!r}: {error}; write addresses such as https://api.openai.com/v1, "
                "separated by spaces or commas"
            ) from None
    return endpoints or None


def _parse_follow(text: str) -> tuple[tuple[str, Path], ...]:
    """Pairs of a form and a folder, each once; which forms there are is for whoever reads the files."""
    found: dict[tuple[str, Path], None] = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        form, colon, folder = (each.strip() for each in part.partition(":"))
        if not (colon and folder and re.fullmatch(r"[a-z][a-z0-9_-]{0,40}", form)):
            raise BadInputError(
                f"REFOLD_FOLLOW names {part[:200]!r}; write FORM:FOLDER, separated by semicolons, as otlp:/var/otel;auto:/data/logs"
            )
        found[form, _parse_path("REFOLD_FOLLOW", folder)[0]] = None
    return tuple(found)


def _parse_days(name: str, text: str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:d|days?)?\s*", text)
    if match is None:
        raise BadInputError(f"{name} is {text!r}; write a number of days such as 7")
    return float(match.group(1))


def _parse_count(name: str, text: str) -> int:
    if re.fullmatch(r"\s*[1-9]\d{0,8}\s*", text) is None:
        raise BadInputError(f"{name} is {text!r}; write a number such as {SNAPSHOT_EVENTS}")
    return int(text)


def _parse_region(text: str) -> str | None:
    region = text.strip().upper()
    if re.fullmatch(r"[A-Z]{2}|", region) is None:
        raise BadInputError(f"REFOLD_REGION is {text!r}; write the two letters of a region, for example US or DE")
    return region or None


def _parse_header(text: str) -> str | None:
    header = text.strip().lower()
    if re.fullmatch(r"[a-z0-9-]{1,100}", header) is None and header:
        raise BadInputError(
            f"REFOLD_REVIEWER_HEADER is {text[:100]!r}; write the name of a header, for example X-Forwarded-User"
        )
    return header or None


def _parse_owners(text: str) -> tuple[str, ...]:
    owners = tuple(filter(None, map(str.strip, text.split(","))))
    for owner in owners:
        if re.fullmatch(r"team:\w{1,100}|[^@\s]{1,100}@[^@\s]{1,100}\.[^@\s.]{1,100}", owner, re.ASCII) is None:
            raise BadInputError(
                f"REFOLD_OWNERS names {owner[:200]!r}; write addresses or team:NAME, as team:support,ada@example.org"
            )
    return owners


def read_alert_webhook(env: Mapping[str, str] | None = None) -> str | None:
    """Where alerts are posted to (`REFOLD_ALERT_WEBHOOK`), a secret; None is nowhere.

    Raises:
        BadInputError: It is no address; it is not repeated.
    """
    text = ((os.environ if env is None else env).get("REFOLD_ALERT_WEBHOOK") or "").strip()
    if text and re.fullmatch(r"https?://[!-~]+", text) is None:
        raise BadInputError(
            "REFOLD_ALERT_WEBHOOK is no address; write https://…, as the place that takes the alerts gave it"
        )
    return text or None


def _parse_seconds(name: str, text: str) -> float:
    match = re.fullmatch(r"\s*(\d{1,6}(?:\.\d+)?)\s*s?\s*", text)
    if match is None or not float(match[1]):
        raise BadInputError(f"{name} is {text!r}; write a number of seconds such as 60")
    return float(match[1])


def _parse_usd(name: str, text: str) -> float:
    try:
        usd = float(text)
    except ValueError:
        usd = math.nan
    if not (math.isfinite(usd) and usd > 0):
        raise BadInputError(f"{name} is {text!r}; write US dollars such as 5 or 2.50")
    return usd
