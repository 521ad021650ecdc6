"""The database of the inventory, through SQLAlchemy's asyncio core. Imported when one is opened.

A snapshot refers to pages, and pages hold numbers. An unchanged page is referred to again instead of being
written again, so that a sweep without changes writes a few dozen bytes per account.
"""
