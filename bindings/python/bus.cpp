// The bus, and what operators ask of it.
#include "bindings/python/convert.hpp"
#include "bindings/python/event.hpp"
#include "bindings/python/module.hpp"

namespace penstock::python {

Bus BusHolder::get() const {
  if (forks_ != forks()) raise(Errc::forked);
  if (!bus_) raise(Errc::closed);
  return *bus_;
}

void BusHolder::close() {
  if (forks_ != forks()) raise(Errc::forked);
  bus_.reset();
}

BusHolder::~BusHolder() {
  if (bus_ && forks_ != forks()) new Bus(std::move(*bus_));  // leaked: its mappings are the parent's
}

namespace {

std::string path(const py::object& given) {
  return py::module_::import("os").attr("fsencode")(given).cast<std::string>();
}

// One topic or pattern, or several.
std::vector<std::string> names(const py::object& given) {
  if (PyUnicode_Check(given.ptr()) != 0) return {value_of<std::string>(given)};
  std::vector<std::string> out;
  for (const py::handle each : given) out.push_back(value_of<std::string>(each));
  return out;
}

// A method of Bus that takes plain values: the bus is copied, the GIL released.
template <class R, class... Given>
auto plain(Result<R> (Bus::*method)(Given...)) {
  return [method](const BusHolder& holder, std::decay_t<Given>... given) {
    Bus bus = holder.get();
    return unlocked([&] { return (bus.*method)(given...); });
  };
}
template <class R, class... Given>
auto plain(Result<R> (Bus::*method)(Given...) const) {
  return [method](const BusHolder& holder, std::decay_t<Given>... given) {
    const Bus bus = holder.get();
    return unlocked([&] { return (bus.*method)(given...); });
  };
}

void create_topic(const BusHolder& holder, const std::string& name, const py::kwargs& options) {
  Bus bus = holder.get();
  TopicOptions chosen = bus.topic_defaults();
  set_options(chosen, kTopicOptions, options);
  unlocked([&] { return bus.create_topic(name, chosen); });
}

void set_retention(const BusHolder& holder, const std::string& topic, std::uint64_t bytes, const py::object& time) {
  Bus bus = holder.get();
  const auto limit = value_of<nanoseconds>(time);
  unlocked([&] { return bus.set_retention(topic, bytes, limit); });
}

void set_group(const BusHolder& holder, const std::string& group, const py::object& patterns,
               const py::kwargs& options) {
  Bus bus = holder.get();
  ConsumerOptions chosen;
  set_options(chosen, kConsumerOptions, options);
  const auto wanted = names(patterns);
  unlocked([&] { return bus.set_group(group, wanted, chosen); });
}

void seek_group(const BusHolder& holder, const std::string& group, const py::object& to) {
  Bus bus = holder.get();
  StartAt place = StartAt::beginning();
  from_python(to, place);
  unlocked([&] { return bus.seek_group(group, place); });
}

py::list dead_letters(const BusHolder& holder, const std::string& group, std::size_t most) {
  const Bus bus = holder.get();
  std::vector<std::pair<Event, DeadLetter>> found;
  unlocked([&]() -> Result<void> {
    if (most == 0) return {};
    return bus.dead_letters(group, [&](const EventView& event, const DeadLetter& letter) {
      found.emplace_back(Event(event), letter);
      return found.size() < most;
    });
  });
  py::list out;
  for (auto& [event, letter] : found)
    out.append(py::make_tuple(py::cast(std::make_unique<EventHolder>(std::move(event))), letter));
  return out;
}

template <class Info>
py::list listed(std::vector<Info> infos) {
  py::list out;
  for (Info& info : infos) out.append(py::cast(std::move(info)));
  return out;
}

py::str show(const StartAt& start) {
  constexpr std::array words{"beginning()", "end()", "offset({})", "time({} ns)", "last({})"};
  return py::str(std::string("StartAt.") + words.at(std::size_t(start.kind()))).format(start.value());
}

void bind_administration(py::class_<BusHolder>& bus) {
  bus.def("create_topic", create_topic, py::arg("name"),
          "Creates a topic. Options left out are as bus.toml says: durability ('memory', 'disk'), ring_bytes, full "
          "('block', 'fail', 'drop_oldest'), single_producer, max_payload, retention_bytes, retention_time, "
          "publish_dedupe, compact, retain_unacked.")
      .def("delete_topic", plain(&Bus::delete_topic), py::arg("name"), "Deletes a topic with all it holds.")
      .def(
          "topics", [](const BusHolder& holder) { return to_python(plain(&Bus::topics)(holder)); },
          "The topics' names, sorted.")
      .def("describe_topic", plain(&Bus::describe_topic), py::arg("name"), "The topic as it is now.")
      .def("set_compaction", plain(&Bus::set_compaction), py::arg("topic"), py::arg("compact"),
           "Whether of each key the newest event alone is kept; durable topics.")
      .def("set_retention", set_retention, py::arg("topic"), py::kw_only(), py::arg("bytes") = 0, py::arg("time") = 0,
           "How much a durable topic keeps on disk; 0: no limit.")
      .def("set_retain_unacked", plain(&Bus::set_retain_unacked), py::arg("topic"), py::arg("retain"),
           "Whether retention waits until every group that wants the topic has settled its events.")
      .def(
          "groups", [](const BusHolder& holder) { return to_python(plain(&Bus::groups)(holder)); },
          "The groups' names, sorted.")
      .def("describe_group", plain(&Bus::describe_group), py::arg("group"), "The group as it is now.")
      .def(
          "group_topics",
          [](const BusHolder& holder, const std::string& group) {
            return listed(plain(&Bus::group_topics)(holder, group));
          },
          py::arg("group"), "Where the group stands in each of its topics.")
      .def(
          "group_pending",
          [](const BusHolder& holder, const std::string& group) {
            return listed(plain(&Bus::group_pending)(holder, group));
          },
          py::arg("group"), "What is leased, waits for a retry, or for the dead-letter queue.")
      .def(
          "group_keys",
          [](const BusHolder& holder, const std::string& group) {
            return listed(plain(&Bus::group_keys)(holder, group));
          },
          py::arg("group"),
          "Keys with an unsettled event, which their later events wait for; of groups ordered by key.")
      .def("set_group", set_group, py::arg("group"), py::arg("patterns") = py::tuple(),
           "Changes a group's subscriptions and options (those of Bus.consumer); what is left out stays.")
      .def("pause_group", plain(&Bus::pause_group), py::arg("group"), py::arg("paused") = true,
           "Stops deliveries to the group's members, or lets them go on.")
      .def("seek_group", seek_group, py::arg("group"), py::arg("to"),
           "Moves a group: 'beginning', 'end', an offset, a datetime or a StartAt.")
      .def("delete_group", plain(&Bus::delete_group), py::arg("group"), "Deletes a group with its state.")
      .def("dead_letters", dead_letters, py::arg("group"), py::arg("most") = 1000,
           "The group's first dead letters that are neither redriven nor purged: pairs of Event and DeadLetter.")
      .def("redrive", plain(&Bus::redrive), py::arg("group"), py::arg("letter"),
           "Gives a letter (its offset in the DLQ) back to the group that failed.")
      .def("purge", plain(&Bus::purge), py::arg("group"), py::arg("letter"), "Hides a letter; the log keeps it.")
      .def("describe", plain(&Bus::describe), "The bus as it is now.")
      .def_static(
          "unload", [](const py::object& directory) { unlocked([at = path(directory)] { return Bus::unload(at); }); },
          py::arg("directory"), "Removes the shared-memory side of a bus that nobody uses; Busy names who does.")
      .def_static(
          "remove", [](const py::object& directory) { unlocked([at = path(directory)] { return Bus::remove(at); }); },
          py::arg("directory"), "Removes the bus with all it holds.")
      .def_static(
          "settings",
          [](const py::object& directory) {
            return to_python(unlocked([at = path(directory)] { return Bus::settings(at); }));
          },
          py::arg("directory"), "bus.toml as it takes effect, every key with its value.");
}

}  // namespace

void bind_bus(py::module_& module) {
  py::class_<StartAt>(module, "StartAt", "Where a reader or a new group begins.")
      .def_static("beginning", &StartAt::beginning, "At the oldest event.")
      .def_static("end", &StartAt::end, "Behind the newest event.")
      .def_static("offset", &StartAt::offset, py::arg("offset"), "At this offset.")
      .def_static(
          "time", [](const py::object& moment) { return StartAt::time(value_of<Timestamp>(moment)); },
          py::arg("moment"), "At the first event of this moment (a datetime or seconds since the epoch) or later.")
      .def_static("last", &StartAt::last, py::arg("events"), "So many events before the end; readers only.")
      .def("__repr__", show);

  py::class_<BusHolder> bus(module, "Bus",
                            "Opens the bus in this directory, and makes it unless create is False. Any thread may use "
                            "it. Handles made from it "
                            "stay usable when it is closed.");
  bus.def(py::init([](const py::object& directory, bool create) {
            const std::string at = path(directory);
            return std::make_unique<BusHolder>(unlocked([&] { return Bus::open(at, {.create = create}); }));
          }),
          py::arg("directory"), py::kw_only(), py::arg("create") = true)
      .def(
          "producer",
          [](const BusHolder& holder, const std::string& topic, const py::kwargs& options) {
            return make_producer(holder.get(), topic, options);
          },
          py::arg("topic"),
          "A producer of this topic. Options: create (True), block (10: seconds to wait for a full ring), "
          "precise_clock, wait ('spin', 'yield', 'sleep': for the disk).")
      .def(
          "consumer",
          [](const BusHolder& holder, const std::string& group, const py::object& patterns, const py::kwargs& options) {
            return make_consumer(holder.get(), group, names(patterns), options);
          },
          py::arg("group"), py::arg("patterns") = py::tuple(),
          "A member of this group, which is made when missing. Patterns: topic names, `*` for one word, `**` for the "
          "rest; none: as the group has them. Options: max_attempts, backoff (seconds, the last repeats), lease, "
          "ordering "
          "('parallel', 'key', 'strict'), max_in_flight, dedupe, dedupe_age, expired ('dlq', 'skip'), start, "
          "durable_only, wait ('spin', 'yield', 'sleep').")
      .def(
          "reader",
          [](const BusHolder& holder, const py::object& topics, const py::object& start, const py::kwargs& options) {
            StartAt place = StartAt::end();
            from_python(start, place);
            return make_reader(holder.get(), names(topics), place, options);
          },
          py::arg("topics"), py::arg("start") = "end",
          "A reader of a topic, a pattern or several. start: 'beginning', 'end', an offset, a datetime or a StartAt. "
          "Options: lossy, durable_only, wait ('spin', 'yield', 'sleep').")
      .def_property_readonly(
          "directory", [](const BusHolder& holder) { return to_python(holder.get().directory()); }, "As opened.")
      .def("close", &BusHolder::close, "Lets go of the bus. Idempotent.");
  bind_administration(bus);
  bind_context(bus);
}

}  // namespace penstock::python
