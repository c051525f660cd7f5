"""The store: one door to Postgres, composed of small classes, each with one subject."""

from gateway.store.alerts import Alerts
from gateway.store.anomalies import Anomalies
from gateway.store.answers import Answers
from gateway.store.attempts import Attempts
from gateway.store.backups import Backups
from gateway.store.batches import Batches
from gateway.store.budgets import Budgets
from gateway.store.cached import CachedAnswers
from gateway.store.conversations import Conversations
from gateway.store.database import Database
from gateway.store.days import Days
from gateway.store.epochs import Epochs
from gateway.store.events import Events
from gateway.store.figures import Figures
from gateway.store.files import Files
from gateway.store.health import ProviderHealth
from gateway.store.keys import Keys
from gateway.store.ledger import Ledger
from gateway.store.reconciliations import Reconciliations
from gateway.store.reports import Reports
from gateway.store.retention import Retention
from gateway.store.runs import Runs
from gateway.store.spending import Spending
from gateway.store.traces import Traces
from gateway.store.usage import Usage
from gateway.store.violations import Violations


class Store:
    """Everything that curb keeps for good. Each part says what it can do; errors are StoreUnavailable
    (nobody answers), StoreRejected (the values are refused) and NotFound."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.ledger = Ledger(database)
        self.attempts = Attempts(database)
        self.answers = Answers(database)
        self.cached = CachedAnswers(database)
        self.conversations = Conversations(database)
        self.runs = Runs(database)
        self.events = Events(database)
        self.alerts = Alerts(database)
        self.budgets = Budgets(database)
        self.epochs = Epochs(database)
        self.days = Days(database)
        self.retention = Retention(database)
        self.health = ProviderHealth(database)
        self.reconciliations = Reconciliations(database)
        self.keys = Keys(database)
        self.violations = Violations(database)
        self.usage = Usage(database)
        self.anomalies = Anomalies(database)
        self.figures = Figures(database)
        self.spending = Spending(database)
        self.reports = Reports(database)
        self.traces = Traces(database)
        self.backups = Backups(database)
        self.batches = Batches(database)
        self.files = Files(database)

    @classmethod
    async def connect(cls, url: str, *, pool_size: int = 10, wait_seconds: float = 5.0) -> "Store":
        """Connect to a `postgresql://` URL. wait_seconds: how long any call waits for a connection.

        Raises StoreUnavailable when Postgres does not answer, ConfigurationError for another URL.
        """
        return cls(await Database.open(url, pool_size=pool_size, wait_seconds=wait_seconds))

    async def ping(self) -> None:
        """One round trip; raises StoreUnavailable."""
        await self._database.rows("ping")

    async def close(self) -> None:
        await self._database.close()

    async def __aenter__(self) -> "Store":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
