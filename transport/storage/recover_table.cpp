// The decisions of recovery as a table: a test enumerates every combination of facts and proves that exactly one row
// matches each.
#include <array>

#include "storage/recover.hpp"

namespace penstock::storage {
namespace {

using Case = RecoveryCase;
using Header = HeaderFact;
using Seal = MarkFact;
constexpr std::nullopt_t any = std::nullopt;

constexpr std::array<RecoveryRow, kRecoveryCases> kTable{{
    // result                 label                header               mark          covers reached holds  torn
    {Case::nothing, "nothing", Header::no_segment, any, any, any, any, any},
    {Case::never_born, "never born", Header::blank, any, any, any, any, any},
    {Case::header_lost, "header lost", Header::damaged, any, any, any, any, any},
    {Case::marks_lost, "marks lost", Header::good, Seal::none, any, any, any, any},
    {Case::sealed_whole, "sealed, whole", Header::good, Seal::sealed, true, any, any, any},
    {Case::sealed_short, "sealed, short", Header::good, Seal::sealed, false, any, any, any},
    {Case::open_short, "open, short", Header::good, Seal::open, false, any, any, any},
    {Case::open_unreachable, "open, unreachable", Header::good, Seal::open, true, false, any, any},
    {Case::open_empty, "open, empty", Header::good, Seal::open, true, true, false, any},
    {Case::open_clean, "open, clean", Header::good, Seal::open, true, true, true, false},
    {Case::open_torn, "open, torn", Header::good, Seal::open, true, true, true, true},
}};

template <class T>
bool fits(const std::optional<T>& wanted, const T& fact) {
  return !wanted || *wanted == fact;
}

}  // namespace

bool RecoveryRow::matches(const RecoveryFacts& facts) const {
  return fits(header, facts.header) && fits(mark, facts.mark) && fits(covers, facts.covers) &&
         fits(reached, facts.reached) && fits(holds_any, facts.holds_any) && fits(torn, facts.torn);
}

std::span<const RecoveryRow> recovery_table() { return kTable; }

RecoveryCase recovery_case(const RecoveryFacts& facts) {
  for (const RecoveryRow& row : kTable) {
    if (row.matches(facts)) return row.result;
  }
  return RecoveryCase::marks_lost;  // never: the test proves it; the case that changes nothing
}

}  // namespace penstock::storage
