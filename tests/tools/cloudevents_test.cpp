#include "tools/penstock/cloudevents.hpp"

#include <gtest/gtest.h>

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
