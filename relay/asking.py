"""From settings to the parts that ask providers: before a delivery, and to reconcile."""

from contextlib import AsyncExitStack

from relay.clock import Clock
from relay.config import Endpoint, provider_of, terms
from relay.config.endpoint import Confirm
from relay.confirm.client import StatusClient
from relay.confirm.pace import Bucket
from relay.ids import event_ids
from relay.reconcile.reconciler import Account, Reconciler
from relay.spool import Spool


def status_client(endpoint: Endpoint, clock: Clock, stack: AsyncExitStack) -> StatusClient:
    """Return what asks the API of this endpoint's environment, or the one that is configured.

    Raises:
        ValueError: there is none.
    """
    url = provider_of(endpoint).facts.environments[endpoint.environment].status_api
    if endpoint.confirm is not None and endpoint.confirm.url is not None:
        url = endpoint.confirm.url
    if url is None:
        raise ValueError(f"{endpoint.name}: its provider cannot be asked for a status")
    client = StatusClient(url, clock)
    stack.push_async_callback(client.close)
    return client


def unanswerable(endpoint: Endpoint) -> str | None:
    """Return why nothing can be reconciled at this endpoint; None when it can be."""
    facts = provider_of(endpoint).facts
    if facts.environments[endpoint.environment].status_api is None:
        return f"{facts.name} cannot be asked for a status"
    if not endpoint.secrets:
        return "it has no secrets, and a server key is what the status is asked with"
    if endpoint.mode == "proxy":
        return "it passes deliveries on (mode: proxy), and keeps no events"
    return None


def reconciler(endpoint: Endpoint, spool: Spool, clock: Clock, stack: AsyncExitStack) -> Reconciler:
    """Return what asks about orders of this endpoint; the stack closes its connections."""
    bound = provider_of(endpoint)
    confirm = endpoint.confirm or Confirm()
    account = Account(
        name=endpoint.name,
        path=endpoint.path,
        provider=bound.facts.name,
        environment=endpoint.environment,
        upstream=endpoint.upstream,
        inspector=bound.bind(terms(endpoint, bound.facts)),
        secrets=endpoint.secrets,
    )
    return Reconciler(
        account,
        api=status_client(endpoint, clock, stack),
        bucket=Bucket(confirm.rate),
        spool=spool,
        clock=clock,
        new_id=event_ids(clock),
    )
