"""Reconciliation with what providers tell in sums only: their usage and cost APIs.

For each provider with an admin key, in this order:

1. doubts: what is in doubt is resolved, as far as the sums decide it (gateway.policy.sums) and only where the
   key is curb's alone. Minutes are asked for, around each doubt, from one quiet minute to the next.
2. comparison: what the provider reports for a day beyond everything that the books can explain is kept as
   unattributed, and told where the key is curb's alone. It is never booked, not even then: the sums do not
   say who used it, and a budget that is charged with a guess refuses the wrong people.
3. What is booked beyond the provider's word is told.
4. The dollars billed for a day are compared with the ledger's: that is how prices are checked.

account: one provider's sums, how complete they are, and prices. follow: all of it.
"""
