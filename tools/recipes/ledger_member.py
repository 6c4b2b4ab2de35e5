#!/usr/bin/python3
"""Exactly-once effects by identity, as ledger_member.cpp, in Python.

usage: ledger_member.py BUS_DIR GROUP TOPIC DATABASE
"""

import sqlite3
import sys

import penstock

bus_dir, group, topic, database = sys.argv[1:]
db = sqlite3.connect(database, timeout=30, isolation_level=None)
db.execute("PRAGMA journal_mode = WAL")
db.execute("PRAGMA synchronous = FULL")
db.execute("CREATE TABLE IF NOT EXISTS ledger (line TEXT NOT NULL)")
db.execute("CREATE TABLE IF NOT EXISTS done (id TEXT PRIMARY KEY) WITHOUT ROWID")
with penstock.Bus(bus_dir) as bus, bus.consumer(group, [topic], durable_only=True) as member:
    while True:
        delivery = member.next(timeout=None)
        with db:  # a transaction, which an exception rolls back
            db.execute("BEGIN IMMEDIATE")
            fresh = db.execute("INSERT INTO done VALUES (?) ON CONFLICT DO NOTHING", [str(delivery.id)])
            if fresh.rowcount == 1:
                db.execute("INSERT INTO ledger VALUES (?)", [bytes(delivery.payload).decode()])
        delivery.ack()  # after the commit; killed in between, the event comes again and its id is known
