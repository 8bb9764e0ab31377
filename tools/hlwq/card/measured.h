#pragma once
// The sections of a card that hold measurements.

#include <string>
#include <vector>

#include "chart/results.h"

namespace hlwq::card {

// Append to `out`. Results of `own` (a model's name) come first, in bold; without any of it the
// section says so.
void add_quality(std::string& out, const std::vector<chart::PplResult>& results,
                 const std::string& own);
void add_speed(std::string& out, const std::vector<chart::BenchResult>& results,
               const std::string& own);

}  // namespace hlwq::card
