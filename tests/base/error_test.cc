#include "base/error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

namespace onnx_split {
namespace {

Expected<int> half(int x) {
  if (x % 2 != 0) return fail(ErrorCode::kInvalid, "expected an even number, found {}", x);
  return x / 2;
}

Expected<int> quarter(int x) {
  TRY_ASSIGN(const int first, half(x));
  TRY_ASSIGN(const int second, half(first));
  return second;
}

Expected<void> check(int x) {
  TRY(half(x));
  return {};
}

Expected<std::unique_ptr<int>> not_null(std::unique_ptr<int> x) {
  if (!x) return fail(ErrorCode::kNotFound, "nothing there");
  return x;
}

Expected<std::unique_ptr<int>> twice(std::unique_ptr<int> x) {
  TRY_ASSIGN(auto owner, not_null(std::move(x)));
  *owner *= 2;
  return owner;
}

TEST(Error, GathersContextOutermostFirst) {
  const Error error = Error{ErrorCode::kIo, "full"}.in("file \"a\"").in("part 3");
  EXPECT_EQ(error.message, "part 3: file \"a\": full");
  EXPECT_EQ(error.code, ErrorCode::kIo);
  const Expected<int> failed = fail_in("quarter", quarter(2).error());
  EXPECT_EQ(failed.error().message, "quarter: expected an even number, found 1");
}

TEST(Error, TryPassesErrorsOnAndValuesThrough) {
  EXPECT_EQ(*quarter(12), 3);
  EXPECT_EQ(quarter(6).error().message, "expected an even number, found 3");
  EXPECT_TRUE(check(2).has_value());
  EXPECT_EQ(check(1).error().code, ErrorCode::kInvalid);
}

TEST(Error, TryAssignMovesTheValue) {
  const auto owned = twice(std::make_unique<int>(5));
  ASSERT_TRUE(owned.has_value());
  EXPECT_EQ(**owned, 10);
  EXPECT_FALSE(twice(nullptr).has_value());
}

TEST(Error, EveryCodeHasAName) {
  for (int code = 0; code <= static_cast<int>(ErrorCode::kIo); ++code) {
    EXPECT_NE(error_code_name(static_cast<ErrorCode>(code)), "unknown");
  }
  EXPECT_EQ(errno_message(EACCES), "Permission denied");
}

}  // namespace
}  // namespace onnx_split
