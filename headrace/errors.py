"""Every error a user can meet. Each says what happened, where, and what to do next."""

from __future__ import annotations


class HeadraceError(Exception):
    """Base of every error headrace raises on purpose.

    The command line prints the message alone, without a traceback, and exits with ``exit_code``.
    """

    exit_code = 1


class ConfigError(HeadraceError):
    """A command or a setting is wrong; nothing was done."""

    exit_code = 2


class UnknownPipeline(ConfigError):
    """No pipeline answers to the name given."""


class SchemaError(ConfigError):
    """A schema cannot be read, or does not fit what the pipeline says of it."""


class DownloadError(HeadraceError):
    """A part (a jar, the registry) could not be fetched, or is not what its digest says."""


class StackError(HeadraceError):
    """A server of the embedded stack did not start, died, or cannot be reached."""


class Unavailable(HeadraceError):
    """A server is away for now. The caller pauses and tries again; nothing is lost or dead-lettered."""


class OffsetGone(HeadraceError):
    """A partition does not have the record that was to be read next: retention dropped it, or the topic is another."""


class RecordsLost(HeadraceError):
    """Kafka has dropped records that a worker needs. It stops rather than go on with less."""


class TopicReplaced(HeadraceError):
    """A topic was deleted and made again under the same name. Positions in the old one mean nothing in it."""


class Fenced(HeadraceError):
    """Another worker holds this worker's place. This one must stop."""


class TransactionAborted(HeadraceError):
    """A transaction was given up; its records are invisible and its input will be read again."""


class StateError(HeadraceError):
    """What a worker holds of the log could not be kept on its disk, or was damaged there. It is made again from the
    log when the worker starts again."""


class ModelRejected(HeadraceError):
    """A model is broken, too large, or not what its manifest says. It is never used."""


class TrainingRefused(HeadraceError):
    """The examples a trigger names cannot give a model (none, one class only, a span too short)."""


class TrackingFailed(HeadraceError):
    """A training was not logged to MLflow; its model is published all the same."""


class TooManyFailures(HeadraceError):
    """User code failed on more records than the pipeline allows. The worker stops."""


class VersionDamaged(HeadraceError):
    """A frozen version of a topic is not what its manifest says. Nothing was made of it."""


class DataError(HeadraceError):
    """A frozen version could not be written, shared or fetched: the data folder or DVC refused."""
