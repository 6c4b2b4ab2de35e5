#!/usr/bin/python3
"""An outbox's relay, as outbox_relay.cpp, in Python.

usage: outbox_relay.py BUS_DIR TOPIC DATABASE
"""

import sqlite3
import sys
import time

import penstock

BATCH, WINDOW = 256, 4096  # what is published again after a death lies within the window

bus_dir, topic, database = sys.argv[1:]
db = sqlite3.connect(database, timeout=30, isolation_level=None)
db.execute("PRAGMA journal_mode = WAL")
db.execute("PRAGMA synchronous = FULL")
db.execute(
    "CREATE TABLE IF NOT EXISTS outbox (row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, "
    "key TEXT NOT NULL, payload TEXT NOT NULL)"
)
with penstock.Bus(bus_dir) as bus:
    try:
        bus.create_topic(topic, single_producer=True, publish_dedupe=WINDOW)
    except penstock.AlreadyExists:
        pass
    producer = bus.producer(topic)
    while True:
        rows = db.execute("SELECT row, id, key, payload FROM outbox ORDER BY row LIMIT ?", [BATCH]).fetchall()
        if not rows:
            time.sleep(0.01)  # nothing to do
            continue
        end = max(producer.publish(payload.encode(), id=id, key=key) for _, id, key, payload in rows)
        producer.await_durable(end, timeout=30)
        db.execute("DELETE FROM outbox WHERE row <= ?", [rows[-1][0]])
