// Exactly-once effects, by position: writes each event of a topic into a ledger and keeps the place it has come to in
// the same transaction. Whenever it is killed, and after a power cut too, effects and place are of one moment, and the
// next start goes on from there. One runs at a time, of which it makes sure.
// usage: ledger_reader BUS_DIR TOPIC DATABASE
#include <chrono>
#include <iostream>
#include <penstock/penstock.hpp>

#include "sqlite.hpp"

using namespace std::chrono_literals;

namespace {

int fail(const std::string& why) {
  std::cerr << "ledger_reader: " << why << '\n';
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return fail("usage: ledger_reader BUS_DIR TOPIC DATABASE");
  const std::string topic = argv[2];
  sqlite::Database db(argv[3]);
  db.run("CREATE TABLE IF NOT EXISTS ledger (line TEXT NOT NULL)");
  db.run("CREATE TABLE IF NOT EXISTS place (topic TEXT PRIMARY KEY, next INTEGER NOT NULL)");
  db.prepare("INSERT INTO place VALUES (?, 0) ON CONFLICT DO NOTHING").run(topic);
  sqlite::Statement enter = db.prepare("INSERT INTO ledger VALUES (?)");
  sqlite::Statement move = db.prepare("UPDATE place SET next = ? WHERE topic = ? AND next = ?");
  sqlite::Statement where = db.prepare("SELECT next FROM place WHERE topic = ?");
  where.run(topic);
  auto next = static_cast<penstock::Offset>(where.number(0));
  where.next();  // ends the look, and with it the read lock

  auto bus = penstock::Bus::open(argv[1]);
  if (!bus) return fail(bus.error().message());
  // Only what is on disk: an event that a power cut takes back must leave no effect.
  auto reader = bus->reader(topic, penstock::StartAt::offset(next), {.durable_only = true});
  if (!reader) return fail(reader.error().message());
  for (;;) {
    if (auto ready = reader->wait(1h); !ready) return fail(ready.error().message());
    const auto from = static_cast<std::int64_t>(next);
    db.run("BEGIN IMMEDIATE");
    auto handled = reader->poll([&](const penstock::EventView& event) {
      enter.run(sqlite::text_of(event.payload()));
      next = event.offset() + 1;
    });
    if (!handled) return fail(handled.error().message());
    if (reader->missed() + reader->damaged() != 0)
      return fail("events are gone that were not read; see penstock verify");
    move.run(static_cast<std::int64_t>(next), topic, from);
    if (db.changes() != 1) return fail("another ledger_reader has moved on; one is enough");
    db.run("COMMIT");
  }
}
