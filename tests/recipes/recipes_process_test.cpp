// The exactly-once recipes as a chain of processes: a service and its outbox, the relay, a topic, invoicing from topic
// to topic, a ledger by position and one by identity, and the daemon. Each is killed at random moments and at system
// calls, and between rounds the shared side of the bus goes, as at a reboot. After each round every order is in each
// topic and each ledger once. With any of the precautions off, the same check must find it out.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <penstock/log.hpp>
#include <penstock/penstock.hpp>
#include <regex>
#include <sstream>
#include <thread>

#include "killable.hpp"
#include "tests/support/scratch.hpp"
#include "tools/recipes/sqlite.hpp"

namespace penstock::test {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kOrdersAKill = 8, kKillsARound = 8;

// Who runs, in the order in which they are started.
enum Who : std::size_t { the_daemon, relay, invoicer, second_invoicer, reader, member, second_member, service };

// Precautions that can be taken away, and who is killed.
struct Chain {
  std::vector<Who> killed = {the_daemon, relay, invoicer, second_invoicer, reader, member, second_member, service};
  bool python = false;          // the programs that there are in Python too
  bool orders_refuse = true;    // the orders' topic refuses ids it has
  bool invoices_refuse = true;  // and that of the invoices
  bool ids_are_unique = true;   // the ledger by identity knows what it has done
  bool place_is_kept = true;    // the ledger by position keeps its place with its effects
  bool reboots = true;
  bool ack_after_commit = true;  // the ledger by identity acks when the effect is there
};

// What a call gave; a failure ends the test with its reason.
template <class T>
T good(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message());
  return std::move(*result);
}

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

// A member as one writes it first: it acks what it took, and then does it.
int hasty_member(const std::string& path, const std::string& database) {
  sqlite::Database db(database.c_str());
  sqlite::Statement enter = db.prepare("INSERT INTO ledger VALUES (?)");
  auto bus = Bus::open(path);
  if (!bus) return 1;
  auto member = bus->consumer("ledger", {"invoices"});
  if (!member) return 1;
  for (;;) {
    auto delivery = member->next(1h);
    if (!delivery) return 1;
    if (!*delivery || !(*delivery)->ack()) continue;
    enter.run(sqlite::text_of((*delivery)->payload()));
  }
}

class Storm {
 public:
  Storm(const Chain& chain, std::uint64_t seed) : chain_(chain), random_(seed) {
    make();
    const char* folder = std::getenv("PENSTOCK_BIN");
    const std::string bin = folder != nullptr ? folder : "bin", recipes = bin + "/recipes/";
    const auto recipe = [&](const std::string& name) {
      return chain_.python ? std::vector<std::string>{"/usr/bin/python3", recipes + name + ".py"}
                           : std::vector<std::string>{recipes + name};
    };
    const auto add = [&](std::vector<std::string> program, const std::vector<std::string>& arguments) {
      program.insert(program.end(), arguments.begin(), arguments.end());
      victims_.emplace_back(std::move(program), "/dev/null", log_);
    };
    add({bin + "/penstockd"}, {"--bus", bus_});
    add(recipe("outbox_relay"), {bus_, "orders", shop_});
    for (int i = 0; i < 2; ++i) add({recipes + "invoicing"}, {bus_, "invoicing", "orders", "invoices"});
    add({recipes + "ledger_reader"}, {bus_, "orders", by_position_});
    for (int i = 0; i < 2; ++i) {
      if (chain_.ack_after_commit)
        add(recipe("ledger_member"), {bus_, "ledger", "invoices", by_id_});
      else
        victims_.emplace_back([this] { return hasty_member(bus_, by_id_); });
    }
    victims_.emplace_back(std::vector{recipes + "order_service", shop_}, input_, log_);
    for (Killable& victim : victims_) victim.start();
  }
  ~Storm() {
    for (Killable& victim : victims_) victim.kill();
    static_cast<void>(Bus::remove(bus_));
  }
  Storm(const Storm&) = delete;
  Storm& operator=(const Storm&) = delete;

  // New orders, and somebody is killed and started again, several times.
  void rage();
  // Everybody dies, and the shared memory with them.
  void reboot();
  // Until nobody has anything left to do. What is wrong then; nothing: each effect is there once.
  std::string settle();

  std::uint64_t kills = 0, at_calls = 0, reboots = 0;
  std::size_t orders() const { return orders_.size(); }
  bool may_reboot() const { return chain_.reboots; }

 private:
  void make();
  void order();
  bool idle();
  void look_whether_ended(Killable& victim);
  std::string compare(const std::string& where, std::vector<std::string> lines) const;
  std::vector<std::string> lines_of(const std::string& database);
  std::vector<std::string> events_of(const std::string& topic);
  Offset end_of_orders();
  static std::int64_t number(const std::string& database, const std::string& sql);
  void forget_place();

  Chain chain_;
  std::mt19937_64 random_;
  Scratch folder_;
  const std::string bus_ = folder_ / "bus", shop_ = folder_ / "shop.db", by_position_ = folder_ / "position.db",
                    by_id_ = folder_ / "id.db", input_ = folder_ / "orders", log_ = folder_ / "log";
  std::vector<std::string> orders_;
  std::vector<Killable> victims_;  // by Who
  std::string ended_badly_;
};

// The bus with its topics and groups before anybody comes. Whoever is killed over an event fails it: the groups take
// more of that here than a group does unasked.
void Storm::make() {
  std::ofstream(input_).flush();
  Bus bus = good(Bus::open(bus_));
  if (!chain_.orders_refuse) bus.create_topic("orders", {.single_producer = true}).or_else([](Error) { std::abort(); });
  if (!chain_.invoices_refuse) bus.create_topic("invoices").or_else([](Error) { std::abort(); });
  const ConsumerOptions patient{.max_attempts = 1000, .backoff = {1ms}};
  good(bus.consumer("invoicing", {"orders"}, patient));
  good(bus.consumer("ledger", {"invoices"}, patient));
  for (const std::string& database : {by_position_, by_id_})
    sqlite::Database(database.c_str()).run("CREATE TABLE ledger (line TEXT NOT NULL)");
  // The reader makes its own; here it is looked into before the reader has come so far.
  sqlite::Database(by_position_.c_str()).run("CREATE TABLE place (topic TEXT PRIMARY KEY, next INTEGER NOT NULL)");
  if (!chain_.ids_are_unique) sqlite::Database(by_id_.c_str()).run("CREATE TABLE done (id TEXT)");
}

// As if the place were written in a transaction of its own, before which the reader was killed.
void Storm::forget_place() {
  sqlite::Database db(by_position_.c_str());
  db.run("UPDATE place SET next = next - 1 WHERE next > 0");
}

// More for everybody to do; the service is given what is new since the last round.
void Storm::order() {
  {
    std::ofstream input(input_, std::ios::app);
    for (std::size_t i = 0; i < kOrdersAKill; ++i) {
      orders_.push_back("order-" + std::to_string(orders_.size()) + ' ' + std::to_string(random_() % 1000));
      input << orders_.back() << '\n';
    }
  }
  victims_[service].kill();
  victims_[service].start();
}

void Storm::rage() {
  std::ofstream(input_).flush();
  for (std::size_t i = 0; i < kKillsARound; ++i, ++kills) {
    order();
    const Who who = chain_.killed[random_() % chain_.killed.size()];
    Killable& victim = victims_[who];
    look_whether_ended(victim);
    if (random_() % 2 == 0) {
      at_calls += victim.kill_at_a_call(random_) ? 1 : 0;
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(random_() % 15'000));  // a moment like any other
      victim.kill();
    }
    if (!chain_.place_is_kept && who == reader) forget_place();
    victim.start();
  }
}

void Storm::reboot() {
  for (Killable& victim : victims_) victim.kill();
  std::filesystem::remove_all(std::filesystem::read_symlink(bus_ + "/live"));
  for (Killable& victim : victims_) victim.start();
  ++reboots;
}

// Nobody ends by himself but the service, when it has taken all orders.
void Storm::look_whether_ended(Killable& victim) {
  const auto status = victim.ended();
  if (!status || (&victim == &victims_[service] && *status == 0) || !ended_badly_.empty()) return;
  std::ostringstream log;
  log << std::ifstream(log_).rdbuf();
  ended_badly_ = victim.name() + " ended with " + std::to_string(*status) + ":\n" + log.str();
}

std::int64_t Storm::number(const std::string& database, const std::string& sql) {
  sqlite::Database db(database.c_str());
  sqlite::Statement statement = db.prepare(sql);
  return statement.run() ? statement.number(0) : 0;
}

std::vector<std::string> Storm::lines_of(const std::string& database) {
  std::vector<std::string> out;
  sqlite::Database db(database.c_str());
  sqlite::Statement lines = db.prepare("SELECT line FROM ledger");
  for (bool row = lines.run(); row; row = lines.next()) out.emplace_back(lines.text(0));
  return out;
}

std::vector<std::string> Storm::events_of(const std::string& topic) {
  std::vector<std::string> out;
  LogVisitor visitor;
  visitor.event = [&out](const EventView& event) {
    out.emplace_back(sqlite::text_of(event.payload()));
    return true;
  };
  static_cast<void>(good(Log::open(bus_, topic)).scan({}, visitor));
  return out;
}

Offset Storm::end_of_orders() {
  Offset end = 0;
  LogVisitor visitor;
  visitor.event = [&end](const EventView& event) {
    end = event.offset() + 1;
    return true;
  };
  static_cast<void>(good(Log::open(bus_, "orders")).scan({}, visitor));
  return end;
}

// Whether all orders were taken and nobody has anything left to do with them.
bool Storm::idle() {
  for (Killable& victim : victims_) look_whether_ended(victim);
  if (!ended_badly_.empty()) return true;
  if (victims_[service].running() || number(shop_, "SELECT count(*) FROM outbox") != 0) return false;
  Bus bus = good(Bus::open(bus_));
  for (const char* group : {"invoicing", "ledger"}) {
    const auto places = good(bus.group_topics(group));
    if (places.empty() || !std::all_of(places.begin(), places.end(), [](const auto& place) { return place.lag == 0; }))
      return false;
  }
  return number(by_position_, "SELECT next FROM place") >= std::int64_t(end_of_orders());
}

std::string Storm::compare(const std::string& where, std::vector<std::string> lines) const {
  std::map<std::string, int> count;
  for (const std::string& line : lines) ++count[line];
  std::size_t lost = 0, again = 0;
  for (const std::string& order : orders_) {
    const int there = count[order];
    lost += there == 0 ? 1 : 0;
    again += there > 1 ? 1 : 0;
  }
  if (lost == 0 && again == 0 && lines.size() == orders_.size()) return "";
  return where + ": " + std::to_string(lines.size()) + " of " + std::to_string(orders_.size()) + " orders, " +
         std::to_string(lost) + " lost, " + std::to_string(again) + " more than once; ";
}

std::string Storm::settle() {
  for (const auto deadline = std::chrono::steady_clock::now() + 60s; !idle(); std::this_thread::sleep_for(2ms))
    if (std::chrono::steady_clock::now() > deadline) return "they do not come to an end";
  if (!ended_badly_.empty()) return ended_badly_;
  std::string wrong;
  for (const char* topic : {"orders", "invoices"}) wrong += compare(topic, events_of(topic));
  wrong += compare("ledger by position", lines_of(by_position_));
  wrong += compare("ledger by identity", lines_of(by_id_));
  Bus bus = good(Bus::open(bus_));
  for (const char* group : {"invoicing", "ledger"}) {
    const auto places = good(bus.group_topics(group));
    for (const auto& place : places)
      if (place.dead_lettered != 0) wrong += "dead letters of " + place.group + "; ";
  }
  return wrong;
}

// Rounds of kills, every third of them with a reboot in the middle of the work. What is wrong at the end of a round.
std::string rage_until(Storm& storm, std::uint64_t kills) {
  for (std::uint64_t round = 0; storm.kills < kills; ++round) {
    storm.rage();
    if (round % 3 == 1 && storm.may_reboot()) storm.reboot();
    if (auto wrong = storm.settle(); !wrong.empty()) return wrong;
  }
  return "";
}

void expect_exactly_once(const Chain& chain, std::uint64_t kills) {
  const std::uint64_t seed = from_environment("SEED", std::random_device{}());
  SCOPED_TRACE("SEED=" + std::to_string(seed));
  Storm storm(chain, seed);
  EXPECT_EQ(rage_until(storm, kills), "");
  std::printf("SEED=%lu: %lu kills, %lu of them at a system call, %lu reboots, %zu orders\n", seed, storm.kills,
              storm.at_calls, storm.reboots, storm.orders());
}

TEST(ExactlyOnce, EachEffectIsThereOnceWhoeverIsKilled) { expect_exactly_once({}, from_environment("COUNT", 200)); }

TEST(ExactlyOnce, AlsoWithThePythonPrograms) {
  const char* folder = std::getenv("PENSTOCK_BIN");
  const std::string package = std::string(folder != nullptr ? folder : "bin") + "/../python";
  if (!std::filesystem::exists(package)) GTEST_SKIP() << "the Python module is not built";
  ::setenv("PYTHONPATH", package.c_str(), 1);
  ::setenv("PYTHONDONTWRITEBYTECODE", "1", 1);
  expect_exactly_once({.python = true}, from_environment("COUNT", 48));
}

// What the check is worth: a precaution less, and it finds effects that are lost or there twice.
void expect_found_out(const Chain& chain, const char* what) {
  const std::uint64_t seed = from_environment("SEED", std::random_device{}());
  SCOPED_TRACE("SEED=" + std::to_string(seed));
  Storm storm(chain, seed);
  const std::string wrong = rage_until(storm, 1000);
  EXPECT_TRUE(std::regex_search(wrong, std::regex(what))) << "after " << storm.kills << " kills: " << wrong;
  std::printf("found out after %lu kills: %s\n", storm.kills, wrong.c_str());
}

TEST(ExactlyOnceIsLost, WhereTheOutboxsTopicRefusesNothing) {
  expect_found_out({.killed = {relay}, .orders_refuse = false}, "orders: .* [1-9][0-9]* more than once");
}
TEST(ExactlyOnceIsLost, WhereTheDerivedTopicRefusesNothing) {
  expect_found_out({.killed = {invoicer, second_invoicer}, .invoices_refuse = false},
                   "invoices: .* [1-9][0-9]* more than once");
}
TEST(ExactlyOnceIsLost, WhereIdsNeedNotBeNew) {
  expect_found_out({.killed = {member, second_member}, .ids_are_unique = false},
                   "ledger by identity: .* [1-9][0-9]* more than once");
}
TEST(ExactlyOnceIsLost, WhereThePlaceIsKeptApart) {
  expect_found_out({.killed = {reader}, .place_is_kept = false}, "ledger by position: .* [1-9][0-9]* more than once");
}
TEST(ExactlyOnceIsLost, WhereTheAckComesBeforeTheCommit) {
  expect_found_out({.killed = {member, second_member}, .reboots = false, .ack_after_commit = false},
                   "ledger by identity: .* [1-9][0-9]* lost");
}

}  // namespace
}  // namespace penstock::test
