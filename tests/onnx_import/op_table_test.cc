// The operator table fits together, and with the graph's operators.

#include "onnx_import/op_table.h"

#include <gtest/gtest.h>

#include <map>

#include "graph/operators.h"

namespace onnx_split {
namespace {

TEST(OpTable, EveryGraphOperatorCanBeExported) {
  for (const Operator& op : all_operators()) {
    for (const std::int64_t opset : {17, 19}) {
      const OpRow* row = find_row(op.name, opset);
      ASSERT_NE(row, nullptr) << op.name;
      EXPECT_EQ(row->op, op.type) << op.name;
    }
  }
}

TEST(OpTable, RowsOfAnOperatorFollowEachOtherWithoutGapOrOverlap) {
  std::map<std::string_view, int> next;
  for (const OpRow& row : all_rows()) {
    EXPECT_LE(row.since, row.until) << row.name;
    EXPECT_NE(row.convert, nullptr) << row.name;
    const auto [known, is_first] = next.try_emplace(row.name, row.since);
    EXPECT_EQ(known->second, row.since) << row.name;
    known->second = row.until + 1;
  }
}

TEST(OpTable, AttributesThatDontMatterAreDroppedAndOthersRefused) {
  const OpRow* dropout = find_row("Dropout", 6);
  Attributes attributes = {{"ratio", 0.5F}, {"is_test", std::int64_t{1}}};
  EXPECT_EQ(check_attributes(*dropout, attributes), "");
  EXPECT_EQ(attributes, Attributes());
  EXPECT_EQ(check_attributes(*dropout, attributes), "is_test must be 1");
  attributes = {{"is_test", std::int64_t{0}}};
  EXPECT_EQ(check_attributes(*dropout, attributes), "is_test=0 isn't supported");
  attributes = {{"mode", "cubic"}};
  EXPECT_EQ(check_attributes(*find_row("Resize", 13), attributes), "mode=cubic isn't supported");
  attributes = {{"alpha", 1.0F}};
  EXPECT_EQ(check_attributes(*find_row("Relu", 13), attributes), "attribute \"alpha\" isn't supported");
}

}  // namespace
}  // namespace onnx_split
