// SQLite as the recipes need it. What fails ends the program with SQLite's reason: what was not committed is rolled
// back, and the recipes go on rightly from wherever they are started again.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace sqlite {

// Belongs to its database, which must outlive it.
class Statement {
 public:
  Statement(sqlite3* db, std::string_view sql) : db_(db) {
    sqlite3_stmt* made = nullptr;
    check(sqlite3_prepare_v2(db, sql.data(), static_cast<int>(sql.size()), &made, nullptr));
    statement_.reset(made);
  }
  // Runs it anew with these values for its question marks. True: there is a row.
  template <class... Values>
  bool run(const Values&... values) {
    sqlite3_reset(statement_.get());
    int place = 0;
    (bind(++place, values), ...);
    return next();
  }
  bool next() {
    const int result = sqlite3_step(statement_.get());
    if (result != SQLITE_ROW) check(sqlite3_reset(statement_.get()));
    return result == SQLITE_ROW;
  }
  std::int64_t number(int column) { return sqlite3_column_int64(statement_.get(), column); }
  // Valid until the next row.
  std::string_view text(int column) {
    const void* bytes = sqlite3_column_blob(statement_.get(), column);
    return {static_cast<const char*>(bytes), static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
  }

 private:
  void bind(int place, std::int64_t value) { check(sqlite3_bind_int64(statement_.get(), place, value)); }
  void bind(int place, std::string_view value) {
    check(sqlite3_bind_text(statement_.get(), place, value.data(), static_cast<int>(value.size()), SQLITE_TRANSIENT));
  }
  void check(int result) const {
    if (result == SQLITE_OK) return;
    std::cerr << sqlite3_errmsg(db_) << '\n';
    std::exit(1);
  }
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  sqlite3* db_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

// What is committed survives a power cut, and others that write at the same time are waited for.
class Database {
 public:
  explicit Database(const char* path) {
    sqlite3* opened = nullptr;
    const int result = sqlite3_open(path, &opened);
    db_.reset(opened);
    if (result != SQLITE_OK) {
      std::cerr << path << ": " << sqlite3_errmsg(opened) << '\n';
      std::exit(1);
    }
    sqlite3_busy_timeout(opened, 30'000);
    run("PRAGMA journal_mode = WAL");
    run("PRAGMA synchronous = FULL");
  }
  Statement prepare(std::string_view sql) { return {db_.get(), sql}; }
  void run(std::string_view sql) {
    for (Statement statement = prepare(sql); statement.next();) {
    }
  }
  int changes() const { return sqlite3_changes(db_.get()); }  // rows that the last statement changed

 private:
  struct Close {
    void operator()(sqlite3* db) const { sqlite3_close(db); }
  };
  std::unique_ptr<sqlite3, Close> db_;
};

inline std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace sqlite
