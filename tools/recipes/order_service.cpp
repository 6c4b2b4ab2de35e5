// The service before an outbox: takes orders, a name and an amount a line, and writes each with what is to be published
// about it in one transaction. It knows nothing of the bus; outbox_relay publishes. An order it has is not taken twice,
// so who is not sure whether an order was taken gives it again.
// usage: order_service DATABASE <ORDERS
#include <iostream>

#include "sqlite.hpp"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: order_service DATABASE <ORDERS\n";
    return 2;
  }
  sqlite::Database db(argv[1]);
  db.run("CREATE TABLE IF NOT EXISTS orders (name TEXT PRIMARY KEY, amount INTEGER NOT NULL)");
  db.run(
      "CREATE TABLE IF NOT EXISTS outbox (row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, "
      "key TEXT NOT NULL, payload TEXT NOT NULL)");
  sqlite::Statement take = db.prepare("INSERT INTO orders VALUES (?, ?) ON CONFLICT DO NOTHING");
  sqlite::Statement tell = db.prepare("INSERT INTO outbox (id, key, payload) VALUES (?, ?, ?)");
  std::string name;
  for (std::int64_t amount = 0; std::cin >> name >> amount;) {
    db.run("BEGIN IMMEDIATE");
    take.run(name, amount);
    if (db.changes() == 1) tell.run("created/" + name, name, name + ' ' + std::to_string(amount));
    db.run("COMMIT");
  }
  return 0;
}
