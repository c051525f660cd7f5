"""Batches: many requests at half the price, held as one attempt and settled from the provider's own results.

opening.py takes one on, following.py brings it to its end, results.py says what it came to: each step may be
done again by anybody.
"""
