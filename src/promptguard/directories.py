"""What `ledger=` means: the path of a directory, or the address of a database; checked before anything looks into it."""

from __future__ import annotations

import errno
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from promptguard.core.mistakes import nearest, refused
from promptguard.errors import ConfigurationError

DIRECTORY = 'the path of a directory, such as ".promptguard"'
_POSTGRES = ("postgresql+psycopg://promptguard@db.example.com/watch", "psycopg", "postgres")
DATABASES: Mapping[str, tuple[str, str, str]] = {"postgresql+psycopg": _POSTGRES, "postgresql": _POSTGRES}
"""scheme → (an address, the package that speaks to it, the extra of PromptGuard's that installs it)"""
LOCAL = ".promptguard"
"""Directory of what stays on this machine where the ledger is elsewhere: the cache on disk, pairs that wait."""
LOCAL_VARIABLE = "PROMPTGUARD_LOCAL"
HIDDEN = "***"
_SCHEME = re.compile(
    r"(?:jdbc:[a-z][a-z0-9+.-]*(?=:)|[a-z][a-z0-9+.-]*(?=://)|(?:postgres(?:ql)?|sqlite|mysql|mariadb|redis|s3|gs|https?|file)(?:\+\w+)?(?=:/?))",
    re.IGNORECASE,
)
"""Of an address; a `Path` has lost one of its two slashes."""
_KEYWORDS = re.compile(
    r"(?:^|\s)password\s*=|(?:^|\s)(?:host(?:addr)?|user|dbname|port)\s*=.*\s(?:host(?:addr)?|user|dbname|port)\s*=",
    re.IGNORECASE,
)
"""Of libpq's other form of an address, `host=db user=app`."""


class Database(str):
    """The address of a database, as text without its password: so it is printed, logged and stored wherever it gets to.

    `url` is the whole address, for who connects. Made by `check_ledger`.
    """

    __slots__ = ("url",)
    url: str

    def __new__(cls, url: str) -> Database:
        """Keep the whole address beside the text."""
        self = super().__new__(cls, without_password(url))
        self.url = url
        return self

    def __reduce__(self) -> tuple[type[Database], tuple[str]]:
        """Make a copy in another process whole again."""
        return Database, (self.url,)

    def cleaned(self, text: str) -> str:
        """Return a text in which this address's password, if it should stand there, is hidden."""
        password = urlsplit(self.url).password
        for written in {password, unquote(password)} if password else ():
            text = text.replace(written, HIDDEN)
        return text

    @property
    def name(self) -> str:
        """What it is called where a directory's last part would stand."""
        return urlsplit(self).path.strip("/") or (urlsplit(self).hostname or "")


Place = Path | Database
"""Where a ledger is."""


def without_password(url: str) -> str:
    """Return an address with `***` in place of each password in it."""
    url = re.sub(r"(?<=://)([^/?#]*)@", lambda found: f"{found[1].partition(':')[0]}{_hid(found[1])}@", url)
    return re.sub(r"([?&](?:\w*password|\w*secret|sslkey)=)[^&#]*", rf"\1{HIDDEN}", url, flags=re.IGNORECASE)


def _hid(who: str) -> str:
    return f":{HIDDEN}" if ":" in who else ""


def check_ledger(ledger: object, name: str = "ledger") -> str | Path:
    """Return `ledger` if it can be a directory, or a Database for the address of one.

    Raises ConfigurationError; says nothing of what is on the disk, or of what answers.
    """
    if isinstance(ledger, Database):
        return ledger
    accepted = _accepted()
    try:
        path = os.fspath(ledger) if isinstance(ledger, os.PathLike) else ledger
    except Exception as error:
        raise ConfigurationError(
            f"{name}= raised {type(error).__name__} when asked for its path: give {accepted}"
        ) from error
    if not isinstance(path, str) or not path.strip() or "\0" in path or path == ":memory:":
        raise refused(name, ledger, accepted)
    address = _SCHEME.match(path)
    if address is not None:  # what follows may be a password
        return _database(address[0], path, name, is_path=isinstance(ledger, Path))
    if _KEYWORDS.search(path):
        raise ConfigurationError(f"{name}= is written in keywords of a database's: give {accepted}")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise refused(name, path, "a path that the file system can write") from None
    return ledger if isinstance(ledger, Path) else path


def check_database(text: str) -> str:
    """Return the address of a database as one, and any other text as it is. Raises ConfigurationError."""
    address = _SCHEME.match(text)
    return text if address is None else _database(address[0], text, "ledger", is_path=False)


def _accepted() -> str:
    return " or ".join(
        [DIRECTORY, *(f'an address, such as "{each[0]}"' for each in dict.fromkeys(DATABASES.values()))]
    )


def _database(scheme: str, url: str, name: str, *, is_path: bool) -> Database:
    """Return a database's address. Raises ConfigurationError, which repeats no more of it than its scheme."""
    known = DATABASES.get(scheme.lower())
    where = f"{name}={scheme + '://...'!r}"
    if known is None:
        close = nearest(scheme.lower(), tuple(DATABASES))
        hint = f" (did you mean {close}://...?)" if close else ""
        raise ConfigurationError(f"{where}: there is no such kind of ledger{hint}: give {_accepted()}")
    if is_path:
        raise ConfigurationError(f"{where} was given as a Path, which is no address: give it as text")
    wrong = _wrong(url)
    if wrong:
        raise ConfigurationError(f"{where}: {wrong}; an address is such as {known[0]!r}")
    if not _is_installed(known[1]):
        raise ConfigurationError(f"{where} needs a package: pip install 'promptguard-shadow[{known[2]}]'")
    return Database(url)


def _wrong(url: str) -> str:
    """Say what keeps an address from being one, without repeating any of it; "" where nothing does."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "its host or port cannot be read (special letters of a password are written as %40)"
    if unquote(parts.password or "") == HIDDEN:
        return "its password was hidden where this was copied from"
    if not parts.path.strip("/"):
        return "it names no database"
    if not parts.hostname and "host=" not in parts.query:
        return "it names no host"
    return "port 0 cannot be" if port == 0 else ""


def _is_installed(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None


def expanded(ledger: object, name: str = "ledger") -> Path:
    """Return the path that `ledger` means, `~` replaced, whether there is anything or not.

    Raises ConfigurationError, which calls it `name`, for what is no path of this machine.
    """
    given = check_ledger(ledger, name)
    if isinstance(given, Database):
        raise refused(name, str(given), DIRECTORY)
    path = Path(given)
    try:
        path = path.expanduser()
    except RuntimeError:
        accepted = "a path whose ~ stands for a home directory that is known"
        raise refused(name, str(path), accepted) from None
    try:
        path.lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise refused(name, str(path), "a shorter path: the file system takes none as long") from None
    return path


def ledger_place(ledger: object, name: str = "ledger") -> Place:
    """Return where `ledger` is: an absolute path, or a database. Raises as `expanded`."""
    given = check_ledger(ledger, name)
    if isinstance(given, Database):
        return given
    return _absolute(expanded(given, name))


def local_directory(place: Place) -> Path:
    """Return the directory of what stays on this machine: the ledger's own, or LOCAL for one that is elsewhere."""
    if isinstance(place, Path):
        return place
    return _absolute(Path(os.environ.get(LOCAL_VARIABLE) or LOCAL).expanduser())


def _absolute(path: Path) -> Path:
    try:
        return path.absolute()
    except OSError:  # the working directory was removed: no reason not to start
        return Path(os.environ.get("PWD") or os.sep) / path


def name_of(place: Place) -> str:
    """Return what a ledger is called where there is no room for its whole address."""
    return place.name


def as_text(ledger: str | Path) -> str:
    """Return a ledger as text that still names it; of a database, text that does not show its password."""
    found = check_ledger(ledger)
    return found if isinstance(found, Database) else str(ledger)


def ledger_option(ledger: str | Path) -> str:
    """Return how a command names a ledger: a database by the variable, whose password a command line would show."""
    text = as_text(ledger)
    return '--ledger "$PROMPTGUARD_LEDGER"' if isinstance(text, Database) else f"--ledger {shlex.quote(text)}"
