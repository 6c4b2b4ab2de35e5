// An outbox's relay: publishes the rows that a service wrote beside its business data, each with the row's id, and
// removes them once they are on disk. Killed anywhere, it publishes the rows it finds again, and the topic refuses the
// ids it has. The topic has this producer alone, so what came after a row that is still in the outbox is at most a
// batch, and within the topic's window; a second relay ends with a message.
// usage: outbox_relay BUS_DIR TOPIC DATABASE
#include <algorithm>
#include <chrono>
#include <iostream>
#include <penstock/penstock.hpp>
#include <thread>

#include "sqlite.hpp"

using namespace std::chrono_literals;

namespace {

constexpr std::int64_t kBatch = 256;
constexpr std::uint32_t kWindow = 4096;
static_assert(kBatch <= kWindow);

int fail(const std::string& why) {
  std::cerr << "outbox_relay: " << why << '\n';
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return fail("usage: outbox_relay BUS_DIR TOPIC DATABASE");
  auto bus = penstock::Bus::open(argv[1]);
  if (!bus) return fail(bus.error().message());
  auto made = bus->create_topic(argv[2], {.single_producer = true, .publish_dedupe = kWindow});
  if (!made && made.error().code() != penstock::Errc::already_exists) return fail(made.error().message());
  auto producer = bus->producer(argv[2]);
  if (!producer) return fail(producer.error().message());

  sqlite::Database db(argv[3]);
  db.run(
      "CREATE TABLE IF NOT EXISTS outbox (row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, "
      "key TEXT NOT NULL, payload TEXT NOT NULL)");
  sqlite::Statement rows = db.prepare("SELECT row, id, key, payload FROM outbox ORDER BY row LIMIT ?");
  sqlite::Statement remove = db.prepare("DELETE FROM outbox WHERE row <= ?");
  for (;;) {
    std::int64_t last = 0;
    penstock::Offset end = 0;
    for (bool row = rows.run(kBatch); row; row = rows.next()) {
      const std::string_view payload = rows.text(3);
      auto offset = producer->publish(std::as_bytes(std::span(payload)), {.id = rows.text(1), .key = rows.text(2)});
      if (!offset) return fail(offset.error().message());
      last = rows.number(0);
      end = std::max(end, *offset);
    }
    if (last == 0) {
      std::this_thread::sleep_for(10ms);  // nothing to do; a service in this process would ring instead
      continue;
    }
    if (auto durable = producer->await_durable(end, 30s); !durable) return fail(durable.error().message());
    remove.run(last);
  }
}
