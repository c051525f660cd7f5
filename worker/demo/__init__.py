"""`curb demo`: the whole story on real servers, told in about a minute.

play.py sets the stage and tells how it ended, scenes.py has one function per scene, curb.yaml the
agents. Whatever is shown happened: the numbers come from the ledger and the provider's invoice.
"""
