"""Task queues by role: runs, the gateway's model calls, tools, supervision.

Workers of the roles can be scaled apart; the names are fixed, because workflow code must
find them again on replay. Separate curb installations use separate Temporal namespaces.
"""

RUNS = "curb-runs"
GATEWAY = "curb-gateway"
TOOLS = "curb-tools"
SUPERVISION = "curb-supervision"
