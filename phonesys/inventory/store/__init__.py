"""The database behind the inventory, through SQLAlchemy's asyncio core; loaded when one is opened.

A snapshot refers to pages, and pages hold numbers. A page that is as it was in the sweep before is referred
to again and not written again, so that a sweep where nothing changed writes a few dozen bytes an account.
"""
