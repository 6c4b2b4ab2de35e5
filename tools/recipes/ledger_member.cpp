// Exactly-once effects, by identity: a member of a group that writes each event into a ledger and the event's id, which
// must be new, in the same transaction, and acks after the commit. Killed before the commit, nothing has happened and
// the event comes again; killed before the ack, it comes again and its id is known. Any number run at once, and copies
// of an event that were published twice count once. Ids may be removed when no copy can come any more.
// usage: ledger_member BUS_DIR GROUP TOPIC DATABASE
#include <chrono>
#include <iostream>
#include <penstock/penstock.hpp>

#include "sqlite.hpp"

using namespace std::chrono_literals;

namespace {

int fail(const std::string& why) {
  std::cerr << "ledger_member: " << why << '\n';
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return fail("usage: ledger_member BUS_DIR GROUP TOPIC DATABASE");
  sqlite::Database db(argv[4]);
  db.run("CREATE TABLE IF NOT EXISTS ledger (line TEXT NOT NULL)");
  db.run("CREATE TABLE IF NOT EXISTS done (id TEXT PRIMARY KEY) WITHOUT ROWID");
  sqlite::Statement first = db.prepare("INSERT INTO done VALUES (?) ON CONFLICT DO NOTHING");
  sqlite::Statement enter = db.prepare("INSERT INTO ledger VALUES (?)");

  auto bus = penstock::Bus::open(argv[1]);
  if (!bus) return fail(bus.error().message());
  // Only what is on disk: an event that a power cut takes back must leave no effect.
  auto member = bus->consumer(argv[2], {argv[3]}, {.durable_only = true});
  if (!member) return fail(member.error().message());
  for (;;) {
    auto delivery = member->next(1h);
    if (!delivery) return fail(delivery.error().message());
    if (!*delivery) continue;
    db.run("BEGIN IMMEDIATE");
    first.run((*delivery)->id().hex());
    if (db.changes() == 1) enter.run(sqlite::text_of((*delivery)->payload()));
    db.run("COMMIT");
    // A lease that ran out is another member's by now, who finds the id.
    if (auto acked = (*delivery)->ack(); !acked && acked.error().code() != penstock::Errc::stale_lease)
      return fail(acked.error().message());
  }
}
