//! Coordinate median: Yin, Chen, Kannan, Bartlett, "Byzantine-Robust Distributed Learning: Towards
//! Optimal Statistical Rates", ICML 2018, definition 1.

/// Twice the median of one value over the sites (twice, so that the middle of an even number is
/// exact). Sorts the column; zero for an empty one.
pub fn twice_median(column: &mut [i32]) -> i64 {
    column.sort_unstable();
    let middle = column.len() / 2;
    match column {
        [] => 0,
        _ if column.len() % 2 == 1 => 2 * i64::from(column[middle]),
        _ => i64::from(column[middle - 1]) + i64::from(column[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_liar_does_not_move_the_median() {
        assert_eq!(twice_median(&mut [3, i32::MAX, 1]), 6);
        assert_eq!(twice_median(&mut [4, 1, 2, i32::MIN]), 3);
        assert_eq!(twice_median(&mut []), 0);
    }
}
