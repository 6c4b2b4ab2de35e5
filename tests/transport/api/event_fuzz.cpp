// Attributes of an event that may be any bytes, and the history of a dead letter among them.
#include <penstock/event.hpp>

#include "layout/dead_letter.hpp"
#include "log/attributes.hpp"
#include "tests/support/fuzz.hpp"

namespace penstock::fuzz {
namespace {

std::vector<Bytes> seeds() {
  std::byte buffer[512];
  std::vector<Bytes> out;
  const auto put = [&](const auto& fill) {
    std::memset(buffer, 0x55, sizeof buffer);
    log::AttributeWriter writer(buffer);
    fill(writer);
    writer.finish();
    // What was written ends where the first byte of padding of 8 is left untouched.
    std::size_t size = sizeof buffer;
    while (size > 0 && buffer[size - 1] == std::byte{0x55}) --size;
    out.emplace_back(buffer, buffer + size);
  };
  put([](log::AttributeWriter& writer) {
    const std::int64_t time = 5;
    writer.put(layout::Attribute::key, "order-17");
    writer.put(layout::Attribute::id_text, "pay-91");
    writer.put_header("name", "value");
    writer.put_header("", "");
    writer.put(layout::Attribute::content_type, "application/json");
    writer.put(layout::Attribute::schema, "v1");
    writer.put(layout::Attribute::deliver_at, {reinterpret_cast<const char*>(&time), sizeof time});
    writer.put(layout::Attribute::expires_at, {reinterpret_cast<const char*>(&time), sizeof time});
  });
  put([](log::AttributeWriter& writer) {
    layout::DeadLetterFields fields{};
    fields.offset = 9;
    fields.disposition = 2;
    fields.topic_size = 2, fields.group_size = 3, fields.member_size = 4, fields.class_size = 1;
    fields.reason_size = 5;
    std::string history(reinterpret_cast<const char*>(&fields), sizeof fields);
    history +=
        "tt"
        "ggg"
        "mmmm"
        "c"
        "rrrrr";
    writer.put(layout::Attribute::dead_letter, history);
  });
  return out;
}

void run(Input input) {
  const auto inside = [&](std::string_view text) {
    const auto* begin = reinterpret_cast<const char*>(input.data());
    must(text.empty() || (text.data() >= begin && text.data() + text.size() <= begin + input.size()),
         "a value stands in the attributes");
  };
  EventView::Raw raw;
  raw.attributes = input;
  const EventView event(raw);
  for (const auto& text : {event.key(), event.id_text(), event.content_type(), event.schema(), event.header("name")})
    if (text) inside(*text);
  for (const Header& header : event.headers()) inside(header.name), inside(header.value);
  static_cast<void>(event.deliver_at());
  static_cast<void>(event.expires_at());
  static_cast<void>(event.id());
  const Event copy(event);
  must(copy.view().headers().size() == event.headers().size(), "a copy has what the event had");
  if (const auto letter = DeadLetter::of(event)) {
    const std::size_t text = letter->topic.size() + letter->group.size() + letter->member.size() +
                             letter->error_class.size() + letter->reason.size();
    must(text + sizeof(layout::DeadLetterFields) <= input.size(), "a history is no longer than its attribute");
  }
}

}  // namespace

const Target target{seeds, run, 50'000};

}  // namespace penstock::fuzz
