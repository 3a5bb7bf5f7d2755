// Tables of text for people: columns as wide as they must be, numbers to the right.
#pragma once

#include <string>
#include <vector>

namespace onnx_split {

class Table {
 public:
  // A heading that begins with '>' is of a right-aligned column.
  explicit Table(std::vector<std::string> headings);
  void add(std::vector<std::string> cells);
  std::string to_string() const;

 private:
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

// 12345678 → "12.3 M"; for counts and bytes (powers of 1000).
std::string human(double value, const char* unit = "");

}  // namespace onnx_split
