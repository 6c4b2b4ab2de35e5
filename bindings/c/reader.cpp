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
  return guarded([&] {
    auto next = reader->reader.next(timeout(timeout_ms));
    if (!next) return failed(next.error());
    if (!*next) return failed(EAGAIN, "nothing came within the timeout");
    *out = new penstock_event(std::move(**next));
    return 0;
  });
}

int penstock_reader_wait(penstock_reader* reader, int64_t timeout_ms) {
  return guarded([&] {
    auto came = reader->reader.wait(timeout(timeout_ms));
    if (!came) return failed(came.error());
    return *came ? 0 : failed(EAGAIN, "nothing came within the timeout");
  });
}

int penstock_reader_event_fd(penstock_reader* reader) {
  return guarded([&] {
    auto descriptor = reader->reader.event_fd();
    return descriptor ? *descriptor : failed(descriptor.error());
  });
}
void penstock_reader_interrupt(penstock_reader* reader) { reader->reader.interrupt(); }
uint64_t penstock_reader_missed(const penstock_reader* reader) { return reader->reader.missed(); }
uint64_t penstock_reader_damaged(const penstock_reader* reader) { return reader->reader.damaged(); }
