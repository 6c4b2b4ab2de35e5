// What the files of the C library share: the handles, errnos over Errc, options of any version. Nothing throws across
// the C functions: each runs in `guarded`, whose callers may throw Refused.
#pragma once

#include <penstock/penstock.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <penstock/daemon.hpp>
#include <string>
#include <vector>

struct penstock_bus {
  penstock::Bus bus;
};
struct penstock_producer {
  penstock::Producer producer;
};
struct penstock_consumer {
  penstock::Consumer consumer;
};
struct penstock_reader {
  penstock::Reader reader;
};
struct penstock_daemon {
  penstock::Daemon daemon;
};

// An event in place, or with bytes of its own. What C wants otherwise than C++ is made when it is asked for.
struct penstock_event {
  explicit penstock_event(const penstock::EventView& in_place) : view(in_place) {}
  explicit penstock_event(penstock::Event&& event) : owned(std::move(event)), view(owned.view()) {}
  penstock_event(const penstock_event&) = delete;
  penstock_event& operator=(const penstock_event&) = delete;

  penstock::Event owned;
  penstock::EventView view;
  const penstock::DeadLetter* redriven = nullptr;  // a delivery's
  bool delivered = false;
  mutable std::string topic;  // with the NUL at its end
  mutable std::optional<penstock::DeadLetter> letter;
  mutable std::optional<std::vector<penstock::Header>> headers;
};

struct penstock_delivery {
  explicit penstock_delivery(penstock::Delivery&& given) : delivery(std::move(given)), event(delivery.event().view()) {
    event.delivered = true;
    if (delivery.redriven()) event.redriven = &*delivery.redriven();
  }
  penstock::Delivery delivery;
  penstock_event event;
};

namespace penstock::c {

// Arguments that cannot be: caught by `guarded`.
struct Refused {
  int code;
  const char* text;
};

// Keeps the sentence for penstock_last_error and answers the negative errno.
int failed(const Error& error);
int failed(int code, const char* text);
int failed_by_exception() noexcept;  // in a catch block

template <class Call>
int guarded(Call&& call) noexcept {
  try {
    return call();
  } catch (...) {
    return failed_by_exception();
  }
}

template <class T>
int settled(const Result<T>& result) {
  return result ? 0 : failed(result.error());
}

// A caller's options as this version knows them: what an older caller does not have is zero, what a later one has must
// be.
template <class Options>
Options options_of(const Options* given) {
  Options out{};
  if (given == nullptr) return out;
  const std::size_t size = given->struct_size;
  if (size < sizeof size) throw Refused{EINVAL, "set struct_size to sizeof the struct of options"};
  const auto* bytes = reinterpret_cast<const char*>(given);
  if (size > sizeof out && std::any_of(bytes + sizeof out, bytes + size, [](char byte) { return byte != 0; }))
    throw Refused{E2BIG, "an option that this version does not know; leave it out, or use a later libpenstock"};
  std::memcpy(&out, given, std::min(size, sizeof out));
  return out;
}

// Fills in as much of an answer as the caller has room for.
template <class Answer>
int answer(Answer* place, Answer filled) {
  if (place == nullptr || place->struct_size < sizeof place->struct_size)
    throw Refused{EINVAL, "set struct_size to sizeof the struct that takes the answer"};
  filled.struct_size = place->struct_size;
  std::memcpy(place, &filled, std::min(place->struct_size, sizeof filled));
  return 0;
}

// Numbers of the header as values of the library, from 1; 0 is the default.
template <class T>
std::optional<T> choice(int given, std::initializer_list<T> known) {
  if (given == 0) return {};
  if (given < 0 || static_cast<std::size_t>(given) > known.size())
    throw Refused{EINVAL, "a number that stands for no choice; use the names of penstock.h"};
  return known.begin()[given - 1];
}
template <class T>
int number_of(T given, std::initializer_list<T> known) {
  return static_cast<int>(std::find(known.begin(), known.end(), given) - known.begin()) + 1;
}
inline constexpr std::initializer_list<Ordering> kOrderings{Ordering::parallel, Ordering::key, Ordering::strict};
inline constexpr std::initializer_list<Expired> kExpireds{Expired::dlq, Expired::skip};
inline Wait wait_of(int given) { return choice(given, {Wait::spin, Wait::yield}).value_or(Wait::sleep); }
std::optional<StartAt> start_of(const penstock_start& given);
ConsumerOptions consumer_options(const penstock_consumer_options* given);

// What an answer points into: kept until this thread's next answer of the same type.
template <class Info>
Info& last_told(Info&& info) {
  thread_local std::optional<Info> kept;
  return kept.emplace(std::move(info));
}
inline const char* text_or_null(const std::optional<std::string>& text) { return text ? text->c_str() : nullptr; }

// Shows each to a visitor until it has enough.
template <class T, class Visit>
int visit_all(const std::vector<T>& all, Visit&& visit) {
  for (const T& each : all)
    if (visit(each) != 0) break;
  return 0;
}

inline std::string_view text(const char* given) {
  return given != nullptr ? std::string_view(given) : std::string_view();
}
// What is too long to be counted is as good as for ever, and stays in range when it is added to a clock.
inline constexpr std::chrono::nanoseconds kForEver = std::chrono::nanoseconds::max() / 4;
inline std::chrono::nanoseconds duration(std::int64_t ms) {
  using std::chrono::milliseconds;
  if (ms < 0) throw Refused{EINVAL, "a duration is not below 0"};
  return ms > std::chrono::duration_cast<milliseconds>(kForEver).count() ? kForEver : milliseconds(ms);
}
// Negative: for ever.
inline std::chrono::nanoseconds timeout(std::int64_t ms) { return ms < 0 ? kForEver : duration(ms); }
std::vector<std::string> names(const char* const* given, std::size_t count);

// What readers and consumers have in common.
template <class Handle>
int wait_on(Handle& handle, std::int64_t timeout_ms) {
  auto came = handle.wait(timeout(timeout_ms));
  if (!came) return failed(came.error());
  return *came ? 0 : failed(EAGAIN, "nothing came within the timeout");
}
template <class Handle, class Out>
int next_of(Handle& handle, std::int64_t timeout_ms, Out** out) {
  auto next = handle.next(timeout(timeout_ms));
  if (!next) return failed(next.error());
  if (!*next) return failed(EAGAIN, "nothing came within the timeout");
  *out = new Out(std::move(**next));
  return 0;
}
template <class Handle>
int event_fd_of(Handle& handle) {
  auto descriptor = handle.event_fd();
  return descriptor ? *descriptor : failed(descriptor.error());
}

inline std::int64_t nanoseconds_of(Timestamp time) { return time.time_since_epoch().count(); }
// Rounded up: a little is not nothing.
inline std::int64_t milliseconds_of(std::chrono::nanoseconds time) {
  return std::chrono::ceil<std::chrono::milliseconds>(time).count();
}
inline int count_of(std::size_t handled) { return static_cast<int>(handled); }
inline std::size_t at_most(std::size_t wanted) { return std::min<std::size_t>(wanted, 1u << 30); }

}  // namespace penstock::c
