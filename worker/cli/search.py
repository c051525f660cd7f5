"""Search attributes of Temporal: optional, but they make runs findable in its UI."""

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError

from worker.cli.errors import Failed
from worker.stack.temporal import SEARCH_ATTRIBUTES

_TYPES = {
    "Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "Int": IndexedValueType.INDEXED_VALUE_TYPE_INT,
}


async def register(client: Client) -> list[str]:
    """Add those that the namespace does not have; returns their names. Raises Failed."""
    try:
        known = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
        absent = {
            name: _TYPES[kind]
            for name, kind in SEARCH_ATTRIBUTES.items()
            if name not in known.custom_attributes
        }
        if absent:
            await client.operator_service.add_search_attributes(
                AddSearchAttributesRequest(namespace=client.namespace, search_attributes=absent)
            )
    except RPCError as error:
        raise Failed(
            f"Temporal did not register the search attributes ({error.message}). Runs work without them; "
            "on Temporal Cloud add them in its console: "
            + ", ".join(f"{name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items())
        ) from error
    return sorted(absent)
