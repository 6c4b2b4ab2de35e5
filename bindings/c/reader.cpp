#include "bindings/c/internal.hpp"

using namespace penstock::c;

int penstock_reader_open(penstock_bus* bus, const char* const* topics, size_t count,
                         const penstock_reader_options* given, penstock_reader** out) {
  return guarded([&] {
    const auto options = options_of(given);
    const penstock::ReaderOptions chosen{
        .lossy = options.lossy != 0, .durable_only = options.durable_only != 0, .wait = wait_of(options.wait)};
    auto reader =
        bus->bus.reader(names(topics, count), start_of(options.start).value_or(penstock::StartAt::end()), chosen);
    if (!reader) return failed(reader.error());
    *out = new penstock_reader{std::move(*reader)};
    return 0;
  });
}
void penstock_reader_close(penstock_reader* reader) { delete reader; }

int penstock_reader_poll(penstock_reader* reader, penstock_visitor visitor, void* context, size_t most) {
  return guarded([&] {
    auto handled = reader->reader.poll(
        [&](const penstock::EventView& view) {
          const penstock_event event(view);
          visitor(context, &event);
        },
        at_most(most));
    return handled ? count_of(*handled) : failed(handled.error());
  });
}

int penstock_reader_next(penstock_reader* reader, int64_t timeout_ms, penstock_event** out) {
  return guarded([&] { return next_of(reader->reader, timeout_ms, out); });
}

int penstock_reader_wait(penstock_reader* reader, int64_t timeout_ms) {
  return guarded([&] { return wait_on(reader->reader, timeout_ms); });
}

int penstock_reader_event_fd(penstock_reader* reader) {
  return guarded([&] { return event_fd_of(reader->reader); });
}
void penstock_reader_interrupt(penstock_reader* reader) { reader->reader.interrupt(); }
uint64_t penstock_reader_missed(const penstock_reader* reader) { return reader->reader.missed(); }
uint64_t penstock_reader_damaged(const penstock_reader* reader) { return reader->reader.damaged(); }
int penstock_reader_places(const penstock_reader* reader, penstock_place_visitor visitor, void* context) {
  return guarded([&] {
    return visit_all(reader->reader.places(), [&](const auto& each) {
      const penstock_place place{each.first.c_str(), each.second};
      return visitor(context, &place);
    });
  });
}
