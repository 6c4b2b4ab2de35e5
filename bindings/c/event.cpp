#include "bindings/c/internal.hpp"

using namespace penstock::c;

namespace {

const char* bytes(const std::optional<std::string_view>& given, size_t* size) {
  if (size != nullptr) *size = given ? given->size() : 0;
  if (!given) return nullptr;
  return given->data() != nullptr ? given->data() : "";  // there, and empty
}

}  // namespace

const char* penstock_event_topic(const penstock_event* event) {
  if (event->topic.empty()) event->topic = event->view.topic();
  return event->topic.c_str();
}
uint64_t penstock_event_offset(const penstock_event* event) { return event->view.offset(); }
int64_t penstock_event_time_ns(const penstock_event* event) { return nanoseconds_of(event->view.time()); }
const void* penstock_event_payload(const penstock_event* event, size_t* size) {
  if (size != nullptr) *size = event->view.payload().size();
  return event->view.payload().data();
}
const char* penstock_event_key(const penstock_event* event, size_t* size) { return bytes(event->view.key(), size); }
const char* penstock_event_id_text(const penstock_event* event, size_t* size) {
  return bytes(event->view.id_text(), size);
}
const char* penstock_event_content_type(const penstock_event* event, size_t* size) {
  return bytes(event->view.content_type(), size);
}
const char* penstock_event_schema(const penstock_event* event, size_t* size) {
  return bytes(event->view.schema(), size);
}
const void* penstock_event_header(const penstock_event* event, const char* name, size_t* size) {
  return bytes(event->view.header(text(name)), size);
}
const char* penstock_event_header_at(const penstock_event* event, size_t index, size_t* name_size, const void** value,
                                     size_t* size) {
  if (!event->headers) event->headers = event->view.headers();
  if (index >= event->headers->size()) return nullptr;
  const penstock::Header& header = (*event->headers)[index];
  *value = bytes(header.value, size);
  return bytes(header.name, name_size);
}
int64_t penstock_event_deliver_at_ns(const penstock_event* event) {
  return nanoseconds_of(event->view.deliver_at().value_or(penstock::Timestamp{}));
}
int64_t penstock_event_expires_at_ns(const penstock_event* event) {
  return nanoseconds_of(event->view.expires_at().value_or(penstock::Timestamp{}));
}
void penstock_event_id(const penstock_event* event, uint8_t id[16]) {
  std::memcpy(id, event->view.id().bytes.data(), 16);
}

int penstock_event_dead_letter(const penstock_event* event, penstock_dead_letter* place) {
  return guarded([&] {
    const penstock::DeadLetter* letter = event->redriven;
    if (event->delivered && letter == nullptr) return failed(ENOENT, "this delivery was not redriven");
    if (letter == nullptr) {
      auto read = penstock::DeadLetter::of(event->view);
      if (!read) return failed(read.error());
      letter = &event->letter.emplace(std::move(*read));
    }
    penstock_dead_letter out{};
    out.topic = letter->topic.c_str();
    out.offset = letter->offset;
    out.group = letter->group.c_str();
    out.member = letter->member.c_str();
    out.attempts = letter->attempts;
    out.redrives = letter->redrives;
    out.first_failure_ns = nanoseconds_of(letter->first_failure);
    out.last_failure_ns = nanoseconds_of(letter->last_failure);
    out.disposition = letter->disposition.c_str();
    out.error_class = letter->error_class.c_str();
    out.reason = letter->reason.c_str();
    return answer(place, out);
  });
}

void penstock_event_free(penstock_event* event) { delete event; }
