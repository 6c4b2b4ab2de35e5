#include "tools/penstock/cloudevents.hpp"

#include <gtest/gtest.h>

#include "tools/penstock/json.hpp"

namespace penstock::tool {
namespace {

TEST(CloudEventsTest, AttributesBecomeHeadersAndDataThePayload) {
  const auto event = parse_cloudevent(R"({"specversion":"1.0","id":"7","source":"/shop","type":"order.created",
    "datacontenttype":"application/json","subject":"order-17","data":{"n":1}})");
  ASSERT_TRUE(event);
  EXPECT_EQ(event->id, "/shop#7");
  EXPECT_EQ(event->key, "order-17");
  EXPECT_EQ(event->content_type, "application/json");
  EXPECT_EQ(event->payload, R"({"n":1})");
  const std::vector<std::pair<std::string, std::string>> headers{{"ce_specversion", "1.0"},
                                                                 {"ce_id", "7"},
                                                                 {"ce_source", "/shop"},
                                                                 {"ce_type", "order.created"},
                                                                 {"ce_subject", "order-17"}};
  EXPECT_EQ(event->headers, headers);
}

TEST(CloudEventsTest, APartitionKeyGoesBeforeTheSubject) {
  const auto event =
      parse_cloudevent(R"({"specversion":"1.0","id":"7","source":"s","type":"t","subject":"a","partitionkey":"b"})");
  ASSERT_TRUE(event);
  EXPECT_EQ(event->key, "b");
  EXPECT_EQ(event->payload, "");
}

TEST(CloudEventsTest, TextStaysTextAndBase64BecomesBytes) {
  const auto text = parse_cloudevent(
      R"({"specversion":"1.0","id":"7","source":"s","type":"t","datacontenttype":"text/plain","data":"hi"})");
  ASSERT_TRUE(text);
  EXPECT_EQ(text->payload, "hi");
  const auto json = parse_cloudevent(R"({"specversion":"1.0","id":"7","source":"s","type":"t","data":"hi"})");
  ASSERT_TRUE(json);
  EXPECT_EQ(json->payload, "\"hi\"");
  const auto bytes = parse_cloudevent(R"({"specversion":"1.0","id":"7","source":"s","type":"t","data_base64":"/wA="})");
  ASSERT_TRUE(bytes);
  EXPECT_EQ(bytes->payload, std::string("\xff\0", 2));
}

TEST(CloudEventsTest, DataIsTakenAsItIsWritten) {
  const auto event = parse_cloudevent(
      R"( {"data" : {"amount": 12345678901234567890.10, "of":["}",{"a\"":1}] } ,"specversion":"1.0","id":"7","source":"s","type":"t"} )");
  ASSERT_TRUE(event) << event.error();
  EXPECT_EQ(event->payload, R"({"amount": 12345678901234567890.10, "of":["}",{"a\"":1}] })");
  const auto last = parse_cloudevent(R"({"specversion":"1.0","id":"7","source":"s","type":"t","data":1e400})");
  EXPECT_FALSE(last);  // no double holds it, so it is no JSON to us
}

TEST(CloudEventsTest, TraceContextIsCarriedInHeadersOfItsOwnName) {
  const auto event =
      parse_cloudevent(R"({"specversion":"1.0","id":"7","source":"s","type":"t","traceparent":"00-aa-bb-01"})");
  ASSERT_TRUE(event);
  EXPECT_EQ(event->headers.back(), (std::pair<std::string, std::string>("traceparent", "00-aa-bb-01")));
}

// parse_cloudevent's complaint about an event with these members after the required ones.
std::string complaint(const std::string& members) {
  const auto event = parse_cloudevent(R"({"specversion":"1.0","id":"7","source":"s","type":"t",)" + members + "}");
  return event ? "" : event.error();
}

TEST(CloudEventsTest, WhatTheSpecificationForbidsIsNamed) {
  EXPECT_NE(complaint(R"("data":1,"data_base64":"AA==")").find("both"), std::string::npos);
  EXPECT_NE(complaint(R"("dataContentType":"x")").find("dataContentType"), std::string::npos);
  EXPECT_NE(complaint(R"("ext":{})").find("ext"), std::string::npos);
  EXPECT_NE(complaint(R"("specversion":"0.3")").find("0.3"), std::string::npos);
  EXPECT_EQ(complaint(R"("ext":5)"), "");
  EXPECT_NE(parse_cloudevent("[]").error().find("batch"), std::string::npos);
}

TEST(CloudEventsTest, AnEventThatWasNoneIsGivenWhatIsNeeded) {
  const auto told = [](std::string_view payload) {
    EventView::Raw raw;
    raw.topic = "ticks";
    raw.payload = bytes_of(payload);
    std::string out;
    append_cloudevent(out, EventView(raw));
    return Json::parse(out);
  };
  const Json json = told(R"({"n":1})"), text = told("hi"), bytes = told(std::string_view("\xff\0", 2)),
             empty = told("");
  for (const char* name : {"specversion", "id", "source", "type", "time"}) EXPECT_TRUE(json.contains(name)) << name;
  EXPECT_EQ(json["source"], "/topics/ticks");
  EXPECT_EQ(json["data"]["n"], 1);
  EXPECT_FALSE(json.contains("datacontenttype"));
  EXPECT_EQ(text["data"], "hi");
  EXPECT_EQ(text["datacontenttype"], "text/plain");
  EXPECT_EQ(bytes["data_base64"], "/wA=");
  EXPECT_EQ(bytes["datacontenttype"], "application/octet-stream");
  EXPECT_FALSE(empty.contains("data") || empty.contains("data_base64"));
}

TEST(CloudEventsTest, WhatIsMissingIsNamed) {
  const auto missing = parse_cloudevent(R"({"specversion":"1.0","id":"7","source":"s"})");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().find("type"), std::string::npos);
  EXPECT_FALSE(parse_cloudevent("[1]"));
  EXPECT_FALSE(parse_cloudevent("not json"));
  EXPECT_FALSE(parse_cloudevent(R"({"specversion":"1.0","id":"7","source":"s","type":"t","data_base64":"%"})"));
}

}  // namespace
}  // namespace penstock::tool
