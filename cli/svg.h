// Elements of an SVG document as text.
#pragma once

#include <string>
#include <string_view>

namespace onnx_split {

// For texts and attributes: what XML 1.0 forbids becomes "?", what it reserves an entity.
std::string svg_escape(std::string_view text);

class Svg {
 public:
  Svg(double width, double height);

  // `style`: attributes as they stand in the document; `title`: shown under the mouse, may be empty.
  void rect(double x, double y, double width, double height, std::string_view style, std::string_view title = "");
  void line(double x1, double y1, double x2, double y2, std::string_view style);
  void path(std::string_view data, std::string_view style);
  // `anchor`: start, middle or end.
  void text(double x, double y, std::string_view text, std::string_view style, std::string_view anchor = "start");

  std::string finish() &&;

 private:
  std::string text_;
};

}  // namespace onnx_split
