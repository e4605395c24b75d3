//! Trimmed mean: Yin, Chen, Kannan, Bartlett, "Byzantine-Robust Distributed Learning: Towards
//! Optimal Statistical Rates", ICML 2018, definition 2.

/// The sum and number of one value over the sites without the `trim` smallest and largest.
/// Sorts the column.
pub fn trimmed(column: &mut [i32], trim: usize) -> (i64, usize) {
    column.sort_unstable();
    let kept = column
        .get(trim..column.len().saturating_sub(trim))
        .unwrap_or(&[]);
    (kept.iter().map(|v| i64::from(*v)).sum(), kept.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extremes_do_not_count() {
        assert_eq!(trimmed(&mut [7, i32::MIN, 5, i32::MAX, 6], 1), (18, 3));
        assert_eq!(trimmed(&mut [1, 2], 1), (0, 0));
    }
}
