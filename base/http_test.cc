// Values and streams; http_server_test.cc has the wire.
#include "base/http.h"

#include <gtest/gtest.h>

#include "base/async_testing.h"

namespace skiff::http {
namespace {

TEST(HeadersTest, NamesCompareWithoutCase) {
  Headers headers = {{"Content-Type", "text/plain"}, {"X-A", "1"}, {"x-a", "2"}};
  EXPECT_EQ(headers.Get("content-type"), "text/plain");
  EXPECT_EQ(headers.Get("X-A"), "1");
  EXPECT_EQ(headers.All("x-A").size(), 2u);
  headers.Set("X-a", "3");
  EXPECT_EQ(headers.All("x-a"), std::vector<std::string_view>{"3"});
  headers.Remove("CONTENT-TYPE");
  EXPECT_FALSE(headers.Has("Content-Type"));
  EXPECT_EQ(headers.Get("none"), "");
}

TEST(HeadersTest, TokensAreFoundInLists) {
  const Headers headers = {{"Connection", "keep-alive , Upgrade"}, {"Connection", "x"}};
  EXPECT_TRUE(headers.HasToken("connection", "upgrade"));
  EXPECT_TRUE(headers.HasToken("Connection", "X"));
  EXPECT_FALSE(headers.HasToken("Connection", "up"));
  EXPECT_FALSE(headers.HasToken("Upgrade", "x"));
}

TEST(QueryTest, ParsesAndEncodes) {
  const Query query = Query::Parse("labelSelector=a%3Db%2Cc&watch&x=1+2&x=%zz&&=e");
  EXPECT_EQ(query.Get("labelSelector"), "a=b,c");
  EXPECT_TRUE(query.Has("watch"));
  EXPECT_EQ(query.Get("watch"), "");
  EXPECT_EQ(query.All("x"), (std::vector<std::string>{"1 2", "%zz"}));
  EXPECT_EQ(query.Get(""), "e");
  EXPECT_FALSE(query.Has("none"));
  Query built;
  built.Add("fieldSelector", "spec.nodeName=n 1");
  built.Add("limit", "500");
  EXPECT_EQ(built.Encode(), "fieldSelector=spec.nodeName%3Dn%201&limit=500");
  EXPECT_EQ(Query().Encode(), "");
  EXPECT_EQ(Query::Parse(built.Encode()).pairs(), built.pairs());
}

TEST(PercentTest, DecodesAndKeepsMalformedEscapes) {
  EXPECT_EQ(PercentDecode("%41%62%00c"), std::string("Ab\0c", 4));
  EXPECT_EQ(PercentDecode("%"), "%");
  EXPECT_EQ(PercentDecode("%4"), "%4");
  EXPECT_EQ(PercentDecode("%4g%41"), "%4gA");
  EXPECT_EQ(PercentDecode("a+b"), "a+b");
  EXPECT_EQ(PercentEncode("a b/ü~-_."), "a%20b%2F%C3%BC~-_.");
}

TEST(DateTest, IsRfc1123) {
  EXPECT_EQ(FormatDate(std::chrono::system_clock::from_time_t(784111777)), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(ReasonPhrase(413), "Request Entity Too Large");
  EXPECT_EQ(ReasonPhrase(799), "");
}

Task<std::string> Transfer(std::string data) {
  const auto executor = co_await asio::this_coro::executor;
  auto [a, a_far] = StreamPair(executor);
  auto [b, b_far] = StreamPair(executor);
  TaskGroup group(executor);
  auto relay = [](Stream* x, Stream* y) -> Task<void> { co_await Relay(*x, *y); };
  group.Spawn("relay", relay(a_far.get(), b_far.get()));
  auto send = [](Stream* to, const std::string* data) -> Task<void> {
    EXPECT_TRUE((co_await to->Write(*data)).ok());
    to->CloseWrite();
  };
  group.Spawn("send", send(a.get(), &data));
  std::string got;
  char buffer[3000];
  while (true) {
    const auto n = co_await b->Read(buffer);
    if (!n.ok() || *n == 0) break;
    got.append(buffer, *n);
  }
  EXPECT_TRUE((co_await b->Write("bye")).ok());  // the other way is still open
  b->CloseWrite();
  const auto n = co_await a->Read(buffer);
  EXPECT_EQ(std::string_view(buffer, *n), "bye");
  EXPECT_EQ(*co_await a->Read(buffer), 0u);
  co_await group.Join();
  co_return got;
}

TEST(RelayTest, CopiesBothWaysAndPassesHalfCloseOn) {
  asio::io_context loop;
  std::string data;
  for (int i = 0; i < 300000; ++i) data += static_cast<char>(i * 7);
  EXPECT_EQ(RunTask(loop, Transfer(data)), data);
}

Task<void> RelayBroken() {
  const auto executor = co_await asio::this_coro::executor;
  auto [a, a_far] = StreamPair(executor);
  auto [b, b_far] = StreamPair(executor);
  TaskGroup group(executor);
  auto relay = [](Stream* x, Stream* y) -> Task<void> { co_await Relay(*x, *y); };
  group.Spawn("relay", relay(a_far.get(), b_far.get()));
  b->Close();
  EXPECT_TRUE((co_await a->Write("x")).ok());
  co_await group.Join();
  char buffer[8];
  EXPECT_EQ(*co_await a->Read(buffer), 0u);
}

TEST(RelayTest, ABrokenSideEndsBoth) {
  asio::io_context loop;
  RunTask(loop, RelayBroken());
}

}  // namespace
}  // namespace skiff::http
