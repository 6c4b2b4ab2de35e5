// Python's values and the library's, both ways: a pair of functions a type, and tables of options in which adding one
// is a line. Call with the GIL held.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <concepts>
#include <optional>
#include <penstock/penstock.hpp>
#include <string>
#include <vector>

namespace penstock::python {

namespace py = pybind11;
using std::chrono::nanoseconds;

// The words an enum is written with.
template <class Enum>
struct Words;
template <>
struct Words<Durability> {
  static constexpr std::array words{"memory", "disk"};
};
template <>
struct Words<Full> {
  static constexpr std::array words{"block", "fail", "drop_oldest"};
};
template <>
struct Words<Ordering> {
  static constexpr std::array words{"parallel", "key", "strict"};
};
template <>
struct Words<Expired> {
  static constexpr std::array words{"dlq", "skip"};
};
template <>
struct Words<Wait> {
  static constexpr std::array words{"spin", "yield", "sleep"};
};
template <class Enum>
concept Worded = requires {
  Words<Enum>::words;
};

// Durations are seconds (int or float) or a timedelta; moments a datetime or seconds since the epoch.
void from_python(py::handle given, nanoseconds& out);
void from_python(py::handle given, Timestamp& out);
void from_python(py::handle given, StartAt& out);
void from_python(py::handle given, std::string& out);
void from_python(py::handle given, std::vector<nanoseconds>& out);
[[noreturn]] void refuse_number(py::handle given);
std::size_t word_index(py::handle given, const char* const* words, std::size_t count);

template <std::integral T>
void from_python(py::handle given, T& out) {
  try {
    out = given.cast<T>();
  } catch (const py::cast_error&) {
    refuse_number(given);
  }
}
template <Worded Enum>
void from_python(py::handle given, Enum& out) {
  constexpr auto& words = Words<Enum>::words;
  out = Enum(word_index(given, words.data(), words.size()));
}
// None stands for what is not chosen. StartAt has no default, so a value is put there first.
template <class T>
void from_python(py::handle given, std::optional<T>& out) {
  if (given.is_none()) return;
  if constexpr (std::is_same_v<T, StartAt>)
    out = StartAt::beginning();
  else
    out.emplace();
  from_python(given, *out);
}
template <class T>
T value_of(py::handle given) {
  T out{};
  from_python(given, out);
  return out;
}

// Text may be any bytes: what is no UTF-8 comes as surrogates, and goes back as it was.
py::str to_python(std::string_view text);
inline py::str to_python(const std::string& text) { return to_python(std::string_view(text)); }
py::object to_python(nanoseconds duration);  // seconds
py::object to_python(Timestamp moment);      // an aware datetime, to the microsecond
py::object to_python(const StartAt& start);
py::list to_python(const std::vector<std::string>& texts);
py::list to_python(const std::vector<nanoseconds>& durations);
inline py::object to_python(bool given) { return py::bool_(given); }
template <std::integral T>
py::object to_python(T given) {
  return py::int_(given);
}
template <Worded Enum>
py::object to_python(Enum given) {
  return py::str(Words<Enum>::words.at(std::size_t(given)));
}
template <class T>
py::object to_python(const std::optional<T>& given) {
  if (!given) return py::none();
  return to_python(*given);
}

// One option: its name, how it is set and how it is shown.
template <class Options>
struct Option {
  std::string_view name;
  void (*set)(Options&, py::handle);
  py::object (*get)(const Options&);
};

template <class Options, class T>
Options owner_of(T Options::*);

template <auto member>
constexpr auto option(std::string_view name) {
  using Options = decltype(owner_of(member));
  return Option<Options>{name, [](Options& options, py::handle given) { from_python(given, options.*member); },
                         [](const Options& options) -> py::object { return to_python(options.*member); }};
}

[[noreturn]] void refuse_option(std::string_view name, const std::string& known);

// Sets what was given by keyword; a word that is not in the table raises TypeError and names those that are.
template <class Options, std::size_t count>
void set_options(Options& options, const std::array<Option<Options>, count>& table, const py::kwargs& given) {
  for (const auto& [key, value] : given) {
    const auto name = py::handle(key).cast<std::string_view>();
    const auto found = std::find_if(table.begin(), table.end(), [&](const auto& entry) { return entry.name == name; });
    if (found == table.end()) {
      std::string known;
      for (const auto& entry : table) known += (known.empty() ? "" : ", ") + std::string(entry.name);
      refuse_option(name, known);
    }
    found->set(options, value);
  }
}

// What was chosen, as a namespace with an attribute an option.
template <class Options, std::size_t count>
py::object show_options(const Options& options, const std::array<Option<Options>, count>& table) {
  py::dict out;
  for (const auto& entry : table) out[to_python(entry.name)] = entry.get(options);
  return py::module_::import("types").attr("SimpleNamespace")(**out);
}

inline constexpr std::array kTopicOptions{
    option<&TopicOptions::durability>("durability"),
    option<&TopicOptions::ring_bytes>("ring_bytes"),
    option<&TopicOptions::full>("full"),
    option<&TopicOptions::single_producer>("single_producer"),
    option<&TopicOptions::max_payload>("max_payload"),
    option<&TopicOptions::retention_bytes>("retention_bytes"),
    option<&TopicOptions::retention_time>("retention_time"),
    option<&TopicOptions::publish_dedupe>("publish_dedupe"),
    option<&TopicOptions::compact>("compact"),
    option<&TopicOptions::retain_unacked>("retain_unacked"),
};
inline constexpr std::array kProducerOptions{
    option<&ProducerOptions::create>("create"),
    option<&ProducerOptions::block>("block"),
    option<&ProducerOptions::precise_clock>("precise_clock"),
    option<&ProducerOptions::wait>("wait"),
};
inline constexpr std::array kConsumerOptions{
    option<&ConsumerOptions::max_attempts>("max_attempts"),
    option<&ConsumerOptions::backoff>("backoff"),
    option<&ConsumerOptions::lease>("lease"),
    option<&ConsumerOptions::ordering>("ordering"),
    option<&ConsumerOptions::max_in_flight>("max_in_flight"),
    option<&ConsumerOptions::dedupe>("dedupe"),
    option<&ConsumerOptions::dedupe_age>("dedupe_age"),
    option<&ConsumerOptions::expired>("expired"),
    option<&ConsumerOptions::start>("start"),
    option<&ConsumerOptions::durable_only>("durable_only"),
    option<&ConsumerOptions::wait>("wait"),
};
inline constexpr std::array kReaderOptions{
    option<&ReaderOptions::lossy>("lossy"),
    option<&ReaderOptions::durable_only>("durable_only"),
    option<&ReaderOptions::wait>("wait"),
};

// A class of values to look at, a line a field, that shows itself as Name(field=value, ...).
template <class T>
class RecordClass {
 public:
  RecordClass(py::module_& module, const char* name, const char* doc) : class_(module, name, doc) {
    class_.attr("_fields") = py::list();
    class_.def("__repr__", [](const py::object& self) {
      std::string out = py::str(py::type::of(self).attr("__name__")).template cast<std::string>() + "(";
      const char* between = "";
      for (const py::handle field : self.attr("_fields")) {
        out += between + field.cast<std::string>() + "=" + py::repr(self.attr(field)).template cast<std::string>();
        between = ", ";
      }
      return out + ")";
    });
  }
  template <class Value>
  RecordClass& field(const char* name, Value T::*member, const char* doc) {
    return shown(
        name, [member](const T& record) -> py::object { return to_python(record.*member); }, doc);
  }
  template <class Show>
  RecordClass& shown(const char* name, Show&& show, const char* doc) {
    class_.def_property_readonly(name, std::forward<Show>(show), doc);
    class_.attr("_fields").attr("append")(name);
    return *this;
  }

 private:
  py::class_<T> class_;
};

}  // namespace penstock::python
