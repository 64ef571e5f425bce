"""Every exception PromptGuard raises, as one tree.

::

    PromptGuardError
    ├── ConfigurationError      wrong use: raised by wrap() and other set-up calls, never during a call
    │   ├── UnknownClient       the object is no SDK client that PromptGuard can wrap
    │   ├── MissingExtra        an optional package is not installed
    │   └── NoLedger            there is no ledger in the directory named; an InputFileError as well
    ├── PromptError             a prompt file, version or variable is wrong
    │   ├── UnknownPrompt       no such name, version or label; a ConfigurationError as well
    │   ├── PromptSyntaxError   a prompt file cannot be read; names file and line
    │   ├── PromptChanged       a version that was used before has other content now
    │   ├── MissingVariable     the template needs a variable that was not given; a ConfigurationError as well
    │   ├── WrongVariable       render() was given what the template does not take; a ConfigurationError as well
    │   └── RenderLimit         a template asked for more time, memory or output than allowed
    ├── InputFileError          a pairs or ledger file is missing, empty or malformed; names file and line
    └── DriftDetected           raised to the caller only when `on_drift=Raise()` asked for it

After a call has begun, a fault of PromptGuard's own is an event, never an exception (docs/decisions/0004).
"""

from __future__ import annotations


class PromptGuardError(Exception):
    """Base of every exception this library raises."""


class ConfigurationError(PromptGuardError, ValueError):
    """Wrong use, reported at set-up; the message says what to write instead."""


class UnknownClient(ConfigurationError):  # noqa: N818 - reads as what it is
    """The object given to wrap() is no SDK client that PromptGuard knows."""


class MissingExtra(ConfigurationError):  # noqa: N818
    """A feature needs a package that is not installed; the message names the pip command."""


class PromptError(PromptGuardError):
    """Base of everything that can be wrong with a prompt."""


class UnknownPrompt(PromptError, ConfigurationError, LookupError):  # noqa: N818
    """No prompt of that name, version or label; the message lists what there is."""


class PromptSyntaxError(PromptError, ValueError):
    """A prompt file cannot be read; the message names the file and, where known, the line."""


class PromptChanged(PromptError):  # noqa: N818
    """A version that is locked has other content now; make a new version instead."""


class MissingVariable(PromptError, ConfigurationError, LookupError):  # noqa: N818
    """The template uses a variable that render() was not given."""


class WrongVariable(PromptError, ConfigurationError):  # noqa: N818
    """render() was given a variable that the prompt does not have, or one of another kind."""


class RenderLimit(PromptError):  # noqa: N818
    """A template exceeded the limits of the sandbox."""


class InputFileError(PromptGuardError, ValueError):
    """A file given to a command is missing, empty or malformed."""


class NoLedger(ConfigurationError, InputFileError):  # noqa: N818
    """There is no ledger in the directory that was named: another directory, or nothing has run yet."""


class DriftDetected(PromptGuardError):  # noqa: N818
    """Raised on the next call after an alarm, only where `on_drift=Raise()` was chosen."""
